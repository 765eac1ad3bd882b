"""Already-decoded rows -> telemetry, events, trouble codes and manifest, in the caller's transaction.

What belongs here: the one door that every import of telemetry and events goes through, whatever its file
looks like. Reading files by a mapping is `pm.pipelines.imports.telemetry` and `pm.pipelines.imports.events`.

`pm.log_file` says for whole files when their rows became known. The rows of one import may have become
known at many instants, so each (vehicle, knowledge day) is a *part*, a log_file row of its own. A knowledge
day ends with midnight UTC and has it in itself, so that an as-of at midnight sees exactly the rows that were
known by then; in between, a row counts as known when the latest of its part was: later, never earlier.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import polars as pl

from pm.canbus.dbc import MessagePlan
from pm.errors import DataError
from pm.progress import Track, silent
from pm.schema import UTC_INSTANT
from pm.store import events, faults, imports, log_signals, logs, telemetry
from pm.store.connection import Connection
from pm.store.imports import ImportedFile, RejectedRow
from pm.tables import EVENT, FAULT, LOG_FILE, LOG_SIGNAL

__all__ = ["IMPORT_VERSION", "DecodedRows", "ImportedFile", "RejectedRow", "StoredRows", "import_decoded"]

IMPORT_VERSION: Final = "import-1"
"""`decoder_version` of imported files; goes up when the same file would give other rows."""

_CLOCKS: Final = ("vehicle_id", "time", "known_at")
_PART: Final = ("vehicle_id", "known day")
"""With a space, which no signal's name has."""
_PENDING_ROWS: Final = 2_000_000


@dataclass(frozen=True)
class DecodedRows:
    """Rows ready to be stored; every frame carries vehicle_id (Int32), time and known_at (UTC instants).

    The rows have passed `TimeLimits.reason`, and hold neither VINs nor driver ids, nor positions unless the
    policy stores them.
    """

    telemetry: tuple[tuple[MessagePlan, pl.DataFrame], ...] = ()
    """A message and its rows: vehicle_id, time, known_at, channel (String, may be empty), source_address and
    destination_address (Int16, -1: none), then one Float64, Float32 or String column a signal of the plan,
    named `SignalPlan.column`. Rows without any value should be left out."""
    events: pl.DataFrame | None = None
    """EVENT without log_file_id, with known_at."""
    faults: pl.DataFrame | None = None
    """FAULT without log_file_id, with known_at."""


@dataclass(frozen=True)
class StoredRows:
    """What came of an import's rows."""

    n_offered: int
    """Rows of all tables together that were handed over, of vehicles that did not have this file's rows yet."""
    n_stored: int
    """Rows that were new and are stored; the others have the key of a row that was known before."""
    n_parts: int
    n_vehicles: int


@dataclass
class _Spans:
    """What the parts are made of, collected over the batches: a row a (vehicle, knowledge day)."""

    pending: list[pl.DataFrame] = field(default_factory=list)
    n_pending: int = 0

    def take(self, frame: pl.DataFrame) -> None:
        found = frame.group_by(_PART).agg(
            known_at=pl.col("known_at").max(),
            first_at=pl.col("time").min(),
            last_at=pl.col("time").max(),
            n_frames=pl.len().cast(pl.Int64),
        )
        self.pending.append(found)
        self.n_pending += found.height
        if self.n_pending > _PENDING_ROWS:
            self.pending = [self.merged()]
            self.n_pending = 0

    def merged(self) -> pl.DataFrame:
        if not self.pending:
            return pl.DataFrame()
        return (
            pl.concat(self.pending)
            .group_by(_PART)
            .agg(
                pl.col("known_at").max(),
                pl.col("first_at").min(),
                pl.col("last_at").max(),
                pl.col("n_frames").sum(),
            )
            .sort(_PART)
        )


def import_decoded(
    conn: Connection,
    file: ImportedFile,
    batches: Iterable[DecodedRows],
    *,
    imported_at: datetime,
    n_rows: int,
    n_rejected: int = 0,
    rejected: Sequence[RejectedRow] = (),
    counts: Mapping[str, int] | None = None,
    track: Track = silent,
    n_batches: int = 1,
) -> StoredRows:
    """Store the rows of one import with its parts, signal statistics, dirty days and manifest, exactly once.

    Call it inside a transaction; what it does is committed or rolled back with that. It holds all vehicles
    (`logs.hold_all`) until then.

    Args:
        file: what is imported. The same file, kind and mapping again stores only rows of vehicles of which
            it has stored none yet (their rows were refused before they were known here); nothing else
            changes then, the manifest neither.
        batches: gone through twice, so no iterator: a tuple, or something that reads its rows anew.
        imported_at: the import's instant, for the manifest.
        n_rows: rows that the file has, refused ones included.
        n_rejected: how many of them were refused.
        rejected: the first of those, as they are to be stored and shown (at most `imports.KEPT_REJECTED`).
        counts: values (not rows) that were not used, by reason, for `log_file.rejected_json` of the first part.
        n_batches: how many there are, for `track`.

    Of rows with one key the one that became known first stays, see `telemetry.insert_rows`. Days of
    telemetry and trouble codes are marked dirty; nothing is computed from `pm.event` by day.

    Raises:
        DataError: the connection is not in a transaction, or a frame lacks a column or has another type.
        StoreError: the database could not do it.
    """
    logs.hold_all(conn)
    # Since its last row of this file was stored, nothing of a vehicle's rows in it can have changed.
    done = imports.vehicles_with_parts(conn, file)
    spans, statistics = _Spans(), _Statistics()
    for batch in batches:
        for plan, frame in _keyed(batch, done):
            spans.take(frame)
            if plan is not None:
                statistics.take(plan, frame)
    parts = spans.merged()
    if parts.height == 0:
        imports.record(
            conn, file, imported_at=imported_at, n_rows=n_rows, n_stored=0, n_rejected=n_rejected, rejected=rejected
        )
        return StoredRows(0, 0, 0, 0)
    placed = _claim(conn, file, parts, counts or {})
    log_signals.insert_log_signals(conn, statistics.log_signals(int(placed["log_file_id"][0])))
    n_stored = 0
    days: list[pl.DataFrame] = []
    for batch in track(batches, "rows", n_batches):
        n_stored += _write(conn, batch, done, placed, days)
    if days:
        imports.mark_days_dirty(conn, pl.concat(days).unique())
    imports.record(
        conn, file, imported_at=imported_at, n_rows=n_rows, n_stored=n_stored, n_rejected=n_rejected, rejected=rejected
    )
    return StoredRows(int(parts["n_frames"].sum()), n_stored, parts.height, parts["vehicle_id"].n_unique())


def _keyed(batch: DecodedRows, done: pl.Series) -> Iterator[tuple[MessagePlan | None, pl.DataFrame]]:
    """The frames of a batch with their knowledge day, without rows of the vehicles in `done`."""
    others = ((None, frame) for frame in (batch.events, batch.faults) if frame is not None)
    for plan, frame in (*batch.telemetry, *others):
        absent = [name for name in _CLOCKS if name not in frame.columns]
        if absent:
            raise DataError(f"import: expected columns {absent} in every frame, but got {frame.columns}")
        # One microsecond earlier: midnight belongs to the day that it ends.
        day = (pl.col("known_at") - pl.duration(microseconds=1)).dt.date()
        kept = frame.filter(~pl.col("vehicle_id").is_in(done.implode())) if len(done) else frame
        if kept.height:
            yield plan, kept.with_columns(day.alias(_PART[1]))


def _claim(conn: Connection, file: ImportedFile, spans: pl.DataFrame, counts: Mapping[str, int]) -> pl.DataFrame:
    """vehicle_id, knowledge day and log_file_id of each part, the first part first."""
    first = imports.last_part(conn, file.sha256) + 1  # 0 is a log
    parts = spans.with_columns(
        part=pl.int_range(first, first + spans.height, dtype=pl.Int32),
        sha256=pl.lit(file.sha256),
        file_name=pl.lit(file.file_name),
        format=pl.lit(file.format),
        n_decoded=pl.col("n_frames"),
        rejected_json=pl.lit("{}"),
        dbc_sha256=pl.concat_list(pl.lit(file.mapping_sha256)),
        decoder_version=pl.lit(IMPORT_VERSION),
        size_bytes=pl.lit(file.size_bytes, pl.Int64()),
        starts_at=pl.lit(None, UTC_INSTANT),
        sample_period_s=pl.lit(None, pl.Float64()),
        redecoded_at=pl.lit(None, UTC_INSTANT),
    ).with_columns(
        rejected_json=pl.when(pl.col("part") == first)
        .then(pl.lit(json.dumps(dict(counts), sort_keys=True)))
        .otherwise("rejected_json")
    )
    made = ("log_file_id", "ingested_at")
    claimed = logs.claim_parts(conn, parts.select(name for name in LOG_FILE.column_names if name not in made))
    placed = parts.select(*_PART, "part").join(claimed, on=["vehicle_id", "part"]).sort("part")
    if placed.height != parts.height:
        raise DataError(f"import: expected {parts.height} new parts, but got {placed.height}")
    return placed.select(*_PART, "log_file_id")


def _write(
    conn: Connection, batch: DecodedRows, done: pl.Series, placed: pl.DataFrame, days: list[pl.DataFrame]
) -> int:
    n_stored = 0
    for plan, frame in _keyed(batch, done):
        rows = frame.join(placed, on=_PART, how="left").drop(_PART[1], "known_at")
        if plan is not None:
            n_stored += telemetry.insert_rows(conn, plan, rows)
        elif "spn" in rows.columns:
            n_stored += faults.insert_faults(conn, rows.select(FAULT.column_names))
        else:
            n_stored += events.insert_events(conn, rows.select(EVENT.column_names))
        if plan is not None or "spn" in rows.columns:
            days.append(rows.select("vehicle_id", day=pl.col("time").dt.date()).unique())
    return n_stored


@dataclass
class _Statistics:
    """How much the file holds of each signal, collected over the batches."""

    pending: list[pl.DataFrame] = field(default_factory=list)

    def take(self, plan: MessagePlan, frame: pl.DataFrame) -> None:
        for signal in plan.signals:
            there = frame.filter(pl.col(signal.column).is_not_null())["time"]
            found = {
                "message": plan.name,
                "signal": signal.column,
                "n_rows": frame.height,
                "n_values": len(there),
                "first_at": there.min(),
                "last_at": there.max(),
            }
            schema = {name: dtype for name, dtype in LOG_SIGNAL.schema.items() if name != "log_file_id"}
            self.pending.append(pl.DataFrame([found], schema=schema))

    def log_signals(self, log_file_id: int) -> pl.DataFrame:
        if not self.pending:
            return LOG_SIGNAL.empty()
        merged = (
            pl.concat(self.pending)
            .group_by("message", "signal")
            .agg(pl.col("n_rows", "n_values").sum(), pl.col("first_at").min(), pl.col("last_at").max())
        )
        return LOG_SIGNAL.check(merged.with_columns(log_file_id=pl.lit(log_file_id, pl.Int64())))
