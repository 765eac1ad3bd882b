"""One rFMS response -> vehicles, telemetry, events and manifest, in one transaction.

What belongs here: which of a response's records are new, and the tally of a run. A record that is stored
already (vehicle, createdDateTime and trigger; its trigger is an event) is left out before anything is
written, so that polls may overlap and a response without news leaves no trace.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import polars as pl

from pm.pipelines.imports.rows import import_decoded
from pm.pipelines.imports.times import time_limits
from pm.pipelines.rfms.fleet import Fleet, known_since, place, read_vehicles
from pm.pipelines.rfms.mapping import RfmsMapping
from pm.pipelines.rfms.response import VEHICLES, RfmsResponse
from pm.pipelines.rfms.rows import decoded_rows
from pm.pipelines.rfms.statuses import TRIGGER, Rules, Status, Statuses, count_left_out, read_statuses
from pm.pipelines.sifting import private_id
from pm.policy import Policy
from pm.schema import UTC_INSTANT
from pm.store import logs, polls, telemetry
from pm.store.connection import Connection, transaction
from pm.store.imports import KEPT_REJECTED, ImportedFile, RejectedRow

FORMAT: Final = "rfms"
KIND: Final = "telemetry"
SHOWN_REJECTED: Final = 50


@dataclass(frozen=True)
class RefusedFile:
    """A saved response that could not be used, and why."""

    file_name: str
    reason: str
    exit_code: int


@dataclass(frozen=True)
class RfmsReport:
    """What came of a run."""

    n_responses: int
    n_vehicles: int
    n_vehicles_new: int
    n_unusual_vins: int
    """VINs that have not the form of ISO 3779; they were taken all the same."""
    n_records: int
    n_new: int
    """Records that were not stored before."""
    n_rejected: int
    n_rows: int
    """Rows of telemetry and events stored."""
    counter_falls: Mapping[str, int]
    """How often a counter fell from one record to the next, by signal; features take it as a reset."""
    left_out: Mapping[str, int]
    """Values and tell-tales of new records that were not taken, by reason."""
    rejected: tuple[RejectedRow, ...]
    """The first records that were refused."""
    refused: tuple[RefusedFile, ...] = ()
    next_start: datetime | None = None
    """Where the next poll begins, by the server's clock."""


@dataclass(frozen=True)
class RfmsImport:
    """What a run imports with."""

    mapping: RfmsMapping
    policy: Policy
    fleet: Fleet
    secret: bytes | None = None
    """Keys the hashes of driver ids, where the policy keeps them so; without one they are dropped."""


@dataclass
class Tally:
    """Counts of a run, and the last reading of each counter."""

    n_responses: int = 0
    n_records: int = 0
    n_new: int = 0
    n_rejected: int = 0
    n_rows: int = 0
    falls: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    rejected: list[RejectedRow] = field(default_factory=list)
    readings: dict[tuple[str, str], tuple[datetime, float]] = field(default_factory=dict)

    def refuse(self, rejected: list[RejectedRow]) -> None:
        self.n_rejected += len(rejected)
        self.rejected += rejected[: SHOWN_REJECTED - len(self.rejected)]

    def note_falls(self, row: Status, *, is_new: bool) -> None:
        for name, value in row.counters.items():
            at, before = self.readings.get((row.vin, name), (row.created_at, value))
            if row.created_at >= at:
                self.falls[name] += is_new and value < before
                self.readings[row.vin, name] = (row.created_at, value)

    def report(
        self, fleet: Fleet, refused: tuple[RefusedFile, ...] = (), next_start: datetime | None = None
    ) -> RfmsReport:
        return RfmsReport(
            self.n_responses,
            len(fleet.ids),
            fleet.n_added,
            fleet.n_unusual_vins,
            self.n_records,
            self.n_new,
            self.n_rejected,
            self.n_rows,
            dict(+self.falls),
            dict(+self.left_out),
            tuple(self.rejected),
            refused,
            next_start,
        )


def store_response(
    conn: Connection,
    response: RfmsResponse,
    content: bytes,
    using: RfmsImport,
    tally: Tally,
    *,
    file_name: str,
    in_hand_at: datetime,
) -> None:
    """Store what is new in a response, whose bytes are `content`; committed whole or not at all.

    Args:
        file_name: for the manifest; holds no VIN.
        in_hand_at: when the response was there: nothing in it became known later.

    Raises:
        ConfigError: a stored signal has another type than the mapping's.
        StoreError: the database could not do it.
    """
    tally.n_responses += 1
    with transaction(conn):
        logs.hold_all(conn)
        if response.kind == VEHICLES:
            found, rejected = read_vehicles(response.records)
            place(conn, using.fleet, [(vehicle, in_hand_at) for vehicle in found])
            tally.refuse(rejected)
            return
        statuses = read_statuses(
            response.records, using.mapping, _rules(conn, using, in_hand_at), _class_columns(conn, using)
        )
        new = _new(conn, statuses, using.fleet, tally)
        left_out = count_left_out(new)
        file = ImportedFile(
            hashlib.sha256(content).hexdigest(), KIND, using.mapping.sha256, file_name, FORMAT, len(content)
        )
        if new:
            stored = import_decoded(
                conn,
                file,
                (decoded_rows(new, statuses.plans, using.fleet.ids, using.mapping.channel),),
                imported_at=in_hand_at,
                n_rows=len(response.records),
                n_rejected=len(statuses.rejected),
                rejected=statuses.rejected[:KEPT_REJECTED],
                counts=left_out,
            )
            tally.n_rows += stored.n_stored
    tally.n_records += len(response.records)
    tally.n_new += len(new)
    tally.left_out += left_out
    tally.refuse(statuses.rejected)


def _rules(conn: Connection, using: RfmsImport, in_hand_at: datetime) -> Rules:
    secret, privacy = using.secret, using.policy.privacy
    hashes = privacy.driver_ids == "hash" and secret is not None
    return Rules(
        time_limits(conn, using.policy, imported_at=in_hand_at),
        positions=privacy.positions,
        driver_name=(lambda driver: private_id(driver, secret or b"")) if hashes else None,
    )


def _class_columns(conn: Connection, using: RfmsImport) -> frozenset[str]:
    """`message.signal` of the histogram columns that are stored."""
    prefixes = tuple(f"{classes.to}_" for classes in using.mapping.classes)
    words = telemetry.fetch_dictionary(conn).select(pl.concat_str("message", "signal", separator=".")).to_series()
    return frozenset(name for name in words if name.startswith(prefixes))


def _new(conn: Connection, statuses: Statuses, fleet: Fleet, tally: Tally) -> list[Status]:
    """The records that are not stored, each once; notes falls of counters, and refuses VINs of several vehicles."""
    heard: dict[str, datetime] = {}
    for row in statuses.rows:
        heard[row.vin] = min(row.known_at, heard.get(row.vin, row.known_at))
    place(conn, fleet, known_since(heard))
    placed = [row for row in statuses.rows if row.vin in fleet.ids]
    reason = "vin: expected one vehicle, but vehicles of several fleets have it"
    statuses.rejected += [RejectedRow(row.row_no, reason) for row in statuses.rows if row.vin not in fleet.ids]
    keys = [(fleet.ids[row.vin], row.created_at, row.trigger) for row in placed]
    schema = {"vehicle_id": pl.Int32(), "time": UTC_INSTANT, "code": pl.String()}
    met = set(polls.stored_events(conn, pl.DataFrame(keys, schema=schema, orient="row"), kind=TRIGGER).iter_rows())
    new = []
    for row, key in zip(placed, keys, strict=True):
        is_new = key not in met
        met.add(key)
        tally.note_falls(row, is_new=is_new)
        if is_new:
            new.append(row)
    return new
