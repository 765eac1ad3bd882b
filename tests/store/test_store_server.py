import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pm.cli.db import db
from pm.errors import ConfigError, StoreError
from pm.settings import Settings
from pm.store import connection, server, server_place, timescale
from pm.store.server_cluster import Cluster, postmaster_pid
from pm.store.server_place import find_place

PROJECT = Path(__file__).resolve().parents[2]
FAST = {"fsync": "off", "shared_buffers": "64MB"}


def cluster_of(settings: Settings, engine: Any) -> Cluster:
    place = find_place(settings.home)
    return Cluster(engine, place.folder(engine), place.account)


def pid_of(settings: Settings, engine: Any) -> int:
    pid = postmaster_pid(cluster_of(settings, engine))
    assert pid is not None
    return pid


def start(settings: Settings, engine: Any, software: Path) -> server.ServerStatus:
    if engine == "timescaledb" and os.environ.get("CI") != "true":
        said: list[str] = []
        if timescale.provide(software / "timescaledb", say=said.append) is None:
            pytest.skip(f"TimescaleDB cannot be had here: {'; '.join(said)}")
    return server.start(settings, engine=engine, software=software, options=FAST)


def execute(settings: Settings, statement: str) -> list[tuple[object, ...]]:
    with connection.connect(str(server.status(settings).url)) as conn:
        cursor = conn.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def test_a_server_lives_from_its_first_start_to_its_stop(private: Settings, engine: Any, software: Path) -> None:
    assert server.status(private).kind == "none"
    assert server.stop(private) is False

    first = start(private, engine, software)
    assert (first.kind, first.running, first.reason) == (engine, True, None)
    assert first.server_version is not None
    assert int(first.server_version.split(".")[0]) >= 17
    assert (first.timescaledb_version is not None) is (engine == "timescaledb")
    assert first.edition == ("Apache" if engine == "timescaledb" else None)
    assert start(private, engine, software) == first
    # Names no engine: the data that stands here decide.
    assert server.start(private, software=software) == first

    execute(private, "CREATE TABLE kept (x int); INSERT INTO kept VALUES (7)")
    assert server.stop(private) is True
    stopped = server.status(private)
    assert (stopped.kind, stopped.running, stopped.server_version) == (engine, False, None)

    begun = time.monotonic()
    again = start(private, engine, software)
    assert time.monotonic() - begun < 2.0
    assert again == first
    assert execute(private, "SELECT x FROM kept") == [(7,)]


def test_what_the_server_is_set_to(postgres_server: Any, timescaledb_server: Any) -> None:
    wanted = {"listen_addresses": "127.0.0.1", "max_wal_size": "2GB", "server_encoding": "UTF8", "TimeZone": "UTC"}
    for running in (postgres_server, timescaledb_server):
        with connection.connect(running.template_url) as conn:
            got = {
                name: (conn.execute("SELECT current_setting(%s)", (name,)).fetchone() or ("",))[0] for name in wanted
            }
            assert got == wanted
            row = conn.execute(
                "SELECT rolpassword LIKE 'SCRAM-SHA-256$%' FROM pg_authid WHERE rolname = 'pm'"
            ).fetchone()
            assert row == (True,)
            # The same order of text on both engines, and Polars': by code point.
            row = conn.execute(
                "SELECT array_agg(x ORDER BY x), upper('ä') FROM unnest(ARRAY['b', 'Z', 'ä', 'a']) x"
            ).fetchone()
            assert row == (["Z", "a", "b", "ä"], "Ä")
    with connection.connect(timescaledb_server.template_url) as conn:
        assert conn.execute("SHOW timescaledb.telemetry_level").fetchone() == ("off",)


def test_facts_are_durable_unless_a_test_says_otherwise(private: Settings) -> None:
    server.start(private, engine="postgres")
    assert execute(private, "SELECT current_setting('fsync'), current_setting('synchronous_commit')") == [("on", "on")]


def test_a_killed_server_comes_back_with_what_was_committed(private: Settings, engine: Any, software: Path) -> None:
    before = start(private, engine, software)
    execute(private, "CREATE TABLE kept (x int); INSERT INTO kept VALUES (7)")
    os.kill(pid_of(private, engine), signal.SIGKILL)
    assert start(private, engine, software) == before
    assert execute(private, "SELECT x FROM kept") == [(7,)]


def test_what_else_can_have_happened_before_a_start(private: Settings, software: Path) -> None:
    first = start(private, "postgres", software)
    cluster = cluster_of(private, "postgres")
    server.stop(private)

    # A lock file left from before a reboot, its process id now somebody else's.
    sleeper = subprocess.Popen(
        ["sleep", "60"],
        user=None if cluster.account is None else cluster.account.uid,
        cwd="/",
    )
    try:
        lock_file = cluster.data / "postmaster.pid"
        lock_file.write_text(f"{sleeper.pid}\n{cluster.data}\n1\n1\n\n127.0.0.1\n 1 1\nready\n", encoding="utf-8")
        assert server.status(private).running is False
        assert start(private, "postgres", software) == first
    finally:
        sleeper.kill()
        sleeper.wait()
    server.stop(private)

    # The remembered port taken.
    assert cluster.port is not None
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", cluster.port))
        taken.listen()
        moved = start(private, "postgres", software)
    assert moved.running
    assert moved.url != first.url
    server.stop(private)

    # The password lost.
    kept = cluster.password_file.read_text(encoding="utf-8")
    cluster.password_file.unlink()
    with pytest.raises(StoreError, match=r"postgres/password.*No such file"):
        start(private, "postgres", software)
    cluster.password_file.write_text(kept, encoding="utf-8")

    # A parameter that PostgreSQL does not take: its own words are in the error.
    with pytest.raises(StoreError, match="outside the valid range for parameter .shared_buffers"):
        server.start(private, engine="postgres", software=software, options={"shared_buffers": "1kB"})
    assert start(private, "postgres", software).running


def test_concurrent_first_starts_make_one_server(private: Settings, software: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from pm.settings import Settings; from pm.store import server;"
        "s = Settings(project=Path(sys.argv[1]), home=Path(sys.argv[2]), database_url=None);"
        "print(server.start(s, engine='postgres').url)"
    )
    # In processes of their own, which end: the server must outlive the command that started it.
    command = [sys.executable, "-c", code, str(PROJECT), str(private.home)]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    with ThreadPoolExecutor(3) as pool:
        run = lambda _: subprocess.run(command, env=environment, capture_output=True, text=True, check=True)  # noqa: E731
        urls = {done.stdout for done in pool.map(run, range(3))}
    assert urls == {f"{server.status(private).url}\n"}
    assert execute(private, "SELECT current_database()") == [("pm",)]


def test_only_its_owner_reads_the_password(private: Settings, software: Path) -> None:
    start(private, "postgres", software)
    cluster = cluster_of(private, "postgres")
    assert stat.S_IMODE(cluster.password_file.stat().st_mode) == 0o600
    assert cluster.password_file.stat().st_uid == os.getuid()
    assert stat.S_IMODE(cluster.data.stat().st_mode) == 0o700
    secrets = cluster.password_file.read_text(encoding="utf-8").strip()
    for path in (cluster.configuration, cluster.record, cluster.log):
        assert secrets not in path.read_text(encoding="utf-8")


@pytest.fixture
def far_folder(monkeypatch: pytest.MonkeyPatch, open_folder: Path) -> Path:
    monkeypatch.setattr(server_place, "SYSTEM_FOLDER", open_folder / "far")
    return open_folder / "far"


def test_root_runs_the_server_as_another_user_out_of_a_closed_home(
    private: Settings, far_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: an ordinary user runs the server as itself")
    private.home.mkdir()
    private.home.chmod(0o700)
    # The environment's own folder closed as well, as below /root: the programs are copied.
    monkeypatch.setattr("pm.store.server_software.blocking_folder", _closed_environment)
    now = server.start(private, engine="postgres", options=FAST)
    try:
        assert now.running
        assert now.folder is not None
        assert now.folder.is_relative_to(far_folder)
        assert (now.folder.parent / "home").read_text(encoding="utf-8") == f"{private.home}\n"
        owner = Path(f"/proc/{pid_of(private, 'postgres')}").stat().st_uid
        assert owner == now.folder.joinpath("data").stat().st_uid != 0
        programs = cluster_of(private, "postgres").programs
        assert programs is not None
        assert programs.is_relative_to(far_folder)
        assert list(private.home.iterdir()) == []
        # Opened later, the home still finds its data where they are.
        private.home.chmod(0o755)
        assert server.status(private).url == now.url
    finally:
        assert server.stop(private)


def _closed_environment(path: Path, account: server_place.Account | None) -> Path | None:
    if path.is_relative_to(sys.prefix):
        return Path(sys.prefix)
    return server_place.blocking_folder(path, account)


def test_the_ladder_goes_on_where_timescaledb_cannot_be_had(
    private: Settings, software: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def provide(folder: Path, *, say: server.Say) -> None:
        say("no TimescaleDB: no such mirror")

    said: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(timescale, "provide", provide)
        with pytest.raises(StoreError, match="programs of timescaledb"):
            server.start(private, engine="timescaledb", options=FAST)
        assert server.status(private).kind == "none"
        now = server.start(private, say=said.append, options=FAST)
    assert now.kind == "postgres"
    assert "no TimescaleDB: no such mirror" in said
    # It can be had now, but the data stand in the other server.
    server.stop(private)
    assert server.start(private, software=software, options=FAST).kind == "postgres"


def test_a_first_start_that_fails_leaves_nothing(private: Settings, software: Path) -> None:
    with pytest.raises(StoreError, match="no_such_setting"):
        server.start(private, engine="postgres", software=software, options={"no_such_setting": "1"})
    assert not cluster_of(private, "postgres").folder.exists()
    assert server.status(private).kind == "none"


def test_a_home_that_is_a_file_is_named(open_folder: Path) -> None:
    home = open_folder / "not-a-folder"
    home.write_text("", encoding="utf-8")
    with pytest.raises(StoreError, match="not-a-folder"):
        server.start(Settings(project=PROJECT, home=home, database_url=None), engine="postgres")


def test_a_named_server_is_used_and_not_ours_to_stop(database_url: str, tmp_path: Path) -> None:
    named = Settings(project=PROJECT, home=tmp_path / "home", database_url=database_url)
    now = server.start(named)
    assert (now.kind, now.running, now.url) == ("external", True, database_url)
    assert connection.database_url(named) == database_url
    with connection.open_database(named) as conn:
        assert conn.execute("SELECT count(*) > 0 FROM pm.schema_migration").fetchone() == (True,)
    with pytest.raises(ConfigError, match="PM_DATABASE_URL"):
        server.stop(named)
    gone = replace(named, database_url=database_url + "_gone")
    with pytest.raises(StoreError, match="_gone"):
        server.start(gone)
    assert server.status(gone).running is False
    assert not named.home.exists()


def test_the_command_line_starts_shows_and_stops(private: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PM_HOME", str(private.home))
    monkeypatch.delenv("PM_DATABASE_URL", raising=False)

    def run(*arguments: str) -> str:
        done = CliRunner().invoke(db, arguments, catch_exceptions=False)
        assert done.exit_code == 0
        return done.stdout

    with pytest.raises(StoreError, match="pm db start"):
        run("url")
    assert json.loads(run("status", "--json"))["kind"] == "none"
    assert re.search(r"running +yes", run("start", "--engine", "postgres"))
    url = run("url").strip()
    shown = run("status")
    facts = json.loads(run("status", "--json"))
    assert (facts["kind"], facts["running"], facts["timescaledb_version"]) == ("postgres", True, None)
    assert facts["migrations"] == sorted(file.name for file in (PROJECT / "sql" / "migrations").glob("*.sql"))
    assert facts["size_bytes"] > 1_000_000
    password = url.split("@")[0].rsplit(":", 1)[1]
    assert len(password) > 20
    assert password not in shown + json.dumps(facts)
    with connection.connect(url) as conn:
        assert conn.execute("SELECT 1").fetchone() == (1,)
    assert run("stop") == "stopped\n"
    assert run("stop") == "was not running\n"
