"""The secret of this installation, a file that only its user reads.

What belongs here: making and reading it. It keys the hashes of driver ids; a backup without it can no
longer tell that a driver seen later is one seen before.
"""

import os
import secrets
from pathlib import Path
from typing import Final

from pm.errors import StoreError

_BYTES: Final = 32
_NAME: Final = "secret.key"


def installation_secret(home: Path) -> bytes:
    """The secret below `home`, made when first asked for.

    Raises:
        StoreError: the file cannot be made or read, or is no such secret.
    """
    path = home / _NAME
    try:
        home.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _make(path)
        found = path.read_bytes()
    except OSError as reason:
        raise StoreError(f"secret {path}: expected a file to read or make, but got: {reason.strerror}") from None
    if len(found) != _BYTES:
        raise StoreError(f"secret {path}: expected {_BYTES} bytes, but got {len(found)}")
    return found


def _make(path: Path) -> None:
    draft = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(secrets.token_bytes(_BYTES))
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)  # where another process was faster, its secret stays
    except FileExistsError:
        pass
    finally:
        draft.unlink()
