"""`pm decode`: CAN logs to Parquet, without a database.

What belongs here: reading logs and DBC files, writing the decoded columns as Parquet files and a
report, all or nothing. The decoding itself is `pm.canbus`; into the database it goes by
`pm.pipelines.ingest`.
"""

import json
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from pm.canbus.columns import MESSAGE_SCHEMA
from pm.canbus.dbc import SignalDatabase, load_dbc
from pm.canbus.decode import DECODER_VERSION, DecodedBatch, DecodeReport, LogDecoder
from pm.canbus.faults import DEFAULT_OLD_CONVERSION, FAULT_SCHEMA
from pm.canbus.logfile import LogFile, open_log
from pm.canbus.parquet_file import ParquetFile
from pm.canbus.staging import MOST_ROWS
from pm.errors import DataError
from pm.progress import Track, silent

PRODUCER: Final = "pm decode"
SIGNALS_FOLDER: Final = "signals"
FAULTS_FILE, MESSAGES_FILE, REPORT_FILE = "faults.parquet", "messages.parquet", "report.json"
ROW_GROUP_ROWS: Final = MOST_ROWS
"""Rows of a message collected before they are written, so that rare messages make few row groups."""

_OUTPUT: Final = frozenset({SIGNALS_FOLDER, FAULTS_FILE, MESSAGES_FILE, REPORT_FILE})


@dataclass(frozen=True)
class FileSummary:
    """What became of one log."""

    file: str
    format: str
    seconds: float
    report: DecodeReport


@dataclass(frozen=True)
class DecodeSummary:
    """What `decode_to_parquet` wrote: `report.json` holds the same."""

    out: Path
    files: tuple[FileSummary, ...]
    n_frames: int
    n_decoded: int
    n_messages: int
    n_faults: int
    rejected: dict[str, int]
    seconds: float
    rows: dict[str, int]
    """Rows written by DBC message."""
    clashes: tuple[str, ...]
    """DBC messages left out because an earlier file declares the same."""


def decode_to_parquet(
    files: Sequence[Path],
    dbc: Sequence[Path],
    out: Path,
    *,
    start: datetime | None = None,
    old_conversion_method: int = DEFAULT_OLD_CONVERSION,
    track: Track = silent,
) -> DecodeSummary:
    """Decode every frame of `files`, in their order, into the folder `out`.

    Writes `signals/<MESSAGE>.parquet`, `faults.parquet`, `messages.parquet` and `report.json`. `out`
    appears whole or not at all; an earlier output there is replaced. `start` is the instant of time
    zero for logs with relative times (`pm.canbus.logfile.open_log`); `old_conversion_method` is how trouble
    codes with the old conversion bit are read (`pm.canbus.faults`).

    Raises:
        ConfigError: a DBC file cannot be used, or none is given.
        DataError: no log is given, a log cannot be read, or `out` holds something else.
    """
    began = time.perf_counter()
    _check_target(out)
    if not files:
        raise DataError("logs: expected at least one file, but got none")
    database = load_dbc(dbc)
    logs = [open_log(path, start=start) for path in files]
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as folder:
            made = Path(folder) / "made"
            written, rows = _write_all(
                logs, LogDecoder(database, old_conversion_method=old_conversion_method, keeps_codes=True), made, track
            )
            summary = _summarise(written, database, out, rows, seconds=time.perf_counter() - began)
            content = json.dumps(_report_content(summary, database), indent=2, default=_instant_text)
            (made / REPORT_FILE).write_text(content + "\n", encoding="utf-8")
            _put_in_place(made, out, Path(folder) / "replaced")
    except OSError as reason:
        raise DataError(f"output {out}: expected a folder to write to, but got: {reason.strerror}") from None
    return summary


def _check_target(out: Path) -> None:
    if not out.exists() and not out.is_symlink():
        return
    if out.is_symlink() or not out.is_dir():
        raise DataError(f"output {out}: expected a folder or nothing, but got a file")
    there = {entry.name for entry in out.iterdir()}
    if there and not _is_earlier_output(out, there):
        raise DataError(f"output {out}: expected an empty folder or an earlier output, but got {sorted(there)[:5]}")


def _is_earlier_output(out: Path, there: set[str]) -> bool:
    if not there <= _OUTPUT or REPORT_FILE not in there:
        return False
    try:
        content = json.loads((out / REPORT_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("producer") == PRODUCER


def _put_in_place(made: Path, out: Path, aside: Path) -> None:
    if out.exists():
        out.rename(aside)
    try:
        made.rename(out)
    except OSError:
        if aside.exists():
            aside.rename(out)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _write_all(
    logs: list[LogFile], decoder: LogDecoder, made: Path, track: Track
) -> tuple[list[FileSummary], dict[str, int]]:
    """Write the Parquet files; (what became of each log, rows by message)."""
    (made / SIGNALS_FOLDER).mkdir(parents=True)
    files: list[FileSummary] = []
    with _Output(made) as output:
        for log in track(logs, "decode logs", len(logs)):
            log_began = time.perf_counter()
            for batch in decoder.batches(log):
                output.add(batch)
            files.append(FileSummary(str(log.path), log.format, time.perf_counter() - log_began, decoder.report))
        output.finish()
    return files, output.rows


def _summarise(
    files: list[FileSummary], database: SignalDatabase, out: Path, rows: dict[str, int], *, seconds: float
) -> DecodeSummary:
    reports = [file.report for file in files]
    return DecodeSummary(
        out=out,
        files=tuple(files),
        n_frames=sum(report.n_frames for report in reports),
        n_decoded=sum(report.n_decoded for report in reports),
        n_messages=sum(report.n_messages for report in reports),
        n_faults=sum(report.n_faults for report in reports),
        rejected=dict(sum((Counter(report.rejected) for report in reports), Counter())),
        seconds=seconds,
        rows=rows,
        clashes=database.clashes,
    )


def _report_content(summary: DecodeSummary, database: SignalDatabase) -> dict[str, Any]:
    return {
        "producer": PRODUCER,
        "decoder_version": DECODER_VERSION,
        "frames": summary.n_frames,
        "decoded": summary.n_decoded,
        "rejected": summary.rejected,
        "seconds": round(summary.seconds, 3),
        "messages": summary.n_messages,
        "faults": summary.n_faults,
        "rows": summary.rows,
        "dbc_sha256": database.sha256,
        "dbc_clashes": summary.clashes,
        "files": [_file_content(file) for file in summary.files],
    }


def _file_content(file: FileSummary) -> dict[str, Any]:
    report = asdict(file.report)
    return {
        "file": file.file,
        "format": file.format,
        "frames": report.pop("n_frames"),
        "decoded": report.pop("n_decoded"),
        "rejected": report.pop("rejected"),
        "seconds": round(file.seconds, 3),
        "first_at": report.pop("first_at"),
        "last_at": report.pop("last_at"),
        "backward_steps": report.pop("n_backward"),
        "transport": {
            "frames": report.pop("n_transport"),
            "messages": report.pop("n_messages"),
            "failures": report.pop("transport_failures"),
        },
        "faults": report.pop("n_faults"),
        "nulls": report.pop("nulls"),
    }


def _instant_text(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"no JSON form for {type(value).__name__}")


class _Output:
    """The Parquet files of one run, written a row group at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._signals: dict[str, ParquetFile] = {}
        self._others: dict[str, pq.ParquetWriter] = {}

    @property
    def rows(self) -> dict[str, int]:
        """Rows by message, once `finish` has been called."""
        return {name: file.n_rows for name, file in self._signals.items()}

    def __enter__(self) -> "_Output":
        return self

    def __exit__(self, *_: object) -> None:
        for writer in self._others.values():
            writer.close()
        for file in self._signals.values():
            file.release()

    def add(self, batch: DecodedBatch) -> None:
        for message in batch.decoded:
            name = message.plan.name
            if name not in self._signals:
                path = self._folder / SIGNALS_FOLDER / f"{name}.parquet"
                self._signals[name] = ParquetFile(path, message.plan, ROW_GROUP_ROWS)
            self._signals[name].add(message)
        for file, frame in ((FAULTS_FILE, batch.faults), (MESSAGES_FILE, batch.messages)):
            if frame.height:
                self._write(file, frame)

    def finish(self) -> None:
        """Write what waits, and the two files that are always there."""
        for file in self._signals.values():
            file.close()
        for name, schema in ((FAULTS_FILE, FAULT_SCHEMA), (MESSAGES_FILE, MESSAGE_SCHEMA)):
            if name not in self._others:
                self._write(name, pl.DataFrame(schema=schema))

    def _write(self, file: str, frame: pl.DataFrame) -> None:
        table = _plain_strings(frame.to_arrow())
        if file not in self._others:
            self._others[file] = pq.ParquetWriter(
                self._folder / file,
                table.schema,
                compression="zstd",
                use_dictionary=["channel"],
                memory_pool=pa.system_memory_pool(),  # Arrow's own keeps what it has had
            )
        self._others[file].write_table(table)


def _plain_strings(table: pa.Table) -> pa.Table:
    """Arrow's plain string and binary types, which every reader of Parquet knows."""
    plain = {pa.string_view(): pa.string(), pa.large_string(): pa.string(), pa.large_binary(): pa.binary()}
    plain[pa.binary_view()] = pa.binary()
    return table.cast(pa.schema([field.with_type(plain.get(field.type, field.type)) for field in table.schema]))
