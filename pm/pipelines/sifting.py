"""What of a decoded log is stored: possible times, no trouble code over and over, nothing that tells of a person.

What belongs here: rows and columns that are taken out between decoding and the store, each with a
count, and the counts a file leaves of each signal. Ingest and redecoding sift alike.
"""

import hashlib
import hmac
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pm.asof import midnight
from pm.canbus.columns import DecodedMessage, valid_rows
from pm.canbus.dbc import MessagePlan, SignalPlan
from pm.canbus.decode import DecodedBatch
from pm.canbus.extract import Column
from pm.canbus.fault_repeats import FaultRepeats
from pm.policy import Policy
from pm.tables import LOG_SIGNAL

VIN_SPN: Final = 237
"""J1939-71: the vehicle identification number. It goes into `vehicle_identity` and nowhere else."""
DRIVER_SPNS: Final = frozenset({1625, 1626})
"""J1939-71: identification of driver 1 and driver 2, from their cards."""
POSITION_SPNS: Final = frozenset({584, 585})
"""J1939-71: latitude and longitude."""

_POSITION_NAME: Final = re.compile(r"latitude|longitude", re.IGNORECASE)
_DRIVER_NAME: Final = re.compile(r"driver_?\d?_?(card_?)?id(entification)?(_?(code|number))?$", re.IGNORECASE)
_VIN_LIKE: Final = re.compile(
    r"(?<![A-Z0-9])(?=(?:[0-9]*[A-Z]){2})(?=(?:[A-Z]*[0-9]){5})[A-Z0-9]{17}(?![A-Z0-9])", re.I
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_US: Final = 86_400_000_000

BEFORE_FLOOR: Final = "time_before_floor"
BEFORE_RETENTION: Final = "time_before_retention"
AFTER_KNOWN: Final = "time_after_known"
VIN_OF_ANOTHER: Final = "vin_of_another_vehicle"

Instants = NDArray[np.int64]


def without_vin(name: str) -> str:
    """A file's name with `VIN` in place of what looks like one: loggers like to name files so."""
    return _VIN_LIKE.sub("VIN", name)


def rejected_json(rejected: Mapping[str, int], *, n_vins_of_others: int) -> str:
    """What the manifest says of all that a log holds and that is not stored: counts by reason."""
    vins = {VIN_OF_ANOTHER: n_vins_of_others} if n_vins_of_others else {}
    return json.dumps({**rejected, **vins}, sort_keys=True)


def private_id(text: str, secret: bytes) -> str:
    """A name for a driver that tells drivers apart and, without this installation's secret, nothing else.

    The first 16 hex digits of HMAC-SHA-256 (RFC 2104).
    """
    return hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()[:16]


def is_position(signal: SignalPlan) -> bool:
    """Whether a signal says where the vehicle is."""
    return signal.spn in POSITION_SPNS or bool(_POSITION_NAME.search(signal.name))


def is_driver_id(signal: SignalPlan) -> bool:
    """Whether a signal says who drives."""
    return signal.spn in DRIVER_SPNS or bool(_DRIVER_NAME.search(signal.name))


@dataclass
class _Seen:
    """How much of one signal a file held."""

    n_rows: int = 0
    n_values: int = 0
    first_us: int | None = None
    last_us: int | None = None

    def add(self, n_rows: int, n_values: int, first_us: int, last_us: int) -> None:
        self.n_rows += n_rows
        if n_values:
            self.n_values += n_values
            self.first_us = first_us if self.first_us is None else min(self.first_us, first_us)
            self.last_us = last_us if self.last_us is None else max(self.last_us, last_us)


class Sifter:
    """Sifts the batches of one file."""

    def __init__(
        self, policy: Policy, *, known_at: datetime, not_before: datetime | None = None, secret: bytes | None = None
    ) -> None:
        """`not_before`: telemetry from before it was dropped for its age (`pm.store.logs.dropped_before`).
        `secret` keys the hashes of driver ids, where the policy keeps them so; without one they are dropped."""
        self._privacy, self._secret = policy.privacy, secret
        floor, kept_from = _us(midnight(policy.telemetry.floor)), _us(not_before) if not_before else None
        self._first_us = max(floor, kept_from) if kept_from is not None else floor
        self._floor_us = floor
        self._last_us = _us(known_at + timedelta(seconds=policy.telemetry.future_tolerance_s))
        # Whoever keeps every frame keeps every report.
        self._repeats = FaultRepeats(policy.telemetry.fault_period_s if policy.telemetry.sample_period_s else 0.0)
        self._plans: dict[int, tuple[MessagePlan, MessagePlan]] = {}
        self._seen: dict[tuple[str, str], _Seen] = {}
        self._days: set[int] = set()
        self.rejected: Counter[str] = Counter()
        """Rows that were decoded and not taken, by reason."""
        self.vins: set[str] = set()
        """Vehicle identification numbers that the log carries."""

    @property
    def days(self) -> tuple[date, ...]:
        """UTC days of the rows that were taken, in order."""
        return tuple((_EPOCH + timedelta(days=day)).date() for day in sorted(self._days))

    def take(self, batch: DecodedBatch) -> tuple[tuple[DecodedMessage, ...], pl.DataFrame]:
        """Messages and trouble codes of a batch that may be stored."""
        taken = tuple(self._public(self._possible(message)) for message in batch.decoded)
        for message in taken:
            self._count(message)
        return tuple(message for message in taken if message.n_rows and message.plan.signals), self._faults(batch)

    def log_signals(self, log_file_id: int) -> pl.DataFrame:
        """What the file held of each signal: LOG_SIGNAL."""
        rows: list[dict[str, object]] = [
            {
                "log_file_id": log_file_id,
                "message": message,
                "signal": signal,
                "n_rows": seen.n_rows,
                "n_values": seen.n_values,
                "first_at": _instant(seen.first_us),
                "last_at": _instant(seen.last_us),
            }
            for (message, signal), seen in sorted(self._seen.items())
        ]
        return LOG_SIGNAL.frame(rows)

    def _possible(self, message: DecodedMessage) -> DecodedMessage:
        times = message.time_us
        # Looking first: nearly always all rows stay.
        if not message.n_rows or (times.min() >= self._first_us and times.max() <= self._last_us):
            return message
        return message.take(np.flatnonzero(self._are_possible(times)))

    def _are_possible(self, times: Instants) -> NDArray[np.bool_]:
        early, old, late = times < self._floor_us, times < self._first_us, times > self._last_us
        counts = {BEFORE_FLOOR: early.sum(), BEFORE_RETENTION: (old & ~early).sum(), AFTER_KNOWN: late.sum()}
        self.rejected.update({reason: int(count) for reason, count in counts.items() if count})
        return ~(old | late)

    def _public(self, message: DecodedMessage) -> DecodedMessage:
        given, public = self._plans.get(id(message.plan), (None, message.plan))
        if given is None:
            public = _public_plan(message.plan, positions=self._privacy.positions, drivers=self._hashes_drivers)
            self._plans[id(message.plan)] = message.plan, public
        if any(signal.spn == VIN_SPN for signal in message.plan.signals):
            self._note_vins(message)
        kept = message if public is message.plan else message.only(public)
        return self._hashed(kept) if self._hashes_drivers else kept

    @property
    def _hashes_drivers(self) -> bool:
        return self._privacy.driver_ids == "hash" and self._secret is not None

    def _note_vins(self, message: DecodedMessage) -> None:
        for signal, column in zip(message.plan.signals, message.columns, strict=True):
            if signal.spn == VIN_SPN and isinstance(column, list):
                self.vins.update(text for text in column if text is not None)

    def _hashed(self, message: DecodedMessage) -> DecodedMessage:
        pairs = zip(message.plan.signals, message.columns, strict=True)
        return replace(message, columns=tuple(self._hash(column) if is_driver_id(s) else column for s, column in pairs))

    def _hash(self, column: Column) -> Column:
        secret = self._secret or b""
        texts = column if isinstance(column, list) else []
        return [None if text is None else private_id(text, secret) for text in texts]

    def _count(self, message: DecodedMessage) -> None:
        times = message.time_us
        if not message.n_rows or not message.plan.signals:
            return
        first_us, last_us = int(times.min()), int(times.max())
        if first_us // _DAY_US == last_us // _DAY_US:
            self._days.add(first_us // _DAY_US)
        else:
            self._days.update(np.unique(times // _DAY_US).tolist())
        for signal, column in zip(message.plan.signals, message.columns, strict=True):
            seen = self._seen.setdefault((message.plan.name, signal.column), _Seen())
            n_values = message.n_rows - _n_null(column)
            span = (first_us, last_us) if n_values == message.n_rows else _span(times, column)
            seen.add(message.n_rows, n_values, *span)

    def _faults(self, batch: DecodedBatch) -> pl.DataFrame:
        faults = batch.faults
        if not faults.height:
            return faults
        times = faults["time"].dt.epoch("us").to_numpy()
        possible = self._are_possible(times)
        self._days.update(np.unique(times[possible] // _DAY_US).tolist())
        kept = faults if possible.all() else faults.filter(pl.Series(possible))
        news = self._repeats.news(kept)
        return kept if news.all() else kept.filter(pl.Series(news))


def _public_plan(plan: MessagePlan, *, positions: bool, drivers: bool) -> MessagePlan:
    def is_public(signal: SignalPlan) -> bool:
        if signal.spn == VIN_SPN or (is_position(signal) and not positions):
            return False
        return not is_driver_id(signal) or (drivers and signal.is_text)

    kept = tuple(signal for signal in plan.signals if is_public(signal))
    return plan if len(kept) == len(plan.signals) else replace(plan, signals=kept)


def _n_null(column: Column) -> int:
    return sum(text is None for text in column) if isinstance(column, list) else column.n_null


def _span(times: Instants, column: Column) -> tuple[int, int]:
    """Times of the first and the last value; (0, 0) where there is none."""
    there: Sequence[int] | Instants = times[valid_rows(column, len(times))]
    return (int(np.min(there)), int(np.max(there))) if len(there) else (0, 0)


def _us(instant: datetime) -> int:
    return (instant - _EPOCH) // timedelta(microseconds=1)


def _instant(time_us: int | None) -> datetime | None:
    return None if time_us is None else _EPOCH + timedelta(microseconds=time_us)
