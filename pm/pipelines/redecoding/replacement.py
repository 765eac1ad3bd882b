"""Spool -> database: the rows of some logs, replaced in one transaction.

What belongs here: what happens between taking the old rows out and having the new ones in.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime

import polars as pl

from pm.canbus.dbc import MessagePlan, SignalDatabase
from pm.canbus.decode import DECODER_VERSION
from pm.errors import DataError
from pm.pipelines.redecoding.log import SpooledLog, log_signals_file
from pm.pipelines.redecoding.spool import read_spool
from pm.pipelines.sifting import rejected_json
from pm.progress import Track
from pm.store import faults, log_signals, logs, redecoding, telemetry, vehicles
from pm.store.connection import Connection
from pm.tables import FAULT


@dataclass(frozen=True)
class Replacement:
    """What was replaced by what."""

    n_files: int
    n_deleted: int
    n_rows: int
    n_faults: int
    n_days: int
    lost_messages: tuple[str, ...]
    """Messages that had rows and have none now."""


def plans_of(spooled: Iterable[SpooledLog], database: SignalDatabase) -> dict[str, MessagePlan]:
    """What is stored of each message that the spooled logs have rows of: its plan, without what sifting left out."""
    columns: set[tuple[str, str]] = set()
    for log in spooled:
        columns |= set(pl.read_ipc(log_signals_file(log.path)).select("message", "signal").iter_rows())
    return {plan.name: kept for plan in database.messages if (kept := _stored_part(plan, columns)) is not None}


def _stored_part(plan: MessagePlan, columns: set[tuple[str, str]]) -> MessagePlan | None:
    kept = tuple(signal for signal in plan.signals if (plan.name, signal.column) in columns)
    return None if not kept else plan if len(kept) == len(plan.signals) else replace(plan, signals=kept)


def replace_rows(
    conn: Connection,
    files: pl.DataFrame,
    spooled: Sequence[SpooledLog],
    plans: Mapping[str, MessagePlan],
    *,
    dbc_sha256: Sequence[str],
    sample_period_s: float,
    redecoded_at: datetime,
    drop_messages: bool,
    track: Track,
) -> Replacement:
    """Inside the caller's transaction: take out what is stored of `files` (LOG_FILE), write what is spooled of them.

    Args:
        spooled: the same files, in the order of precedence; so rows rarely meet a stored one.

    Raises:
        DataError: a message had rows and would have none, and `drop_messages` is not set.
    """
    deleted = redecoding.delete_rows(conn, files)
    left = {message for log in spooled for message in log.n_rows}
    left |= {redecoding.FAULTS} if any(log.n_faults for log in spooled) else set()
    lost = tuple(sorted(set(deleted.by_message) - left))
    if lost and not drop_messages:
        raise DataError(lost_sentence(lost))
    n_rows = Counter[str]()
    for log in track(spooled, "replace rows", len(spooled)):
        n_rows.update(_write(conn, log, plans))
        _finish(conn, log, dbc_sha256, sample_period_s, redecoded_at)
    days = deleted.days | {(log.log.vehicle_id, day) for log in spooled for day in log.days}
    _mark_dirty(conn, days)
    return Replacement(len(spooled), deleted.by_message.total(), n_rows["signals"], n_rows["faults"], len(days), lost)


def lost_sentence(lost: Sequence[str]) -> str:
    """Why redecoding is refused where messages would lose all their rows."""
    return f"redecode: expected DBC files that give rows of each stored message, but got none of {list(lost)}"


def _write(conn: Connection, spooled: SpooledLog, plans: Mapping[str, MessagePlan]) -> dict[str, int]:
    log, n_rows, n_faults = spooled.log, 0, 0
    ids = {"vehicle_id": pl.lit(log.vehicle_id, pl.Int32()), "log_file_id": pl.lit(log.log_file_id, pl.Int64())}
    for part in read_spool(spooled.path, plans):
        if isinstance(part, pl.DataFrame):
            n_faults += faults.insert_faults(conn, FAULT.check(part.with_columns(**ids), unique=False))
        else:
            n_rows += telemetry.insert_decoded(conn, part, vehicle_id=log.vehicle_id, log_file_id=log.log_file_id)
    log_signals.insert_log_signals(conn, pl.read_ipc(log_signals_file(spooled.path)))
    return {"signals": n_rows, "faults": n_faults}


def _finish(
    conn: Connection, spooled: SpooledLog, dbc_sha256: Sequence[str], sample_period_s: float, redecoded_at: datetime
) -> None:
    log = spooled.log
    n_others = vehicles.note_vins(conn, log.vehicle_id, spooled.vins, known_at=log.known_at)
    redecoding.finish(
        conn,
        log.log_file_id,
        first_at=spooled.first_at,
        last_at=spooled.last_at,
        n_frames=spooled.n_frames,
        n_decoded=spooled.n_decoded,
        rejected_json=rejected_json(spooled.rejected, n_vins_of_others=n_others),
        dbc_sha256=dbc_sha256,
        decoder_version=DECODER_VERSION,
        sample_period_s=sample_period_s,
        redecoded_at=redecoded_at,
    )


def _mark_dirty(conn: Connection, days: Iterable[tuple[int, date]]) -> None:
    by_vehicle: dict[int, set[date]] = {}
    for vehicle_id, day in days:
        by_vehicle.setdefault(vehicle_id, set()).add(day)
    for vehicle_id, mine in sorted(by_vehicle.items()):
        logs.mark_dirty(conn, vehicle_id, mine)
