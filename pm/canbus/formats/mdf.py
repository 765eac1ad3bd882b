"""MF4 (ASAM MDF 4 bus logging): the frames of a file in order of time.

What belongs here: opening the file, reading its groups side by side, and the way around what is not
read here: asammdf, an optional package, writes the file anew in the usual layout.
"""

import logging
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, BinaryIO, Final

from pm.canbus.formats.block import BLOCK_FRAMES, FrameBlock, Source
from pm.canbus.formats.mdf_file import Budget, MdfFile, UnusualLayoutError
from pm.canbus.formats.mdf_groups import GroupReader, Shared
from pm.canbus.formats.mdf_layout import data_groups, start_us
from pm.canbus.formats.mdf_merge import in_order, merge
from pm.errors import ConfigError

MOST_STREAMS: Final = 256
"""Most streams of payloads of variable length; each is read beside the records."""

_FRAMES_SIDE_BY_SIDE: Final = 1 << 19
_LEAST_PIECE: Final = 256
_BYTES_SIDE_BY_SIDE: Final = 1 << 25
_MOST_BUFFER, _LEAST_BUFFER = 1 << 21, 1 << 17
_WINDOWS_SIDE_BY_SIDE: Final = 1 << 26
_LEAST_WINDOW: Final = 1 << 20
_BUFFER_BYTES: Final = 1 << 16
"""Blocks of metadata lie close together: most are found in what was read for those before."""


def mdf_blocks(path: Path, source: Source) -> Iterator[FrameBlock]:
    """Read an MF4 log, frames of all groups in order of time, up to 65,536 a block or somewhat more.

    Times count from the start in the file's header, which is UTC; a local time is taken as UTC. A channel
    is named by its bus number ("1"): that of the record, else that in the group's acquisition name
    ("CAN1"), else "0". A group's own order is kept, so a clock that was set back shows as a backward step.
    Remote and error frames are counted.

    Raises:
        ConfigError: the file is laid out in an unusual way, and asammdf, which reads it, is not installed.
        ValueError: the file is truncated or damaged. Damage in the records shows where it is reached, so
            blocks may have been read before.
    """
    with ExitStack() as stack:
        stream = stack.enter_context(path.open("rb", _BUFFER_BYTES))
        try:
            groups = _open(stream, source)
        except UnusualLayoutError as unusual:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pm-")))
            groups = _open(stack.enter_context(_rewritten(path, folder, unusual).open("rb")), source)
        yield from _blocks(groups, source)


def _open(stream: BinaryIO, source: Source) -> list[GroupReader]:
    file = MdfFile(stream)
    found = data_groups(file)
    n = max(len(found), 1)
    links = {member.frames.signal_link for group in found for member in group.groups if member.frames} - {0}
    if len(links) > MOST_STREAMS:
        raise ValueError(f"expected at most {MOST_STREAMS} streams of payloads, but got {len(links)}")
    shared = Shared(
        file=file,
        source=source,
        start_us=start_us(file),
        budget=Budget(file.size, n_streams=n + len(links)),
        piece_frames=min(max(_FRAMES_SIDE_BY_SIDE // n, _LEAST_PIECE), BLOCK_FRAMES),
        buffer_bytes=min(max(_BYTES_SIDE_BY_SIDE // (n + len(links)), _LEAST_BUFFER), _MOST_BUFFER),
        window_bytes=max(_WINDOWS_SIDE_BY_SIDE // max(len(links), 4), _LEAST_WINDOW),
    )
    return [GroupReader(group, shared) for group in found]


def _blocks(groups: list[GroupReader], source: Source) -> Iterator[FrameBlock]:
    n_waiting = min(_FRAMES_SIDE_BY_SIDE // max(len(groups), 1), BLOCK_FRAMES)
    ordered = [in_order(group.pieces(), source, n_waiting) if group.is_mixed else group.pieces() for group in groups]
    if len(ordered) == 1:
        for piece in ordered[0]:
            yield piece.block
    else:
        yield from merge(ordered, source)


def _rewritten(path: Path, folder: Path, unusual: UnusualLayoutError) -> Path:
    """A copy of the log with records of one kind in each data group, by asammdf."""
    try:
        from asammdf import MDF
        from asammdf.blocks.mdf_v4 import MDF4
    except ImportError:
        raise ConfigError(
            f"log {path}: {unusual}: expected the extra pm[mdf] for this layout, but asammdf is not installed"
        ) from None
    # What asammdf finds in damaged files is raised, and told once.
    logging.getLogger("asammdf").setLevel(logging.CRITICAL)

    def close_what_was_opened(mdf: Any) -> None:
        # Its own __del__ fails with a stack trace on an object whose __init__ failed, and after its folder is gone.
        with suppress(AttributeError, OSError):
            mdf.close()

    MDF4.__del__ = close_what_was_opened
    with MDF(path, temporary_folder=folder) as mdf:
        return Path(mdf.save(folder / "plain.mf4", overwrite=True))
