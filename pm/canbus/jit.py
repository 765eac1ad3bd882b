"""Functions compiled to machine code (numba), and where their code is kept between runs.

What belongs here: the one decorator for kernels. A kernel works on numpy arrays, one loop over many
frames; nothing else in the product is compiled. `docs/adr/0004-compiled-kernels.md` says why.
"""

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Final, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., object])

_ROOM: Final = Path(__file__).parent
_PACKAGE: Final = _ROOM.parent
_IMPORT: Final = re.compile(rf"^from ({_PACKAGE.name}[\w.]*) import", re.MULTILINE)
_KEPT: Final = 2
_HOW: Final = f"{numba.__version__} {os.environ.get('NUMBA_BOUNDSCHECK', '')}"


@cache
def _source(module: str) -> bytes:
    path = _PACKAGE.joinpath(*module.split(".")[1:])
    return (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_bytes()


def _digest(module: str) -> str:
    """Of the module and all it imports: numba itself forgets the kernels that a kernel calls."""
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += _IMPORT.findall(_source(name).decode("utf-8"))
    digest = hashlib.sha256(_HOW.encode())
    for name in sorted(seen):
        digest.update(_source(name))
    return digest.hexdigest()[:16]


@cache
def _home() -> Path | None:
    """Where compiled code is kept: beside the sources, else in the temporary folder, else nowhere."""
    for folder in (_ROOM / "__pycache__" / "kernels", Path(tempfile.gettempdir()) / f"pm-kernels-{os.getuid()}"):
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # In a shared folder somebody else may have made it: code that is not ours is not run.
            if os.access(folder, os.W_OK) and (folder.stat().st_uid == os.getuid() or _ROOM in folder.parents):
                return folder
        except OSError:
            continue
    return None


@cache
def _folder(module: str) -> str | None:
    """Where the compiled kernels of a module of this product are kept; those of its earlier sources are removed."""
    home = _home()
    if home is None or not module.startswith(f"{_PACKAGE.name}."):
        return None  # a kernel of a test is compiled each time
    folder = home / f"{module}-{_digest(module)}"
    if not folder.exists():
        for older in sorted(home.glob(f"{module}-*"), key=lambda path: path.stat().st_mtime)[:-_KEPT]:
            shutil.rmtree(older, ignore_errors=True)
        folder.mkdir(exist_ok=True)
    return str(folder)


def _compiled(function: F, **more: object) -> F:
    folder = _folder(function.__module__)
    if folder is not None:
        numba.config.CACHE_DIR = folder
    # error_model: as in numpy and C, a division by zero raises nothing. nogil: readers may run in threads.
    # Without numba's runtime a kernel makes no arrays, and counts no references to those it is given.
    how = {"cache": folder is not None, "nogil": True, "error_model": "numpy", "_nrt": False}
    return cast("F", numba.njit(**how, **more)(function))


def kernel(function: F) -> F:
    """Compile a function for the types it is first called with.

    With NUMBA_BOUNDSCHECK=1 in the environment an index outside its array raises IndexError (tests run
    the kernels so on damaged input); without it, it is undefined, as in C: a kernel checks what it reads.
    """
    return _compiled(function)


def inline_kernel(function: F) -> F:
    """A small kernel whose code is copied into the kernels that call it."""
    return _compiled(function, inline="always")
