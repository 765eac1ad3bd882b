"""What `make bench-simulate` measures: physical values in, a log file out, by the product and by others.

What belongs here: the values, made once before the clock starts, and the jobs. cantools gets its values
as dictionaries of Python floats, ready made, which is what it takes. Time is the process's on the
processor, user and system, for all alike: the figures are frames a second and core.
"""

import time
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.job import Counts

SEED: Final = 20_260_105
STEP_US: Final = 450
"""About the frame rate of a busy J1939 bus."""
START_US: Final = 1_767_571_200_000_000
SOURCE: Final = 0x00

Done = tuple[int, float]
"""Frames, and seconds on the processor."""


class _Values:
    """Values of every signal of single-frame messages of a DBC file, a column a signal, messages in turn."""

    def __init__(self, dbc: Path, n_frames: int) -> None:
        from pm.canbus.dbc import load_dbc
        from pm.simulate.encode import valid_maximum

        generator = np.random.default_rng(SEED)
        self.database = load_dbc([dbc])
        self.names = ("EEC1", "CCVS1", "ET1", "EFL_P1", "IC1", "AMB", "VEP1", "AIR1", "LFE1", "HOURS", "VDHR", "VD")
        self.time_us = {}
        self.columns: dict[str, dict[str, Any]] = {}
        for place, name in enumerate(self.names):
            numbers = np.arange(place, n_frames, len(self.names))
            self.time_us[name] = START_US + STEP_US * numbers
            self.columns[name] = {
                signal.name: signal.offset
                + signal.scale * generator.uniform(0, valid_maximum(signal.length), len(numbers))
                for signal in self.database.message(name).signals
            }
        self.n_values = sum(column.size for columns in self.columns.values() for column in columns.values())
        self.n_frames = n_frames


class Product:
    """The product's encoder and writer."""

    def __init__(self, dbc: Path, *, format: str, n_frames: int) -> None:
        from pm.simulate.encode import encode, join
        from pm.simulate.formats import FORMATS

        self._values = _Values(dbc, n_frames)
        self._encode, self._join, self._write = encode, join, FORMATS[format].write

    def run(self, files: list[Path]) -> Done:
        began, values = time.process_time(), self._values
        parts = [
            self._encode(values.database.message(name), SOURCE, values.time_us[name], values.columns[name])
            for name in values.names
        ]
        frames = self._join(parts)
        files[0].write_bytes(self._write(frames, np.zeros(len(frames), np.uint8)))
        return len(frames), time.process_time() - began

    def counts(self, result: Done) -> Counts:
        return Counts(result[0], self._values.n_values, result[1])


class Others:
    """cantools' encoder and python-can's writer, frame by frame."""

    def __init__(self, dbc: Path, *, format: str, n_frames: int) -> None:
        import can
        import cantools

        values = _Values(dbc, n_frames)
        database = cantools.database.load_file(dbc, strict=False)
        writers = {"candump": can.CanutilsLogWriter, "blf": can.BLFWriter, "mf4": can.MF4Writer}
        self._message, self._writer, self._n_values = can.Message, writers[format], values.n_values
        rows = []
        for name in values.names:
            layout, names = database.get_message_by_name(name), list(values.columns[name])
            columns = [values.columns[name][signal].tolist() for signal in names]
            given = [dict(zip(names, cells, strict=True)) for cells in zip(*columns, strict=True)]
            can_id = layout.frame_id & 0x1FFFFF00 | SOURCE
            times = (values.time_us[name] / 1e6).tolist()
            rows += [(time_s, can_id, layout, cells) for time_s, cells in zip(times, given, strict=True)]
        self._rows = sorted(rows, key=lambda row: row[0])

    def run(self, files: list[Path]) -> Done:
        began = time.process_time()
        with self._writer(files[0]) as writer:
            for time_s, can_id, layout, cells in self._rows:
                data = layout.encode(cells, strict=False)
                writer(self._message(timestamp=time_s, arbitration_id=can_id, data=data, channel=0))
        return len(self._rows), time.process_time() - began

    def counts(self, result: Done) -> Counts:
        return Counts(result[0], self._n_values, result[1])


class Truck:
    """Whole trucks: driving, wear, signals, orders and files, of which encoding is a part."""

    def __init__(self, dbc: Path, *, n_vehicles: int, n_days: int) -> None:
        self._dbc, self._size = dbc, {"n_vehicles": n_vehicles, "n_days": n_days}

    def run(self, files: list[Path]) -> Done:
        from pm.simulate import FleetConfig, simulate

        began, every_dbc = time.process_time(), sorted(self._dbc.parent.glob("*.dbc"))
        report = simulate(FleetConfig(**self._size), files[0].with_suffix(".fleet"), dbc=every_dbc, replace=True)
        return report.n_frames, time.process_time() - began

    def counts(self, result: Done) -> Counts:
        return Counts(result[0], seconds=result[1])
