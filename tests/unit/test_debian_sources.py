"""Which archive of the machine's apt configuration is taken as Debian's own."""

from pathlib import Path

import pytest

from pm.errors import StoreError
from pm.store import debian


def _etc_apt(tmp_path: Path, **files: str) -> Path:
    (tmp_path / "sources.list.d").mkdir()
    for name, text in files.items():
        path = tmp_path / name if name == "sources.list" else tmp_path / "sources.list.d" / name
        path.write_text(text)
    return tmp_path


def test_one_line_entries_with_options_comments_and_other_suites(tmp_path: Path) -> None:
    text = """
# deb http://commented.test/debian trixie main
deb-src http://mirror.test/main-archive trixie main
deb cdrom:[Debian 13]/ trixie main
deb http://mirror.test/main-archive-security trixie-security main
deb [arch=amd64 Signed-By=/keys/a.gpg] http://mirror.test/main-archive trixie main contrib # ours
"""
    found = debian.read_archives(_etc_apt(tmp_path, **{"sources.list": text}), "trixie")
    assert found == (debian.Archive("http://mirror.test/main-archive", "trixie", "/keys/a.gpg"),)


def test_deb822_stanzas_with_several_suites_and_disabled_ones(tmp_path: Path) -> None:
    text = """\
# a comment between fields
Types: deb deb-src
URIs: http://mirror.test/main-archive
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
Enabled: no
URIs: http://disabled.test/main-archive
Suites: bookworm
Components: main
"""
    found = debian.read_archives(_etc_apt(tmp_path, **{"debian.sources": text}), "bookworm")
    assert [archive.uris for archive in found] == ["http://mirror.test/main-archive"]
    assert found[0].signed_by == "/usr/share/keyrings/debian-archive-keyring.gpg"


def test_other_vendors_come_last_or_not_at_all(tmp_path: Path) -> None:
    lists = _etc_apt(
        tmp_path,
        **{
            "a-search.list": "deb [signed-by=/keys/search.gpg] https://search.test/packages stable main\n",
            "docker.list": "deb [signed-by=/keys/docker.gpg] https://docker.test/linux/debian trixie stable\n",
            "pgdg.list": "deb https://pgdg.test/apt trixie-pgdg main\n",
            "z-own.list": "deb http://mirror.test/main-archive trixie main\n",
        },
    )
    found = debian.read_archives(lists, "trixie")
    assert [archive.uris for archive in found] == ["http://mirror.test/main-archive", "https://search.test/packages"]


def test_an_alias_becomes_the_codename_of_the_machine(tmp_path: Path) -> None:
    # "stable" on a mirror may be a later release than the one installed here.
    found = debian.read_archives(
        _etc_apt(tmp_path, **{"sources.list": "deb http://m.test/debian stable main"}), "trixie"
    )
    assert found[0].suite == "trixie"


def test_an_embedded_key_survives_being_written_again(tmp_path: Path) -> None:
    key = "Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQINBF\n -----END PGP PUBLIC KEY BLOCK-----\n"
    text = f"Types: deb\nURIs: http://m.test/debian\nSuites: trixie\nComponents: main\n{key}"
    first = debian.read_archives(_etc_apt(tmp_path, **{"debian.sources": text}), "trixie")
    assert " .\n mQINBF" in first[0].stanza()
    (tmp_path / "sources.list.d/debian.sources").write_text(first[0].stanza())
    assert debian.read_archives(tmp_path, "trixie") == first


def test_release_of_debian_and_of_its_testing(tmp_path: Path) -> None:
    file = tmp_path / "os-release"
    file.write_text('ID=debian\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\n')
    assert debian.read_release(file) == debian.Release("debian", 12, "bookworm")
    file.write_text("ID=debian\nVERSION_CODENAME=forky\n")
    assert debian.read_release(file) == debian.Release("debian", None, "forky")


def test_another_distribution_is_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "os-release"
    file.write_text('PRETTY_NAME="Other Linux 9"\nID=other\nVERSION_CODENAME=nine\n')
    with pytest.raises(StoreError, match="expected a Debian machine, but got Other Linux 9"):
        debian.read_release(file)
    with pytest.raises(StoreError, match="is missing"):
        debian.read_release(tmp_path / "nothing")
