"""The logs that are measured: a real one repeated, and a dense made-up one, in every format.

What belongs here: making each file once. Text and BLF are written by python-can, candump by hand (the
same characters, faster), MF4 by asammdf, the library that is measured on it.
"""

import hashlib
import random
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np

PROJECT: Final = Path(__file__).resolve().parent.parent
DBC: Final = PROJECT / "dbc" / "j1939_open_subset.dbc"
REAL_LOGS: Final = PROJECT.parent / "shared" / "can" / "logs"
REAL_LOG: Final = "P6_*.log"

FILES_VERSION: Final = "1"
"""Changes when the same inputs would make other files."""
DENSE_BASE_FRAMES: Final = 2_000_000
DENSE_SEED: Final = 20_260_401
DENSE_STEP_US: Final = 500
DESTINATION_OF_SOURCE: Final = {0x00: 0xFF, 0x03: 0x00, 0x0B: 0x00, 0x31: 0x21}
"""One for each: asammdf decodes a message with a destination (PDU1) again for every destination of a source."""
WARM_FRAMES: Final = 20_000
SUFFIXES: Final = ("log", "blf", "mf4", "asc", "trc", "csv")

Frame = tuple[int, int, bytes]
"""Microseconds since 1970, 29-bit identifier, payload."""


@dataclass(frozen=True)
class Recording:
    """One log, which goes on for ever by repeating itself at later times."""

    name: str
    base: list[Frame]

    def frames(self, n_frames: int) -> Iterator[Frame]:
        """The first `n_frames` frames."""
        return islice(self._endless(), n_frames)

    def _endless(self) -> Iterator[Frame]:
        # A whole second between the end and the next beginning, so that no time appears twice.
        period_us = self.base[-1][0] - self.base[0][0] + 1_000_000
        shift_us = 0
        while True:
            for time_us, can_id, payload in self.base:
                yield time_us + shift_us, can_id, payload
            shift_us += period_us


@dataclass(frozen=True)
class LogFiles:
    """The files of one recording: the name is that of the folder, `frames` what each file holds."""

    name: str
    folder: Path
    frames: dict[str, int]

    def path(self, file: str) -> Path:
        return self.folder / file


def real_log() -> Path | None:
    """The real log beside the project; None where it is missing."""
    return next(iter(sorted(REAL_LOGS.glob(REAL_LOG))), None)


def make_files(name: str, folder: Path, *, tenth: bool = False) -> LogFiles:
    """Make the files of the recording `name` ("real" or "dense") below `folder`, unless they are there.

    With `tenth` the files hold a tenth of the frames, for trying the benchmark out.
    """
    wanted = _sizes(_base_frames(name), 10 if tenth else 1)
    target = folder / f"{name}-{_digest(name, wanted)}"
    if not target.is_dir():
        print(f"making the {name} log in every format, once, in {target}", flush=True)
        recording = Recording(name, _real_base() if name == "real" else dense_base(DBC, DENSE_BASE_FRAMES))
        folder.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=folder))
        try:
            for file, n_frames in wanted.items():
                WRITERS[Path(file).suffix](made / file, recording.frames(n_frames))
            made.rename(target)
        finally:
            shutil.rmtree(made, ignore_errors=True)
    return LogFiles(name, target, wanted)


def _base_frames(name: str) -> int:
    if name == "dense":
        return DENSE_BASE_FRAMES // 20
    path = real_log()
    assert path is not None  # noqa: S101 - the caller asked `real_log` first
    with path.open("rb") as lines:
        return sum(1 for _ in lines)


def _sizes(unit: int, divisor: int) -> dict[str, int]:
    """Frames a file: all, four times as many, half (formats that are slow to write), a tenth (slow readers)."""
    full = 20 * unit // divisor
    half, short = full // 2, full // 10
    sizes = {"full.log": full, "four.log": 4 * full, "short.log": short, "full.mf4": full}
    sizes |= {"half.blf": half, "short.blf": short, "half.asc": half, "half.trc": half, "half.csv": half}
    return sizes | {f"warm.{suffix}": min(WARM_FRAMES, short) for suffix in SUFFIXES}


def _digest(name: str, sizes: dict[str, int]) -> str:
    digest = hashlib.sha256(f"{FILES_VERSION} {name} {sizes} {DENSE_SEED}".encode())
    digest.update(DBC.read_bytes())
    if name == "real" and (path := real_log()) is not None:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _real_base() -> list[Frame]:
    path = real_log()
    assert path is not None  # noqa: S101 - the caller asked `real_log` first
    return list(read_candump(path))


def read_candump(path: Path) -> Iterator[Frame]:
    """Frames of a candump -L log whose frames are all extended data frames."""
    with path.open(encoding="ascii") as lines:
        for line in lines:
            when, _, frame = line.split()
            seconds, _, microseconds = when[1:-1].partition(".")
            identifier, _, payload = frame.partition("#")
            if len(identifier) != 8:
                raise ValueError(f"{path}: expected extended frames only, but got {line!r}")
            yield int(seconds) * 1_000_000 + int(microseconds), int(identifier, 16), bytes.fromhex(payload)


def dense_base(dbc: Path, n_frames: int) -> list[Frame]:
    """Frames that all are single-frame messages of `dbc`, with random payloads, from several sources."""
    import cantools

    generator = random.Random(DENSE_SEED)
    messages = [m for m in cantools.database.load_file(dbc, strict=False).messages if m.length <= 8]
    headers = []
    for message in messages:
        identifier = message.frame_id & 0x1FFFFF00
        has_destination = (identifier >> 16) & 0xFF < 240
        for source, destination in DESTINATION_OF_SOURCE.items():
            base = identifier & 0x1FFF0000 | destination << 8 if has_destination else identifier
            headers.append((base | source, message.length))
    chosen = generator.choices(headers, k=n_frames)
    payloads = generator.randbytes(8 * n_frames)
    start_us = 1_700_000_000_000_000
    return [
        (start_us + DENSE_STEP_US * at + generator.randrange(100), can_id, payloads[8 * at : 8 * at + length])
        for at, (can_id, length) in enumerate(chosen)
    ]


def _write_candump(path: Path, frames: Iterator[Frame]) -> None:
    with path.open("w", encoding="ascii", newline="\n") as out:
        out.writelines(
            f"({time_us // 1_000_000}.{time_us % 1_000_000:06d}) can0 {can_id:08X}#{payload.hex().upper()}\n"
            for time_us, can_id, payload in frames
        )


def _write_by_python_can(path: Path, frames: Iterator[Frame]) -> None:
    import can

    writers: dict[str, Any] = {
        ".blf": can.BLFWriter,
        ".asc": can.ASCWriter,
        ".trc": can.TRCWriter,
        ".csv": can.CSVWriter,
    }
    with writers[path.suffix](path) as writer:
        for time_us, can_id, payload in frames:
            writer(can.Message(timestamp=time_us / 1e6, arbitration_id=can_id, data=payload, channel=0))


def _write_mf4(path: Path, frames: Iterator[Frame]) -> None:
    """One CAN_DataFrame group, not compressed: what asammdf reads fastest."""
    from asammdf import MDF, Signal
    from asammdf.blocks.v4_blocks import SourceInformation
    from asammdf.blocks.v4_constants import BUS_TYPE_CAN, SOURCE_BUS

    all_frames = list(frames)
    scalars = {"BusChannel": "u1", "ID": "<u4", "IDE": "u1", "DLC": "u1", "DataLength": "u1"}
    fields = [(f"CAN_DataFrame.{name}", kind) for name, kind in scalars.items()]
    records = np.zeros(len(all_frames), np.dtype([*fields, ("CAN_DataFrame.DataBytes", "(8,)u1")]))
    lengths = [len(payload) for _, _, payload in all_frames]
    padded = b"".join(payload.ljust(8, b"\0") for _, _, payload in all_frames)
    records["CAN_DataFrame.BusChannel"] = records["CAN_DataFrame.IDE"] = 1
    records["CAN_DataFrame.ID"] = [can_id for _, can_id, _ in all_frames]
    records["CAN_DataFrame.DLC"] = records["CAN_DataFrame.DataLength"] = lengths
    records["CAN_DataFrame.DataBytes"] = np.frombuffer(padded, np.uint8).reshape(-1, 8)
    seconds = np.array([time_us - all_frames[0][0] for time_us, _, _ in all_frames]) / 1e6
    source = SourceInformation(source_type=SOURCE_BUS, bus_type=BUS_TYPE_CAN)
    with MDF(version="4.10") as mdf:
        mdf.header.start_time = datetime.fromtimestamp(all_frames[0][0] / 1e6, UTC)
        mdf.append(Signal(name="CAN_DataFrame", samples=records, timestamps=seconds, source=source))
        mdf.save(path, compression=0, overwrite=True)


WRITERS: Final = {f".{suffix}": _write_by_python_can for suffix in SUFFIXES} | {
    ".log": _write_candump,
    ".mf4": _write_mf4,
}
