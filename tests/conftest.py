"""Fixtures of every kind of test: `../shared`, and real databases on both engines.

Each test gets its own database, copied from a migrated template, on a server that lives as long
as the run, and on one named by PM_TEST_COMMUNITY_URL where there is a TimescaleDB Community. Unpacked
TimescaleDB programs are kept between runs, below PM_TEST_HOME or the project's home.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import can  # noqa: F401 - before pm.canbus.dbc, which keeps asammdf from it: tests write MF4 with it
import psycopg
import pytest
from psycopg import sql

from pm.errors import StoreError
from pm.settings import Settings, read_settings
from pm.store import connection, server
from pm.store.server_place import Engine, find_place

PROJECT = Path(__file__).resolve().parent.parent
TEMPLATE = "template_pm"
FAST = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "64MB",
    "max_connections": "40",
}
"""Server parameters of a server whose data nobody will miss."""

_numbers = count(1)


@dataclass(frozen=True)
class RunningServer:
    """A test server; `template_url` is the migrated database that tests copy."""

    engine: Engine
    settings: Settings
    admin_url: str
    template_url: str


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes go by their argument's name: packed ones may hold the time, and each process must collect the same ids."""
    return argname if isinstance(val, bytes) else None


@pytest.fixture(scope="session")
def shared() -> Callable[[str], Path]:
    """`shared("can/README.md")` is that path below ../shared; the test skips where it is missing."""

    def find(name: str) -> Path:
        path = PROJECT.parent / "shared" / name
        if not path.exists():
            pytest.skip(f"../shared is missing: no {name}")
        return path

    return find


@pytest.fixture(scope="session")
def software() -> Path:
    """Where unpacked server programs stay between runs."""
    home = os.environ.get("PM_TEST_HOME")
    return find_place(Path(home).resolve() if home else read_settings({}).home).software


@pytest.fixture(scope="session")
def open_folder() -> Iterator[Path]:
    """A scratch folder that the server's unprivileged user can enter (pytest's own is closed to others)."""
    folder = Path(tempfile.mkdtemp(prefix="pm-test-")).resolve()
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def start_or_skip(settings: Settings, engine: Engine, software: Path) -> server.ServerStatus:
    """A started server. Without TimescaleDB the test skips with the reason; in CI it fails."""
    said: list[str] = []
    try:
        return server.start(settings, engine=engine, say=said.append, software=software, options=FAST)
    except StoreError as error:
        if engine == "timescaledb" and os.environ.get("CI") != "true":
            pytest.skip(f"TimescaleDB cannot be had here: {'; '.join(said) or error}")
        pytest.fail(f"no {engine} server: {error}; {'; '.join(said)}")


def _run_server(engine: Engine, folder: Path, software: Path) -> Iterator[RunningServer]:
    settings = Settings(project=PROJECT, home=folder / f"home-{engine}", database_url=None)
    url = start_or_skip(settings, engine, software).url
    assert url is not None
    try:
        template = connection.ensure_database(url, TEMPLATE)
        connection.migrate_database(settings, template)
        yield RunningServer(engine, settings, url, template)
    finally:
        server.stop(settings)


@pytest.fixture(scope="session")
def postgres_server(open_folder: Path, software: Path) -> Iterator[RunningServer]:
    """Plain PostgreSQL, with the template database."""
    yield from _run_server("postgres", open_folder, software)


@pytest.fixture(scope="session")
def timescaledb_server(open_folder: Path, software: Path) -> Iterator[RunningServer]:
    """PostgreSQL with TimescaleDB, with the template database."""
    yield from _run_server("timescaledb", open_folder, software)


@pytest.fixture(scope="session")
def community_server(open_folder: Path) -> Iterator[RunningServer]:
    """TimescaleDB Community: the server that PM_TEST_COMMUNITY_URL names, for tests only, as a superuser."""
    url = os.environ.get("PM_TEST_COMMUNITY_URL")
    if not url:
        pytest.skip("TimescaleDB Community cannot be had here: PM_TEST_COMMUNITY_URL names no server that has it")
    settings = Settings(project=PROJECT, home=open_folder / "home-community", database_url=url)
    template = connection.ensure_database(url, TEMPLATE)
    connection.migrate_database(settings, template)
    with connection.connect(url) as admin:
        # Else the connection of TimescaleDB's scheduler is in the way of copying it.
        admin.execute(sql.SQL("ALTER DATABASE {} IS_TEMPLATE true").format(sql.Identifier(TEMPLATE)))
    yield RunningServer("timescaledb", settings, url, template)
    with connection.connect(url) as admin:
        admin.execute(sql.SQL("ALTER DATABASE {} IS_TEMPLATE false").format(sql.Identifier(TEMPLATE)))
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(TEMPLATE)))


ENGINES = ["postgres", "timescaledb", *(["community"] if os.environ.get("PM_TEST_COMMUNITY_URL") else [])]
"""Every rung of the ladder that is present."""


@pytest.fixture(params=ENGINES)
def running_server(request: pytest.FixtureRequest) -> RunningServer:
    """Each engine in turn."""
    found = request.getfixturevalue(f"{request.param}_server")
    assert isinstance(found, RunningServer)
    return found


def _own_database(running: RunningServer, *, template: str) -> Iterator[str]:
    name = f"test_{next(_numbers)}"
    name_id, template_id = sql.Identifier(name), sql.Identifier(template)
    with connection.connect(running.admin_url) as admin:
        # Copying files is faster than logging each page, and nobody will miss the checkpoint it waits for.
        admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY").format(name_id, template_id))
    yield running.admin_url.rsplit("/", 1)[0] + f"/{name}"
    with connection.connect(running.admin_url) as admin:
        admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name_id))


@pytest.fixture
def database_url(running_server: RunningServer) -> Iterator[str]:
    """This test's own migrated database, on each engine in turn; dropped afterwards."""
    yield from _own_database(running_server, template=TEMPLATE)


@pytest.fixture
def empty_database_url(running_server: RunningServer) -> Iterator[str]:
    """This test's own database without extension, schemas and tables, on each engine in turn."""
    yield from _own_database(running_server, template="template1")


@pytest.fixture
def settings(database_url: str, open_folder: Path, tmp_path: Path) -> Settings:
    """The project's settings, pointed at this test's own database and folder."""
    return replace(read_settings({}), home=tmp_path / "home", database_url=database_url)


@pytest.fixture
def conn(database_url: str) -> Iterator[psycopg.Connection]:
    """A connection to this test's own migrated database."""
    with connection.connect(database_url) as opened:
        yield opened
