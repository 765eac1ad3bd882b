"""A real PostgreSQL with TimescaleDB from Debian's own packages, unpacked into a private folder.

What belongs here: which packages, and making their programs run where they were not built for. Starting
and stopping the server is `pm.store.server`; apt is `pm.store.debian`.

Debian 13 and later carry `postgresql-N-timescaledb` (the Apache edition). Where this machine has every
library they need, the unpacked programs run as they are. Elsewhere (Debian 12, or a small Debian 13) the
libraries come along, the C library and its loader too, and `patchelf` points the programs to them.

For the server's module:
- PostgreSQL finds its `share` folder and its modules by the place of its own programs, since the unpacked
  tree keeps Debian's layout; no path needs to be given to `initdb` or to the server.
- The server needs `shared_preload_libraries = timescaledb`. Just-in-time compilation is taken out.
- Debian's default for `unix_socket_directories` is a system folder: give it a private one or an empty string.
- Locales are the machine's, which a small machine lacks: C or PostgreSQL's builtin C.UTF-8 always work.
- PostgreSQL refuses to run as root. The user it runs as must be able to enter every folder above the tree.
"""

import re
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from pm.errors import PmError, StoreError
from pm.store import debian

Say = Callable[[str], None]

_LAYOUT = "1"
_FIRST_RELEASE = 13
_FIRST_SUITE = "trixie"
_PROGRAMS = ("postgres", "initdb", "pg_ctl", "psql", "pg_dump")
# 120 MB that only just-in-time compilation loads; its module is taken out with it
_JUST_IN_TIME_LIBRARY = r"libllvm.*"
_ZONES = Path("/usr/share/zoneinfo/UTC")


def provide(folder: Path, *, say: Say) -> Path | None:
    """The folder below `folder` that holds postgres, initdb, pg_ctl, psql and pg_dump, TimescaleDB beside them.

    The first call downloads about 40 MB; later ones return at once. None, with the reason said, where it
    cannot be had: another distribution, no apt, no network, no such package, programs that do not run.
    """
    try:
        release = debian.read_release()
        if not _ZONES.exists():
            raise StoreError(f"expected time zones on this machine (package tzdata), but got no {_ZONES}")
        mark = f"{_LAYOUT} {folder} {release.codename}"
        debian.build_once(folder, mark, lambda work: _build(work, folder, release, say))
        programs = _program_folder(folder)
        debian.run((str(programs / "postgres"), "--version"))
    except PmError as reason:
        say(f"no TimescaleDB from Debian's packages: {reason}")
        return None
    return programs


def _build(work: Path, folder: Path, release: debian.Release, say: Say) -> Path:
    tree = work / "tree"
    apt, packages = _find_packages(work, release, say)
    apt.unpack(packages, tree, say)
    _take_out_unused(tree)
    if unresolved(_linked_files(tree), ("ldd",)):
        _bring_libraries(apt, packages, tree, folder, say)
    return tree


def _take_out_unused(tree: Path) -> None:
    for module in tree.glob("usr/lib/postgresql/*/lib/llvmjit*.so"):
        module.unlink()
    for folder in ("usr/lib/postgresql/*/lib/bitcode", "usr/share/doc", "usr/share/man", "usr/share/locale"):
        for found in tree.glob(folder):
            shutil.rmtree(found)


def _find_packages(work: Path, release: debian.Release, say: Say) -> tuple[debian.Apt, tuple[str, ...]]:
    """apt over the first suite that carries TimescaleDB, and the three packages of its newest PostgreSQL."""
    is_older = release.number is not None and release.number < _FIRST_RELEASE
    suites = [_FIRST_SUITE] if is_older else list(dict.fromkeys((release.codename, _FIRST_SUITE)))
    for suite in suites:
        apt = debian.open_apt(work / "apt", say=say, suite=suite)
        majors = [int(re.sub(r"\D", "", name)) for name in apt.names("^postgresql-[0-9]+-timescaledb$")]
        if majors:
            major = max(majors)
            return apt, (f"postgresql-{major}", f"postgresql-client-{major}", f"postgresql-{major}-timescaledb")
    raise StoreError(f"expected a package postgresql-N-timescaledb in Debian {' or '.join(suites)}, but got none")


def _bring_libraries(apt: debian.Apt, packages: Sequence[str], tree: Path, folder: Path, say: Say) -> None:
    """Unpacks the libraries beside the programs and points the programs to them, for use below `folder`."""
    apt.unpack(debian.library_closure(apt, packages, skip=_JUST_IN_TIME_LIBRARY), tree, say)
    say("pointing the programs to their own libraries")
    patchelf = _patchelf()
    programs = _program_folder(tree)
    loader_name = Path(debian.run((patchelf, "--print-interpreter", str(programs / "postgres"))).strip()).name
    libraries = sorted({path.parent for path in tree.glob("**/libc.so.6")})
    loader = next((path / loader_name for path in libraries if (path / loader_name).exists()), None)
    if loader is None:
        raise StoreError(f"expected the loader {loader_name} in Debian's libc6, but got none")
    # RPATH and not RUNPATH: only RPATH also holds for the libraries of libraries and for loaded modules.
    # Relative to the program, while the loader has to be named by its final place.
    up = "/".join([".."] * len(programs.relative_to(tree).parts))
    rpath = ":".join(f"$ORIGIN/{up}/{path.relative_to(tree)}" for path in libraries)
    final_loader = folder / loader.relative_to(tree)
    change = (patchelf, "--set-interpreter", str(final_loader), "--force-rpath", "--set-rpath", rpath)
    for program in _executables(programs):
        debian.run((*change, str(program)))
    search = ":".join(map(str, libraries))
    missing = unresolved(_linked_files(tree), (str(loader), "--library-path", search, "--list"))
    if missing:
        raise StoreError(f"expected every library of PostgreSQL, but got none for: {'; '.join(missing[:4])}")


def unresolved(files: Iterable[Path], lister: Sequence[str]) -> list[str]:
    """What `lister` (ldd, or a loader with --list) cannot find for these programs and modules, one line each."""
    found = []
    for file in files:
        try:
            said = debian.run((*lister, str(file)))
        except StoreError as error:
            said = f"{error}: not found"
        found += [f"{file.name}: {line.strip()}" for line in said.splitlines() if "not found" in line]
    return found


def _linked_files(tree: Path) -> list[Path]:
    """The programs this product calls and the modules that PostgreSQL and TimescaleDB load into the server."""
    programs = _program_folder(tree)
    modules = sorted((programs.parent / "lib").glob("*.so"))
    return [*(programs / name for name in _PROGRAMS), *modules]


def _program_folder(tree: Path) -> Path:
    found = sorted(tree.glob("usr/lib/postgresql/*/bin/postgres"))
    if not found:
        raise StoreError(f"expected PostgreSQL's programs below {tree}, but got none")
    return found[-1].parent


def _executables(programs: Path) -> list[Path]:
    """Programs of the folder that have a loader to set (no scripts)."""
    return [p for p in sorted(programs.iterdir()) if p.is_file() and p.read_bytes()[:4] == b"\x7fELF"]


def _patchelf() -> str:
    beside = Path(sys.executable).parent / "patchelf"
    found = str(beside) if beside.is_file() else shutil.which("patchelf")
    if found is None:
        raise StoreError(f"expected patchelf beside {sys.executable} (it is in requirements.lock), but got none")
    return found
