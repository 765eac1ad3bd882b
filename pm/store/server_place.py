"""Where the private server's files are, and as which system user it runs.

What belongs here: folders, owners, reachability, the lock, the record. Processes are
`pm.store.server_cluster`.

PostgreSQL refuses to run as root. Started by root, the server runs as an existing unprivileged
user, so that user must be able to walk to its files; where a parent folder forbids it, they go
to `SYSTEM_FOLDER` instead.
"""

import fcntl
import hashlib
import json
import os
import pwd
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from pm.errors import StoreError

Engine = Literal["timescaledb", "postgres"]

ENGINES: Final[tuple[Engine, ...]] = ("timescaledb", "postgres")
"""Private engines, the better one first."""

SYSTEM_FOLDER: Final = Path("/var/lib/pm")
"""Where root's server goes when the settings' home cannot be reached by an unprivileged user."""

_USERS: Final = ("postgres", "nobody")


@dataclass(frozen=True)
class Account:
    """A system user."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True)
class Place:
    """The folder of all private servers of one home."""

    home: Path
    root: Path
    account: Account | None
    """Whom the server runs as; None: whoever starts it."""

    @property
    def software(self) -> Path:
        return self.root / "software"

    def folder(self, engine: Engine) -> Path:
        return self.root / engine

    def is_initialised(self, engine: Engine) -> bool:
        return (self.folder(engine) / "data").exists()

    def make(self) -> None:
        """Creates the folder and notes whose it is."""
        make_folder(self.root, self.account)
        replace_text(self.root / "home", f"{self.home}\n", mode=0o644)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Holds off every other process that starts or stops a server here; `make` comes first."""
        with hold(self.root / "lock"):
            yield


def find_place(home: Path) -> Place:
    """The place that `home` uses already, else the one it would use. Creates nothing."""
    near = home / "server"
    if os.geteuid() != 0:
        return Place(home, near, None)
    far = SYSTEM_FOLDER / hashlib.sha256(str(home).encode()).hexdigest()[:12]
    for root in (near, far):
        owner = _owner_of_data(root)
        if owner is not None:
            return Place(home, root, owner)
    account = _unprivileged()
    return Place(home, near if blocking_folder(home, account) is None else far, account)


def _owner_of_data(root: Path) -> Account | None:
    """Who owns the data that stands there, so that a user added later changes nothing."""
    for engine in ENGINES:
        try:
            owner = (root / engine / "data").stat().st_uid
        except FileNotFoundError:
            continue
        entry = pwd.getpwuid(owner)
        return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    return None


def _unprivileged() -> Account:
    for name in _USERS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, entry.pw_uid, entry.pw_gid)
    raise StoreError(
        f"expected a system user {' or '.join(_USERS)} to run PostgreSQL as, because it refuses root, but got none"
    )


def blocking_folder(path: Path, account: Account | None) -> Path | None:
    """The first folder on the way to `path` (and `path` itself, where it exists) that `account` cannot enter."""
    if account is None:
        return None
    for folder in (*reversed(path.parents), path):
        try:
            entry = folder.stat()
        except FileNotFoundError:
            return None
        if not _may_enter(entry, account):
            return folder
    return None


def _may_enter(entry: os.stat_result, account: Account) -> bool:
    if entry.st_uid == account.uid:
        return bool(entry.st_mode & stat.S_IXUSR)
    if entry.st_gid == account.gid:
        return bool(entry.st_mode & stat.S_IXGRP)
    return bool(entry.st_mode & stat.S_IXOTH)


def make_folder(path: Path, account: Account | None) -> None:
    """Creates `path`: to be entered by `account` but written by its creator only, whatever the umask."""
    for folder in (*reversed(path.parents), path):
        if not folder.exists():
            folder.mkdir(exist_ok=True)
            folder.chmod(0o700 if account is None else 0o755)


def give(path: Path, account: Account | None) -> None:
    """Hands a file or an empty folder to the server's user, closed to everybody else."""
    path.chmod(0o700 if path.is_dir() else 0o600)
    if account is not None:
        os.chown(path, account.uid, account.gid)


@contextmanager
def hold(file: Path) -> Iterator[None]:
    """An exclusive lock between processes; the kernel frees it when its holder dies."""
    # Opened anew each time: two threads of one process then exclude each other as well.
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def replace_text(file: Path, text: str, *, mode: int) -> None:
    """Writes whole or not at all."""
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as out:
        out.write(text)
    draft.chmod(mode)
    draft.replace(file)


def read_record(file: Path) -> Mapping[str, object]:
    """The JSON object in `file`; empty where there is none."""
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except json.JSONDecodeError as error:
        raise StoreError(f"expected a JSON record in {file}, but got: {error}") from None
    if not isinstance(record, dict):
        raise StoreError(f"expected a JSON object in {file}, but got {type(record).__name__}")
    return record
