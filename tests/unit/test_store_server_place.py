import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from pm.errors import StoreError
from pm.store import server_cluster, server_place
from pm.store.server_cluster import Cluster
from pm.store.server_place import Account, Place, blocking_folder, find_place, read_record, replace_text
from pm.store.server_session import with_database, without_password

STRANGER = Account("stranger", 65500, 65500)


def modes(folder: Path) -> int:
    return stat.S_IMODE(folder.stat().st_mode)


@pytest.fixture
def as_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Decisions of a root process, with a system folder of the test's own."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(server_place, "SYSTEM_FOLDER", tmp_path / "system")
    return tmp_path / "system"


def test_an_ordinary_user_keeps_the_server_at_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert find_place(tmp_path) == Place(tmp_path, tmp_path / "server", None)


def test_root_keeps_the_server_at_home_where_others_may_enter(as_root: Path, open_folder: Path) -> None:
    place = find_place(open_folder / "home")
    assert place.root == open_folder / "home" / "server"
    assert place.account is not None
    assert place.account.uid != 0


def test_root_goes_to_the_system_folder_where_a_parent_is_closed(as_root: Path, open_folder: Path) -> None:
    closed = open_folder / "closed"
    closed.mkdir()
    closed.chmod(0o700)
    os.chown(closed, os.getuid(), os.getgid())
    place = find_place(closed / "project" / "home")
    assert place.root.parent == as_root
    assert len(place.root.name) == 12
    assert place.root == find_place(closed / "project" / "home").root
    assert place.root != find_place(closed / "project" / "other").root


def test_without_an_unprivileged_user_root_is_told(monkeypatch: pytest.MonkeyPatch, as_root: Path) -> None:
    monkeypatch.setattr(server_place, "_USERS", ("no-such-user-here",))
    with pytest.raises(StoreError, match="no-such-user-here"):
        find_place(Path("/nowhere"))


def test_the_place_says_whose_it_is(tmp_path: Path) -> None:
    place = Place(tmp_path / "home", tmp_path / "far", STRANGER)
    place.make()
    assert (tmp_path / "far" / "home").read_text(encoding="utf-8") == f"{tmp_path / 'home'}\n"
    assert modes(tmp_path / "far") == 0o755


def test_the_first_closed_folder_is_named(open_folder: Path) -> None:
    closed = open_folder / "first"
    (closed / "second").mkdir(parents=True)
    closed.chmod(0o750)
    assert blocking_folder(closed / "second" / "third", STRANGER) == closed
    assert blocking_folder(closed / "second", Account("group", 65500, closed.stat().st_gid)) is None
    assert blocking_folder(closed / "second", None) is None


def test_a_file_is_replaced_whole_with_its_mode(tmp_path: Path) -> None:
    for text in ("old", "new"):
        replace_text(tmp_path / "secret", text, mode=0o600)
    assert (tmp_path / "secret").read_text(encoding="utf-8") == "new"
    assert modes(tmp_path / "secret") == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]


def test_a_record_that_cannot_be_read_names_its_file(tmp_path: Path) -> None:
    assert read_record(tmp_path / "server.json") == {}
    for text in ("{", "[]"):
        (tmp_path / "server.json").write_text(text, encoding="utf-8")
        with pytest.raises(StoreError, match=r"server\.json"):
            read_record(tmp_path / "server.json")


def test_a_process_id_that_was_used_again_is_no_server(tmp_path: Path) -> None:
    if not Path("/proc/self/cwd").exists():
        pytest.skip("this system has no /proc")
    cluster = Cluster("postgres", tmp_path, None)
    cluster.data.mkdir()
    (cluster.data / "postmaster.pid").write_text(f"{os.getpid()}\n{cluster.data}\n", encoding="utf-8")
    assert server_cluster.postmaster_pid(cluster) is None


def test_the_shown_address_has_no_password() -> None:
    shown = without_password("postgresql://fleet:s%40crt@db.example:6543/trucks?sslmode=require")
    assert shown == "postgresql://fleet@db.example:6543/trucks"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://a:b@h:1/old?sslmode=require", "postgresql://a:b@h:1/new?sslmode=require"),
        ("host=h dbname=old", "dbname=new host=h"),
    ],
)
def test_another_database_of_the_same_server(url: str, expected: str) -> None:
    assert with_database(url, "new") == expected
