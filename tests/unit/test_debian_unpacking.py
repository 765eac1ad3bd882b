"""Folders filled once or not at all, apt that stays strict, and the libraries a package needs."""

import shutil
import threading
from pathlib import Path

import pytest

from pm.errors import StoreError
from pm.store import debian, timescale

needs_apt = pytest.mark.skipif(shutil.which("apt-get") is None, reason="apt-get is missing: not a Debian machine")


def _tree(work: Path, text: str) -> Path:
    (work / "tree").mkdir()
    (work / "tree" / "file").write_text(text)
    return work / "tree"


def test_a_folder_is_built_once_and_again_for_another_mark(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "software"
    assert debian.build_once(folder, "1", lambda work: _tree(work, "one"))
    assert not debian.build_once(folder, "1", lambda work: _tree(work, "never"))
    assert (folder / "file").read_text() == "one"
    assert debian.build_once(folder, "2", lambda work: _tree(work, "two"))
    assert (folder / "file").read_text() == "two"


def test_a_build_that_breaks_leaves_nothing_and_what_was_there(tmp_path: Path) -> None:
    def broken(work: Path) -> Path:
        _tree(work, "half")
        raise StoreError("expected a mirror, but got none")

    folder = tmp_path / "software"
    with pytest.raises(StoreError, match="but got none"):
        debian.build_once(folder, "1", broken)
    assert not folder.exists()
    debian.build_once(folder, "1", lambda work: _tree(work, "one"))
    with pytest.raises(StoreError, match="but got none"):
        debian.build_once(folder, "2", broken)
    assert (folder / "file").read_text() == "one"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["software", "software.lock"]


def test_leftovers_of_a_killed_build_do_not_matter(tmp_path: Path) -> None:
    (tmp_path / "software.partial" / "tree").mkdir(parents=True)
    assert debian.build_once(tmp_path / "software", "1", lambda work: _tree(work, "one"))


def test_of_two_at_once_one_builds_and_the_other_waits(tmp_path: Path) -> None:
    building, go_on, built = threading.Event(), threading.Event(), []

    def slow(work: Path) -> Path:
        building.set()
        assert go_on.wait(10)
        return _tree(work, "first")

    def call(build: object) -> None:
        built.append(debian.build_once(tmp_path / "software", "1", build))  # type: ignore[arg-type]

    first = threading.Thread(target=call, args=(slow,))
    second = threading.Thread(target=call, args=(lambda work: _tree(work, "second"),))
    first.start()
    assert building.wait(10)
    second.start()
    second.join(0.2)
    assert second.is_alive()
    go_on.set()
    first.join(10)
    second.join(10)
    assert sorted(built) == [False, True]
    assert (tmp_path / "software" / "file").read_text() == "first"


def test_a_folder_that_cannot_be_written_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="expected a folder that can be written"):
        debian.build_once(tmp_path / "file" / "software", "1", lambda work: _tree(work, "one"))


@needs_apt
def test_an_unsigned_archive_is_refused_even_where_the_entry_trusts_it(tmp_path: Path) -> None:
    etc, mirror = tmp_path / "etc", tmp_path / "mirror"
    (mirror / "dists/bookworm/main/binary-amd64").mkdir(parents=True)
    (mirror / "dists/bookworm/main/binary-amd64/Packages").write_text("")
    (mirror / "dists/bookworm/Release").write_text("Origin: Debian\nCodename: bookworm\n")
    (etc / "apt").mkdir(parents=True)
    (etc / "os-release").write_text("ID=debian\nVERSION_ID=12\nVERSION_CODENAME=bookworm\n")
    (etc / "apt/sources.list").write_text(f"deb [trusted=yes] file:{mirror} bookworm main\n")
    with pytest.raises(StoreError, match="not signed"):
        debian.open_apt(tmp_path / "apt", say=lambda _: None, etc=etc)


@needs_apt
def test_a_machine_without_debians_archive_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "apt").mkdir()
    (tmp_path / "os-release").write_text("ID=debian\nVERSION_ID=12\nVERSION_CODENAME=bookworm\n")
    with pytest.raises(StoreError, match="expected an archive of Debian bookworm"):
        debian.open_apt(tmp_path / "work", say=lambda _: None, etc=tmp_path)


def test_another_vendors_signed_archive_is_not_debians(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    apt = debian.Apt(tmp_path, debian.Archive("https://search.test/packages", "stable", None))
    monkeypatch.setattr(debian, "run", lambda *_, **__: "")
    released = tmp_path / "state/lists/search.test_packages_dists_stable_InRelease"
    released.write_text("Origin: search\nSuite: stable\n")
    with pytest.raises(StoreError, match="expected Debian's own archive"):
        apt.update()
    released.write_text("Origin: Debian\nSuite: stable\n")
    apt.update()


class _List:
    """A package list by hand, in the place of apt."""

    def __init__(self, **packages: tuple[str, str]) -> None:
        self.packages = {
            name: debian.Package(name, section, 0, tuple(tuple(one.split("|")) for one in depends.split()))
            for name, (section, depends) in packages.items()
        }

    def describe(self, names: list[str]) -> dict[str, debian.Package]:
        return {name: self.packages[name] for name in names if name in self.packages}


def test_libraries_are_followed_through_each_other_and_nothing_else_is() -> None:
    listed = _List(
        server=("database", "libbig liba virtual|libb tool"),
        liba=("libs", "libc"),
        libb=("contrib/libs", "liba"),
        libc=("libs", "liba"),
        libbig=("libs", "libonlybig"),
        libonlybig=("libs", ""),
        tool=("admin", "libtool"),
        libtool=("libs", ""),
    )
    found = debian.library_closure(listed, ["server"], skip="libbig.*")  # type: ignore[arg-type]
    assert found == ("liba", "libb", "libc")


def test_what_a_loader_cannot_find_is_named_with_its_file(tmp_path: Path) -> None:
    lister = tmp_path / "lister"
    lister.write_text('#!/bin/sh\necho "liba.so.1 => not found"\necho "libc.so.6 => /lib/libc.so.6"\n')
    lister.chmod(0o755)
    found = timescale.unresolved([tmp_path / "postgres"], (str(lister),))
    assert found == ["postgres: liba.so.1 => not found"]
    lister.write_text("#!/bin/sh\necho wrong ELF class >&2\nexit 1\n")
    assert "wrong ELF class" in timescale.unresolved([tmp_path / "postgres"], (str(lister),))[0]


def test_a_machine_that_cannot_have_timescaledb_is_told_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> debian.Release:
        raise StoreError("expected a Debian machine, but got Other Linux 9")

    said: list[str] = []
    monkeypatch.setattr(debian, "read_release", refuse)
    assert timescale.provide(tmp_path / "software", say=said.append) is None
    assert said == ["no TimescaleDB from Debian's packages: expected a Debian machine, but got Other Linux 9"]
    assert not (tmp_path / "software").exists()
