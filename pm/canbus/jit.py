"""Functions compiled to machine code (numba), and where their code is kept between runs.

What belongs here: the one decorator for kernels. A kernel works on numpy arrays, one loop over many
frames; nothing else in the product is compiled. `docs/adr/0004-compiled-kernels.md` says why.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., object])

_ROOM: Final = Path(__file__).parent
_PREFIX: Final = "kernels-"


def _digest() -> str:
    """Of everything that decides what the kernels do: numba itself forgets the kernels that a kernel calls."""
    digest = hashlib.sha256(f"{numba.__version__} {os.environ.get('NUMBA_BOUNDSCHECK', '')}".encode())
    for path in sorted(_ROOM.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _cache_folder() -> Path | None:
    """Where compiled code is kept: beside the sources, else in the user's temporary folder, else nowhere."""
    name = _PREFIX + _digest()
    for parent in (_ROOM / "__pycache__", Path(tempfile.gettempdir()) / f"pm-{os.getuid()}"):
        try:
            parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if parent.stat().st_uid != os.getuid() and parent.parent != _ROOM:
                continue  # somebody else made the folder in the shared temporary folder: its code is not run
            folder = parent / name
            is_new = not folder.exists()
            folder.mkdir(exist_ok=True)
            if not os.access(folder, os.W_OK):
                continue
        except OSError:
            continue
        if is_new:
            _forget_older(parent, name)
        return folder
    return None


def _forget_older(parent: Path, name: str) -> None:
    for folder in sorted(parent.glob(f"{_PREFIX}*"), key=lambda old: old.stat().st_mtime)[:-3]:
        if folder.name != name:
            shutil.rmtree(folder, ignore_errors=True)


def _settings() -> dict[str, object]:
    folder = _cache_folder()
    if folder is not None:
        numba.config.CACHE_DIR = str(folder)
    # error_model: as in numpy and C, a division by zero raises nothing. nogil: readers may run in threads.
    return {"cache": folder is not None, "nogil": True, "error_model": "numpy"}


_SETTINGS: Final = _settings()


def kernel(function: F) -> F:
    """Compile a function for the types it is first called with.

    With NUMBA_BOUNDSCHECK=1 in the environment an index outside its array raises IndexError (tests run
    the kernels so on damaged input); without it, it is undefined, as in C: a kernel checks what it reads.
    """
    return cast("F", numba.njit(**_SETTINGS)(function))


def inline_kernel(function: F) -> F:
    """A small kernel whose code is copied into the kernels that call it."""
    return cast("F", numba.njit(inline="always", **_SETTINGS)(function))
