"""Decoded columns as the rest of the product takes them: polars frames.

What belongs here: the columns that every decoded frame has, and handing decoded numbers over without
copying them. How they are decoded is the business of `pm.canbus.extract`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from pm.canbus.dbc import MessagePlan
from pm.canbus.extract import Codes, Column, Numbers, values_of
from pm.canbus.j1939 import NO_ADDRESS
from pm.canbus.route import Messages
from pm.canbus.staging import Rows
from pm.schema import UTC_INSTANT

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

_ARROW_INSTANT: Final = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True)
class DecodedMessage:
    """n decoded payloads of one message."""

    plan: MessagePlan
    time_us: NDArray[np.int64]
    source: NDArray[np.int16]
    """-1 where the identifier has 11 bits and names none; so for the destination."""
    destination: NDArray[np.int16]
    channel: NDArray[np.uint8]
    """Index into `channels`."""
    columns: tuple[Column, ...]
    """One a signal, in the plan's order."""
    channels: tuple[str, ...]

    @property
    def n_rows(self) -> int:
        return len(self.time_us)

    @property
    def n_values(self) -> int:
        return self.n_rows * len(self.columns)

    def take(self, rows: NDArray[np.intp]) -> "DecodedMessage":
        """The payloads of these indices, in their order."""
        return replace(
            self,
            time_us=self.time_us[rows],
            source=self.source[rows],
            destination=self.destination[rows],
            channel=self.channel[rows],
            columns=tuple(_taken(column, rows, self.n_rows) for column in self.columns),
        )

    def only(self, plan: MessagePlan) -> "DecodedMessage":
        """The signals of `plan`, which is this message's without some of them."""
        wanted = {signal.name for signal in plan.signals}
        kept = zip(self.plan.signals, self.columns, strict=True)
        return replace(self, plan=plan, columns=tuple(column for signal, column in kept if signal.name in wanted))

    def frame(self) -> pl.DataFrame:
        """Columns time (UTC), channel, source_address, destination_address, then one a signal (Float64 or String)."""
        # A column at a time: a whole batch would go through polars' threads, a millisecond on a busy machine.
        columns = [pl.Series(name, array) for name, array in self._arrays().items()]
        return pl.DataFrame([columns[0], self._channel_names(), *columns[1:]])

    def _arrays(self) -> dict[str, pa.Array]:
        arrays = {
            "time": _plain(self.time_us, _ARROW_INSTANT),
            "source_address": _plain(self.source, pa.int16()),
            "destination_address": _plain(self.destination, pa.int16()),
        }
        for signal, column in zip(self.plan.signals, self.columns, strict=True):
            arrays[signal.column] = _array(column, self.n_rows)
        return arrays

    def _channel_names(self) -> pl.Series:
        names = pl.Series("channel", self.channels, dtype=pl.String)
        if self.n_rows and (self.channel == self.channel[0]).all():  # one name for all rows costs nothing
            return names.new_from_index(int(self.channel[0]), self.n_rows)
        return names.gather(self.channel.astype(np.uint32))


def decoded_message(plan: MessagePlan, rows: Rows, columns: list[Column], channels: tuple[str, ...]) -> DecodedMessage:
    """The decoded payloads of `rows`."""
    if not plan.is_extended:
        rows.source[:] = rows.destination[:] = NO_ADDRESS
    return DecodedMessage(plan, rows.time_us, rows.source, rows.destination, rows.channel, tuple(columns), channels)


def message_rows(messages: Messages, channels: tuple[str, ...]) -> pl.DataFrame:
    """The reassembled messages that wait, as `MESSAGE_SCHEMA`."""
    n = int(messages.n[0])
    address = messages.address[:n]
    end = messages.end[:n]
    offsets = np.concatenate([np.zeros(1, dtype=np.int64), end])
    payload = messages.payload[: int(offsets[-1])].tobytes()
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(payload)]
    return pl.DataFrame(
        [
            pl.Series("first_time", messages.first_us[:n]).cast(UTC_INSTANT),
            pl.Series("last_time", messages.last_us[:n]).cast(UTC_INSTANT),
            pl.Series("channel", channels, dtype=pl.String).gather(address >> np.uint32(16)),
            pl.Series("pgn", messages.pgn[:n]),
            pl.Series("source_address", (address & np.uint32(0xFF)).astype(np.int16)),
            pl.Series("destination_address", (address >> np.uint32(8) & np.uint32(0xFF)).astype(np.int16)),
            pl.Series("payload", pl.from_arrow(pa.Array.from_buffers(pa.large_binary(), n, buffers, 0))),
        ]
    )


def valid_rows(column: Column, n: int) -> NDArray[np.bool_]:
    """Which of `n` payloads have a value that is not null."""
    if isinstance(column, list):
        return np.fromiter((text is not None for text in column), np.bool_, n)
    if column.valid is None:
        return np.ones(n, np.bool_)
    return np.unpackbits(column.valid, count=n, bitorder="little").view(np.bool_)


def _taken(column: Column, rows: NDArray[np.intp], n: int) -> Column:
    if isinstance(column, list):
        return [column[row] for row in rows.tolist()]
    if isinstance(column, Codes):
        column = values_of(column, n)
    valid = valid_rows(column, n)[rows]
    n_null = int(len(rows) - valid.sum())
    return Numbers(column.values[rows], np.packbits(valid, bitorder="little") if n_null else None, n_null)


def _array(column: Column, n: int) -> pa.Array:
    if isinstance(column, list):
        return _text_array(column)
    if isinstance(column, Codes):
        column = values_of(column, n)
    valid = None if column.valid is None else pa.py_buffer(column.valid)
    return pa.Array.from_buffers(pa.float64(), n, [valid, pa.py_buffer(column.values)], column.n_null)


# pa.array() imports pandas where that is installed: 50 MB that nothing here needs.
def _plain(values: NDArray[Any], kind: pa.DataType) -> pa.Array:
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(values)], 0)


def _text_array(texts: Sequence[str | None]) -> pa.Array:
    return pl.Series(texts, dtype=pl.String).to_arrow().cast(pa.string())
