"""What a user of the other libraries does with the same log, as jobs to be measured.

What belongs here: one class a comparator, written the way its own documentation does it. Where there is
a choice, the faster way is taken. `README.md` says what each of them decodes differently.
"""

import json
import logging
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.job import Counts, NotInstalledError
from benchmarks.make_files import read_candump

PLAIN_LOOP: Final = Path(__file__).with_name("plain_loop.c")
_FIRST_PDU2_FORMAT: Final = 240
_MEASURED_BITS: Final = 64


def _pgn(can_id: int) -> int:
    """The parameter group of a 29-bit identifier (SAE J1939-21)."""
    return can_id >> 8 & (0x3FFFF if (can_id >> 16 & 0xFF) >= _FIRST_PDU2_FORMAT else 0x3FF00)


class Cantools:
    """python-can reads candump text, cantools decodes frame by frame; each frame's values are let go."""

    def __init__(self, dbc: Path) -> None:
        import cantools
        from can import CanutilsLogReader

        self._reader = CanutilsLogReader
        database: Any = cantools.database.load_file(dbc, strict=False)
        # cantools compares whole identifiers: priority, source and destination have to be taken out by the user.
        self._by_pgn = {_pgn(message.frame_id): message for message in database.messages}

    def run(self, files: list[Path]) -> Counts:
        by_pgn, frames, values = self._by_pgn, 0, 0
        for frame in self._reader(files[0]):
            frames += 1
            if frame.is_extended_id and (message := by_pgn.get(_pgn(frame.arbitration_id))) is not None:
                decoded = message.decode(frame.data, decode_choices=False, allow_truncated=True)
                values += len(decoded)
        return Counts(frames, values)

    def counts(self, result: Counts) -> Counts:
        return result


class BlfReader:
    """python-can reads BLF, and nothing is decoded."""

    def __init__(self, dbc: Path) -> None:  # noqa: ARG002 - every job gets it
        from can import BLFReader

        self._reader = BLFReader

    def run(self, files: list[Path]) -> int:
        with self._reader(files[0]) as frames:
            return sum(1 for _ in frames)

    def counts(self, result: int) -> Counts:
        return Counts(result)


class Asammdf:
    """asammdf opens its own MF4 and extracts every signal; it keeps them in a temporary file.

    With `arrays` all of them are then read into numpy arrays, which is where the product's columns are.
    """

    def __init__(self, dbc: Path, *, arrays: bool = False) -> None:
        try:
            from asammdf import MDF
            from asammdf.blocks.utils import load_can_database
        except ImportError:
            raise NotInstalledError("asammdf: not installed (pip install asammdf)") from None
        logging.getLogger("asammdf").setLevel(logging.ERROR)
        self._open, self._arrays = MDF, arrays
        self._database = load_can_database(dbc)

    def run(self, files: list[Path]) -> tuple[Any, Any, list[Any]]:
        log = self._open(files[0])
        extracted = log.extract_bus_logging({"CAN": [(self._database, 0)]})
        return log, extracted, list(self._signals(extracted)) if self._arrays else []

    def counts(self, result: tuple[Any, Any, list[Any]]) -> Counts:
        log, extracted, signals = result
        frames = sum(int(group.channel_group.cycles_nr) for group in log.groups)
        values = sum(len(signal) for signal in signals or self._signals(extracted))
        extracted.close()
        log.close()
        return Counts(frames, values)

    @staticmethod
    def _signals(extracted: Any) -> Any:
        """Every signal with its physical values, without those that asammdf calls invalid."""
        for number, group in enumerate(extracted.groups):
            for index in range(1, len(group.channels)):
                yield extracted.get(group=number, index=index)


class CanDecoder:
    """can_decoder decodes a pandas frame; making that frame out of the log is not counted against it."""

    def __init__(self, dbc: Path) -> None:
        try:
            import can_decoder
            import pandas as pd
        except ImportError:
            raise NotInstalledError("can_decoder: not installed (pip install can-decoder canmatrix pandas)") from None
        self._pandas = pd
        self._decoder = can_decoder.DataFrameDecoder(can_decoder.load_dbc(dbc))
        self._frames: dict[Path, Any] = {}

    def before(self, files: list[Path]) -> None:
        """Read the log: can_decoder has no reader for text, and mdf_iter cannot read asammdf's MF4."""
        times, identifiers, payloads = zip(*read_candump(files[0]), strict=True)
        columns = {"ID": np.array(identifiers, np.uint32), "IDE": True, "DataBytes": [list(p) for p in payloads]}
        index = self._pandas.to_datetime(np.array(times), unit="us").rename("TimeStamp")
        self._frames[files[0]] = self._pandas.DataFrame(columns, index=index)

    def run(self, files: list[Path]) -> tuple[int, Any]:
        if files[0] not in self._frames:
            self.before(files)
        frame = self._frames[files[0]]
        return len(frame), self._decoder.decode_frame(frame)

    def counts(self, result: tuple[int, Any]) -> Counts:
        n_frames, decoded = result
        return Counts(n_frames, int(decoded["Physical Value"].notna().sum()))


class PlainLoop:
    """`plain_loop.c`: candump text to columns, a byte at a time, compiled with -O2."""

    def __init__(self, dbc: Path) -> None:
        from pm.canbus.dbc import load_dbc

        compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        if compiler is None:
            raise NotInstalledError("plain C loop: no C compiler (cc, gcc or clang) on the path")
        self._folder = tempfile.TemporaryDirectory()
        self._program = Path(self._folder.name) / "plain_loop"
        flags = ["-std=c11", "-D_POSIX_C_SOURCE=200809L", "-O2"]
        subprocess.run([compiler, *flags, "-o", str(self._program), str(PLAIN_LOOP)], check=True)
        self._table = Path(self._folder.name) / "table.txt"
        self._table.write_text(_table(load_dbc([dbc])), encoding="ascii")

    def run(self, files: list[Path]) -> dict[str, Any]:
        done = subprocess.run(
            [str(self._program), str(self._table), str(files[0])], capture_output=True, text=True, check=True
        )
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def counts(self, result: dict[str, Any]) -> Counts:
        peak_bytes = 1024 * result["peak_kilobytes"]
        return Counts(result["frames"], result["values"], result["seconds"], peak_bytes)


def _table(database: Any) -> str:
    """The messages as `plain_loop.c` wants them; signals that no frame of eight bytes holds are left out."""
    lines = []
    for message in database.messages:
        signals = [s for s in message.signals if s.start + s.length <= _MEASURED_BITS]
        if any(s.byte_order != "little_endian" or s.is_signed or s.is_float or s.multiplexer_signal for s in signals):
            raise ValueError(f"message {message.name}: expected unsigned Intel signals, but got others")
        if message.pgn is None:
            raise ValueError(f"message {message.name}: expected a J1939 message, but got another")
        lines.append(f"{message.pgn} {len(signals)}")
        lines += [f"{s.start} {s.length} {int(s.is_masked)} {s.scale!r} {s.offset!r}" for s in signals]
    return "\n".join(lines) + "\n"
