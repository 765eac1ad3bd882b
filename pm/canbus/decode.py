"""A log in, signals and trouble codes out.

What belongs here: the way of a block of frames through matching, transport, sampling, extraction and
faults, in bounded memory, with every frame accounted for. Where the results go is not known here.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pm.canbus.dbc import MessagePlan, SignalDatabase
from pm.canbus.extract import UNKNOWN_MULTIPLEXER, Payloads
from pm.canbus.faults import DTC_BYTES, LAMP_BYTES, OLD_CONVERSION, SHORT_DM1, CodeRows, codes_of_message, fault_rows
from pm.canbus.formats.block import CLASSIC_BYTES, I64, FrameBlock
from pm.canbus.j1939 import PGN_DM1
from pm.canbus.logfile import LogFile
from pm.canbus.series import NO_MESSAGE, TRANSPORT_CONTROL, TRANSPORT_DATA, SeriesTable
from pm.canbus.staging import Rows, joined, sampled
from pm.canbus.transport import Message, Reassembler
from pm.schema import UTC_INSTANT

DECODER_VERSION: Final = "1"
"""Changes when the same log and DBC would give other values."""

STAGED_ROWS: Final = 400_000
"""Rows collected before they are decoded; bounds memory, about 30 bytes a row before and 10 values after."""
NOT_IN_DBC: Final = "not_in_dbc"

MESSAGE_SCHEMA: Final = pl.Schema(
    {
        "first_time": UTC_INSTANT,
        "last_time": UTC_INSTANT,
        "channel": pl.String(),
        "pgn": pl.Int32(),
        "source_address": pl.Int16(),
        "destination_address": pl.Int16(),
        "payload": pl.Binary(),
    }
)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class DecodedBatch:
    """What one stretch of a log gave; the batches of a log follow each other in its order."""

    signals: dict[str, pl.DataFrame]
    """By message: time, channel, source_address, destination_address, then one column a signal."""
    faults: pl.DataFrame
    """`pm.canbus.faults.FAULT_SCHEMA`; never sampled."""
    messages: pl.DataFrame
    """`MESSAGE_SCHEMA`: every reassembled multi-packet message."""


@dataclass(frozen=True)
class DecodeReport:
    """What became of every frame of one log.

    n_frames = n_decoded + n_transport + rejected["not_in_dbc"]; the other reasons in `rejected` count
    what was no data frame, and frames that were decoded only in part.
    """

    n_frames: int
    """Data frames in the log."""
    n_decoded: int
    """Data frames that are a message of the DBC files or a DM1, whether sampled or not."""
    n_transport: int
    """Data frames of the transport protocol."""
    n_messages: int
    """Messages reassembled from them."""
    n_faults: int
    """Trouble codes in all DM1 messages."""
    rejected: dict[str, int]
    transport_failures: dict[str, int]
    nulls: dict[str, dict[str, dict[str, int]]]
    """message -> signal -> reserved, error, not_available -> decoded rows."""
    first_at: datetime | None
    last_at: datetime | None
    """Earliest and latest time of a data frame."""


@dataclass
class _Counts:
    n_frames: int = 0
    n_decoded: int = 0
    n_transport: int = 0
    n_messages: int = 0
    n_faults: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    nulls: dict[str, dict[str, Counter[str]]] = field(default_factory=dict)
    first_us: int | None = None
    last_us: int | None = None


class LogDecoder:
    """Decodes logs with one set of DBC files. `report` is that of the log last given to `batches`."""

    def __init__(self, database: SignalDatabase, *, sample_period_s: float = 0.0) -> None:
        """`sample_period_s` > 0 keeps the last frame of each message, channel, source, destination and period."""
        self._database = database
        self._period_us = round(sample_period_s * 1e6)
        self._pass: _Pass | None = None

    def batches(self, log: LogFile) -> Iterator[DecodedBatch]:
        """Decode `log`, some 400,000 frames a batch.

        Raises:
            DataError: the log cannot be read to its end.
        """
        current = self._pass = _Pass(self._database, log, self._period_us)
        for block in log.blocks():
            current.take(block)
            if current.n_staged >= STAGED_ROWS:
                yield current.flush(at_end=False)
        yield current.flush(at_end=True)

    @property
    def report(self) -> DecodeReport:
        """Counts so far, complete once `batches` has ended."""
        if self._pass is None:
            return DecodeReport(0, 0, 0, 0, 0, {}, {}, {}, None, None)
        return self._pass.report()


class _Pass:
    """One log on its way through."""

    def __init__(self, database: SignalDatabase, log: LogFile, period_us: int) -> None:
        self._database, self._log, self._period_us = database, log, period_us
        self._table = SeriesTable(database)
        self._reassembler = Reassembler()
        self._counts = _Counts()
        self._staged: list[Rows] = []
        self._codes: list[CodeRows] = []
        self._messages: list[Message] = []
        self._channels: tuple[str, ...] = ()
        self.n_staged = 0

    def take(self, block: FrameBlock) -> None:
        """Sort a block's frames into what waits for decoding."""
        counts = self._counts
        self._channels = block.channels
        series = self._table.of_block(block)
        role = self._table.message[series]
        is_dm1 = self._table.is_dm1[series]
        first_position = counts.n_frames
        counts.n_frames += len(block)
        self._note_times(block.time_us)
        n_matched = int(((role >= 0) | is_dm1).sum())
        transport = np.flatnonzero((role == TRANSPORT_CONTROL) | (role == TRANSPORT_DATA))
        counts.n_decoded += n_matched
        counts.n_transport += len(transport)
        self._stage_frames(block, series, np.flatnonzero(role >= 0), first_position)
        self._stage_messages(self._reassemble(block, series, transport, first_position))
        self._take_dm1(block, series, np.flatnonzero(is_dm1))

    def flush(self, *, at_end: bool) -> DecodedBatch:
        """Decode what is staged; with `at_end` also what sampling holds back."""
        if at_end:
            self._reassembler.finish()
        rows = joined(self._staged) if self._staged else None
        self._staged, self.n_staged = [], 0
        signals: dict[str, pl.DataFrame] = {}
        if rows is not None:
            if self._period_us > 0:
                rows, held = sampled(rows, self._period_us, at_end=at_end)
                self._staged = [held] if len(held) else []
            signals = self._decode(rows)
        faults = fault_rows(self._codes, self._channels)
        self._counts.n_faults += faults.height
        self._reject(OLD_CONVERSION, int(faults["conversion_method"].sum()))
        messages = self._message_rows()
        self._codes, self._messages = [], []
        return DecodedBatch(signals, faults, messages)

    def report(self) -> DecodeReport:
        counts = self._counts
        n_unmatched = counts.n_frames - counts.n_decoded - counts.n_transport
        rejected = Counter(self._log.rejected) + counts.rejected + Counter({NOT_IN_DBC: n_unmatched})
        return DecodeReport(
            n_frames=counts.n_frames,
            n_decoded=counts.n_decoded,
            n_transport=counts.n_transport,
            n_messages=counts.n_messages,
            n_faults=counts.n_faults,
            rejected=dict(rejected),
            transport_failures=dict(self._reassembler.failures),
            nulls={name: {s: dict(c) for s, c in by_signal.items()} for name, by_signal in counts.nulls.items()},
            first_at=_instant(counts.first_us),
            last_at=_instant(counts.last_us),
        )

    def _note_times(self, time_us: I64) -> None:
        first, last = int(time_us.min()), int(time_us.max())
        counts = self._counts
        counts.first_us = first if counts.first_us is None else min(counts.first_us, first)
        counts.last_us = last if counts.last_us is None else max(counts.last_us, last)

    def _stage(self, rows: Rows) -> None:
        if len(rows):
            self._staged.append(rows)
            self.n_staged += len(rows)

    def _stage_frames(
        self, block: FrameBlock, series: NDArray[np.int32], chosen: NDArray[np.intp], first_position: int
    ) -> None:
        length = block.length[chosen].astype(np.int32)
        wide = chosen[length > CLASSIC_BYTES]
        long = {first_position + at: block.data[at, : block.length[at]].tobytes() for at in wide.tolist()}
        position = first_position + chosen
        head = block.data[chosen, :CLASSIC_BYTES]
        self._stage(Rows(position, block.time_us[chosen], series[chosen], length, head, long))

    def _reassemble(
        self, block: FrameBlock, series: NDArray[np.int32], chosen: NDArray[np.intp], first_position: int
    ) -> list[Message]:
        done = []
        table = self._table
        for at, number in zip(chosen.tolist(), series[chosen].tolist(), strict=True):
            addresses = int(table.channel[number]), int(table.source[number]), int(table.destination[number])
            data = block.data[at, : block.length[at]].tobytes()
            if table.message[number] == TRANSPORT_CONTROL:
                self._reassembler.control(int(block.time_us[at]), *addresses, data)
                continue
            message = self._reassembler.packet(int(block.time_us[at]), *addresses, data, position=first_position + at)
            if message is not None:
                done.append(message)
        return done

    def _stage_messages(self, messages: list[Message]) -> None:
        self._messages += messages
        self._counts.n_messages += len(messages)
        matched = []
        for message in messages:
            if message.pgn == PGN_DM1:
                # Its signals in the DBC would show the first of several codes only: it gives fault rows alone.
                self._take_long_dm1(message)
                continue
            number = self._table.of_message(message.pgn, message.channel, message.source, message.destination)
            if self._table.message[number] > NO_MESSAGE:
                matched.append((message, number))
        if matched:
            self._stage(_rows_of_messages(matched))

    def _take_dm1(self, block: FrameBlock, series: NDArray[np.int32], chosen: NDArray[np.intp]) -> None:
        """Single-frame DM1: one trouble code each."""
        long_enough = block.length[chosen] >= LAMP_BYTES + DTC_BYTES
        self._reject(SHORT_DM1, int((~long_enough).sum()))
        chosen = chosen[long_enough]
        if len(chosen):
            data, number = block.data[chosen], series[chosen]
            channel, source = self._table.channel[number], self._table.source[number]
            codes = data[:, LAMP_BYTES : LAMP_BYTES + DTC_BYTES]
            self._codes.append(CodeRows(block.time_us[chosen], channel, source, data[:, 0], codes))

    def _take_long_dm1(self, message: Message) -> None:
        codes = codes_of_message(message.last_us, message.channel, message.source, message.payload)
        self._reject(SHORT_DM1, 0 if len(codes.codes) else 1)
        self._codes.append(codes)

    def _reject(self, reason: str, count: int) -> None:
        if count:
            self._counts.rejected[reason] += count

    def _channel_names(self, numbers: NDArray[np.int16]) -> pl.Series:
        return pl.Series("channel", self._channels, dtype=pl.String).gather(numbers.astype(np.uint32))

    def _decode(self, rows: Rows) -> dict[str, pl.DataFrame]:
        message = self._table.message[rows.series]
        order = np.argsort(message, kind="stable")
        sorted_message = message[order]
        starts = np.flatnonzero(np.append(True, sorted_message[1:] != sorted_message[:-1])) if len(order) else order
        found = {}
        for chosen in np.split(order, starts[1:]) if len(order) else []:
            plan = self._database.messages[int(message[chosen[0]])]
            found[plan.name] = self._decode_message(plan, rows.take(chosen))
        return found

    def _decode_message(self, plan: MessagePlan, rows: Rows) -> pl.DataFrame:
        payloads = Payloads(plan, rows.payloads(), rows.length)
        columns = payloads.columns()
        nulls = self._counts.nulls.setdefault(plan.name, {})
        for signal, counts in payloads.counts.items():
            nulls.setdefault(signal, Counter()).update(counts)
        self._reject(UNKNOWN_MULTIPLEXER, payloads.n_unknown_multiplexer)
        return pl.DataFrame(
            [
                pl.Series("time", rows.time_us).cast(UTC_INSTANT),
                self._channel_names(self._table.channel[rows.series]),
                pl.Series("source_address", self._table.source[rows.series]),
                pl.Series("destination_address", self._table.destination[rows.series]),
                *columns,
            ]
        )

    def _message_rows(self) -> pl.DataFrame:
        made = pl.DataFrame(
            [
                (m.first_us, m.last_us, self._channels[m.channel], m.pgn, m.source, m.destination, m.payload)
                for m in self._messages
            ],
            schema={**MESSAGE_SCHEMA, "first_time": pl.Int64(), "last_time": pl.Int64()},
            orient="row",
        )
        return made.with_columns(pl.col("first_time", "last_time").cast(UTC_INSTANT))


def _rows_of_messages(matched: list[tuple[Message, int]]) -> Rows:
    heads = b"".join(message.payload[:CLASSIC_BYTES].ljust(CLASSIC_BYTES, b"\0") for message, _ in matched)
    return Rows(
        position=np.array([message.position for message, _ in matched], dtype=np.int64),
        time_us=np.array([message.last_us for message, _ in matched], dtype=np.int64),
        series=np.array([number for _, number in matched], dtype=np.int32),
        length=np.array([len(message.payload) for message, _ in matched], dtype=np.int32),
        head=np.frombuffer(heads, dtype=np.uint8).reshape(-1, CLASSIC_BYTES),
        long={m.position: m.payload for m, _ in matched if len(m.payload) > CLASSIC_BYTES},
    )


def _instant(time_us: int | None) -> datetime | None:
    return None if time_us is None else _EPOCH + timedelta(microseconds=time_us)
