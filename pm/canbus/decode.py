"""A log in, signals and trouble codes out.

What belongs here: the way of the blocks of a log through the kernels to decoded columns, in bounded
memory, with every frame accounted for. Where the results go is not known here.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
import polars as pl

from pm.canbus.columns import MESSAGE_SCHEMA, DecodedMessage, decoded_message, message_rows
from pm.canbus.dbc import SignalDatabase
from pm.canbus.extract import UNKNOWN_MULTIPLEXER, Payloads
from pm.canbus.faults import (
    DEFAULT_OLD_CONVERSION,
    FAULT_SCHEMA,
    fault_counts,
    fault_rows,
    new_faults,
    reset_faults,
)
from pm.canbus.fields import Recipe, recipe_of
from pm.canbus.formats.block import FrameBlock, Frames
from pm.canbus.logfile import LogFile
from pm.canbus.route import (
    ALL_READ,
    FAULTS_FULL,
    FIRST_US,
    LAST_US,
    MESSAGE_FULL,
    MESSAGES_FULL,
    N_BACKWARD,
    N_DECODED,
    N_FRAMES,
    N_MESSAGES,
    N_TRANSPORT,
    Matcher,
    Room,
    new_matcher,
    new_messages,
    new_tally,
    route,
)
from pm.canbus.staging import MOST_ROWS, forget_series, new_staging, take_rows
from pm.canbus.transport import finish_transport, new_transport, transport_failures

DECODER_VERSION: Final = "2"
"""Changes when the same log and DBC would give other values."""

NOT_IN_DBC: Final = "not_in_dbc"
BATCH_VALUES: Final = 1 << 17
"""Values in a batch, roughly: bounds the memory of what is handed over at once."""
_FIRST_SHARE: Final = 8
"""The first rows are handed over when this part of `waiting_rows` wait, so that writing begins early."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NO_FAULTS: Final = pl.DataFrame(schema=FAULT_SCHEMA)
_NO_MESSAGES: Final = pl.DataFrame(schema=MESSAGE_SCHEMA)


@dataclass(frozen=True)
class DecodedBatch:
    """What one stretch of a log gave."""

    decoded: tuple[DecodedMessage, ...]
    """At most one a message, its rows in the order of the log. So are the batches of a message, but when sampling
    the last row of a series is held back while it may still change, and then comes in a later batch."""
    faults: pl.DataFrame
    """`pm.canbus.faults.FAULT_SCHEMA`; never sampled."""
    messages: pl.DataFrame
    """`MESSAGE_SCHEMA`: every reassembled multi-packet message."""

    @property
    def signals(self) -> dict[str, pl.DataFrame]:
        """By message: time, channel, source_address, destination_address, then one column a signal."""
        return {message.plan.name: message.frame() for message in self.decoded}


@dataclass(frozen=True)
class DecodeReport:
    """What became of every frame of one log.

    n_frames = n_decoded + n_transport + rejected["not_in_dbc"]; the other reasons in `rejected` count
    what was no data frame, and frames that were decoded only in part.
    """

    n_frames: int
    """Data frames in the log."""
    n_decoded: int
    """Data frames that are a message of the DBC files, a DM1 or a DM2, whether sampled or not."""
    n_transport: int
    """Data frames of the transport protocol."""
    n_messages: int
    """Messages reassembled from them."""
    n_faults: int
    """Trouble codes in all DM1 and DM2 messages."""
    n_backward: int
    """Data frames whose time is before that of the frame before; they are decoded as all others."""
    rejected: dict[str, int]
    transport_failures: dict[str, int]
    nulls: dict[str, dict[str, dict[str, int]]]
    """message -> signal -> reserved, error, not_available, not_finite -> decoded rows."""
    first_at: datetime | None
    last_at: datetime | None
    """Earliest and latest time of a data frame."""


class LogDecoder:
    """Decodes logs with one set of DBC files. `report` is that of the log last given to `batches`."""

    def __init__(
        self,
        database: SignalDatabase,
        *,
        sample_period_s: float = 0.0,
        old_conversion_method: int = DEFAULT_OLD_CONVERSION,
        staged_rows: int = MOST_ROWS,
        waiting_rows: int | None = None,
        keeps_codes: bool = False,
    ) -> None:
        """`sample_period_s` > 0 keeps the last frame of each message, channel, source, destination and period.

        `old_conversion_method` is how trouble codes with the conversion bit set are read
        (`pm.canbus.faults`); `staged_rows` bounds the rows of a message that are decoded at a time. When
        `waiting_rows` wait in all, what is ready of every message is handed over: whoever writes need not
        wait for the end of a log of which a sample takes few rows.
        With `keeps_codes` numbers of up to eight bits stay codes until a frame is asked for
        (`pm.canbus.extract.Codes`), which is what a Parquet file takes.
        """
        self._database, self._matcher = database, new_matcher(database)
        self._recipes = _Recipes(database, keeps_codes)
        self._period_us = round(sample_period_s * 1e6)
        self._old_conversion_method, self._staged_rows = old_conversion_method, staged_rows
        self._waiting_rows = waiting_rows
        self._pass: _Pass | None = None

    def batches(self, log: LogFile) -> Iterator[DecodedBatch]:
        """Decode `log`; a batch whenever enough rows of a message wait, and at the end.

        Raises:
            DataError: the log cannot be read to its end.
        """
        room = Room(
            new_staging(self._database, self._period_us, self._staged_rows),
            new_transport(),
            new_faults(),
            new_messages(),
            new_tally(),
        )
        self._pass = _Pass(self._database, self._matcher, self._recipes, room, log, self._old_conversion_method)
        most = self._waiting_rows and self._waiting_rows // _FIRST_SHARE
        for block in log.blocks():
            yield from self._pass.take(block)
            if most and self._waiting_rows and self._pass.n_waiting >= most:
                yield from self._pass.hand_over(most // 2)
                most = min(2 * most, self._waiting_rows)
        yield from self._pass.finish()

    @property
    def report(self) -> DecodeReport:
        """Counts so far, complete once `batches` has ended."""
        if self._pass is None:
            return DecodeReport(0, 0, 0, 0, 0, 0, {}, {}, {}, None, None)
        return self._pass.report()


class _Recipes(dict[int, Recipe]):
    """Recipes by number of the message, made when it first appears."""

    def __init__(self, database: SignalDatabase, keeps_codes: bool) -> None:
        super().__init__()
        self._database, self._keeps_codes = database, keeps_codes

    def __missing__(self, message: int) -> Recipe:
        recipe = self[message] = recipe_of(self._database.messages[message], keeps_codes=self._keeps_codes)
        return recipe


class _Pass:
    """One log on its way through."""

    def __init__(
        self,
        database: SignalDatabase,
        matcher: Matcher,
        recipes: "_Recipes",
        room: Room,
        log: LogFile,
        method: int,
    ) -> None:
        self._database, self._matcher, self._recipes = database, matcher, recipes
        self._room, self._log = room, log
        self._old_conversion_method = method
        self._rejected: Counter[str] = Counter()
        self._nulls: dict[str, dict[str, Counter[str]]] = {}
        self._channels: tuple[str, ...] = ()
        self._n_faults = 0

    def take(self, block: FrameBlock) -> Iterator[DecodedBatch]:
        """Sort a block's frames into the room, and hand over what is full."""
        self._channels = block.channels
        frames = Frames(
            block.time_us, block.channel, block.can_id, block.is_extended, block.length, block.data.reshape(-1)
        )
        at, stopped = 0, MESSAGE_FULL
        while stopped != ALL_READ:
            at, stopped, message = route(frames, at, self._matcher, self._room)
            if stopped == MESSAGE_FULL:
                yield DecodedBatch((self._decode(message, at_end=False),), _NO_FAULTS, _NO_MESSAGES)
            elif stopped == MESSAGES_FULL:
                yield DecodedBatch((), _NO_FAULTS, self._take_messages())
            elif stopped == FAULTS_FULL:
                yield DecodedBatch((), self._take_faults(), _NO_MESSAGES)
            elif stopped != ALL_READ:
                for part in self._everything():
                    yield DecodedBatch(part, _NO_FAULTS, _NO_MESSAGES)
                forget_series(self._room.staging)

    @property
    def n_waiting(self) -> int:
        """Rows that wait."""
        return int(self._room.staging.n_waiting.sum())

    def hand_over(self, n_rows: int) -> Iterator[DecodedBatch]:
        """What is ready of the messages of which most rows wait, some `n_rows` of them in all.

        A message a batch: each costs whoever writes it the same again, however few rows it has.
        """
        n_waiting = self._room.staging.n_waiting
        fullest = np.argsort(-n_waiting, kind="stable")
        enough = int(np.searchsorted(np.cumsum(n_waiting[fullest]), n_rows)) + 1
        for message in fullest[:enough].tolist():
            yield DecodedBatch((self._decode(message, at_end=False),), _NO_FAULTS, _NO_MESSAGES)

    def finish(self) -> Iterator[DecodedBatch]:
        """Hand over all that waits."""
        finish_transport(self._room.transport)
        before: tuple[DecodedMessage, ...] = ()
        for part in self._everything():
            if before:
                yield DecodedBatch(before, _NO_FAULTS, _NO_MESSAGES)
            before = part
        yield DecodedBatch(before, self._take_faults(), self._take_messages())

    def report(self) -> DecodeReport:
        tally = self._room.tally
        n_frames, n_decoded, n_transport = int(tally[N_FRAMES]), int(tally[N_DECODED]), int(tally[N_TRANSPORT])
        rejected = Counter(self._log.rejected) + self._rejected + Counter(fault_counts(self._room.faults))
        rejected += Counter({NOT_IN_DBC: n_frames - n_decoded - n_transport})
        return DecodeReport(
            n_frames=n_frames,
            n_decoded=n_decoded,
            n_transport=n_transport,
            n_messages=int(tally[N_MESSAGES]),
            n_faults=self._n_faults,
            n_backward=int(tally[N_BACKWARD]),
            rejected=dict(rejected),
            transport_failures=transport_failures(self._room.transport),
            nulls={name: {s: dict(c) for s, c in by_signal.items()} for name, by_signal in self._nulls.items()},
            first_at=_instant(int(tally[FIRST_US])) if n_frames else None,
            last_at=_instant(int(tally[LAST_US])) if n_frames else None,
        )

    def _everything(self, *, at_end: bool = True) -> Iterator[tuple[DecodedMessage, ...]]:
        """All rows that wait, or that are ready, some `BATCH_VALUES` values at a time."""
        part: list[DecodedMessage] = []
        for message in np.flatnonzero(self._room.staging.n_waiting).tolist():
            part.append(self._decode(message, at_end=at_end))
            if sum(decoded.n_values for decoded in part) >= BATCH_VALUES:
                yield tuple(part)
                part = []
        if part:
            yield tuple(part)

    def _decode(self, message: int, *, at_end: bool) -> DecodedMessage:
        plan = self._database.messages[message]
        rows = take_rows(self._room.staging, message, at_end=at_end)
        payloads = Payloads(self._recipes[message], rows.words, rows.length, rows.shortest)
        decoded = decoded_message(plan, rows, payloads.columns(), self._channels)
        nulls = self._nulls.setdefault(plan.name, {})
        for signal, counts in payloads.counts.items():
            nulls.setdefault(signal, Counter()).update(counts)
        self._rejected[UNKNOWN_MULTIPLEXER] += payloads.n_unknown_multiplexer
        return decoded

    def _take_faults(self) -> pl.DataFrame:
        rows = fault_rows(self._room.faults, self._channels, old_conversion_method=self._old_conversion_method)
        reset_faults(self._room.faults)
        self._n_faults += rows.height
        return rows

    def _take_messages(self) -> pl.DataFrame:
        rows = message_rows(self._room.messages, self._channels)
        self._room.messages.n[0] = 0
        return rows


def _instant(time_us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=time_us)
