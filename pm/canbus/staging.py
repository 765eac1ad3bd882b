"""Payloads waiting to be decoded, a message at a time.

What belongs here: room for the payloads of each message in the order of the log, and keeping the last
one of each series and period before any bit is decoded (sampling). The room is one set of arrays for
all messages and is bounded, whatever the log: a message whose room is full is decoded and begins again.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pm.canbus.bits import load64
from pm.canbus.dbc import MessagePlan, SignalDatabase
from pm.canbus.fields import bytes_needed
from pm.canbus.formats.block import I64, U8, U64
from pm.canbus.jit import kernel
from pm.canbus.transport import LARGEST_MESSAGE_BYTES

I32 = NDArray[np.int32]

MOST_ROWS: Final = 24_576
"""Rows of one message that are decoded at a time."""
FEWEST_ROWS: Final = 64
"""So many, however large a message or the database; sampling is exact while half of them are open series."""
STAGED_BYTES: Final = 48 << 20
"""All staged payloads together; a database of many messages has fewer rows for each."""
DECODED_BYTES: Final = 24 << 20
"""The decoded rows of one message; one with many signals has fewer rows."""

MOST_SERIES: Final = 65_536
"""Series (message, channel, source, destination) whose period is open at a time when sampling."""
_ROW_BYTES: Final = 24
NO_ROW: Final = -1
_WORD_BYTES: Final = 8
_BYTE_BITS: Final = np.uint64(8)
LENGTH_SHIFT: Final = 24


class Staging(NamedTuple):
    """Room of all messages: message m has the rows `first_row[m]` to `first_row[m + 1]`."""

    first_row: I64
    first_word: I64
    n_words: I64
    """Eight-byte words a payload of the message has here."""
    n_waiting: I64
    """Rows that wait."""
    time_us: I64
    words: U64
    origin: U64
    """Source, destination and channel, eight bits each from the lowest, then the payload's length in bytes."""
    position: I64
    """Number of the frame in the log; only when sampling, as is all below."""
    entry: I32
    """Place of the row's series in the table of series."""
    series_key: I64
    """Hash table of series, 0 where free: message, channel, destination, source, plus one."""
    series_row: I32
    """Row of the series' open period within its message's room."""
    series_period: I64
    n_series: I64
    """One number: used places of the table."""
    period_us: I64
    """One number: 0 keeps every frame."""


def new_staging(database: SignalDatabase, period_us: int, most_rows: int = MOST_ROWS) -> Staging:
    """Empty room for the messages of `database`, at most `most_rows` rows each."""
    messages = database.messages
    if period_us:
        most_rows = max(most_rows, FEWEST_ROWS)
    n_words = np.array([_payload_words(message) for message in messages], dtype=np.int64)
    share = STAGED_BYTES // max(1, len(messages))
    rows = [_rows(m, int(n), share, most_rows) for m, n in zip(messages, n_words, strict=True)]
    first_row = np.concatenate([[0], np.cumsum(rows, dtype=np.int64)]).astype(np.int64)
    first_word = np.concatenate([[0], np.cumsum(np.array(rows, dtype=np.int64) * n_words)]).astype(np.int64)
    n_rows = int(first_row[-1])
    n_sampled, n_places = (n_rows, 2 * MOST_SERIES) if period_us else (1, 1)
    return Staging(
        first_row=first_row,
        first_word=first_word,
        n_words=n_words,
        n_waiting=np.zeros(len(messages), dtype=np.int64),
        time_us=np.empty(n_rows, dtype=np.int64),
        words=np.empty(int(first_word[-1]), dtype=np.uint64),
        origin=np.empty(n_rows, dtype=np.uint64),
        position=np.empty(n_sampled, dtype=np.int64),
        entry=np.empty(n_sampled, dtype=np.int32),
        series_key=np.zeros(n_places, dtype=np.int64),
        series_row=np.full(n_places, NO_ROW, dtype=np.int32),
        series_period=np.zeros(n_places, dtype=np.int64),
        n_series=np.zeros(1, dtype=np.int64),
        period_us=np.array([period_us], dtype=np.int64),
    )


def _payload_words(message: MessagePlan) -> int:
    if any(signal.is_text for signal in message.signals):
        # Text at the end of a message is as long as the sender likes.
        return -(-LARGEST_MESSAGE_BYTES // _WORD_BYTES)
    needed = max((bytes_needed(signal) for signal in message.signals), default=0)
    return max(1, -(-needed // _WORD_BYTES))


def _rows(message: MessagePlan, n_words: int, share_bytes: int, most_rows: int) -> int:
    decoded = DECODED_BYTES // (9 * max(1, len(message.signals)))
    return max(1, min(FEWEST_ROWS, most_rows), min(most_rows, decoded, share_bytes // (_ROW_BYTES + 8 * (n_words - 1))))


@kernel
def is_full(staging: Staging, message: int) -> bool:
    """True when no further row of the message has room."""
    return staging.n_waiting[message] == staging.first_row[message + 1] - staging.first_row[message]


@kernel
def put_row(
    staging: Staging, message: int, row: int, time_us: int, address: int, data: U8, at: int, length: int
) -> None:
    """Write a payload, the `length` bytes of `data` from `at` on, into row `row` of a message's room."""
    to = staging.first_row[message] + row
    staging.time_us[to] = time_us
    n_words = staging.n_words[message]
    length = min(length, n_words * _WORD_BYTES)
    staging.origin[to] = address | length << LENGTH_SHIFT
    word_at = staging.first_word[message] + row * n_words
    for word in range(n_words):
        left = length - word * _WORD_BYTES
        value = np.uint64(0)
        if left > 0:
            value = load64(data, at + word * _WORD_BYTES)
            if left < _WORD_BYTES:
                value &= (np.uint64(1) << (_BYTE_BITS * np.uint64(left))) - np.uint64(1)
        staging.words[word_at + word] = value


@kernel
def first_entry(key: int, last: int) -> int:
    """Where to look first for a series; `last` is the last place of the table, a power of two less one."""
    # Fibonacci hashing: the middle bits of the product depend on all bits of the key.
    return np.int64((np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)) & last


@kernel
def sampled_row(staging: Staging, message: int, address: int, time_us: int, position: int) -> int:
    """Row into which a frame goes when only the last one of each series and period is kept.

    It is the row of the frame before, if that is of the same period. Periods are aligned to 1970-01-01.
    Where the clock of the log jumps back, a period that comes again has another row.
    """
    period = time_us // staging.period_us[0]
    key = ((message << 24) | address) + 1
    last = len(staging.series_key) - 1
    entry = first_entry(key, last)
    while staging.series_key[entry] != key and staging.series_key[entry] != 0:
        entry = (entry + 1) & last
    if staging.series_key[entry] == 0:
        staging.series_key[entry] = key
        staging.series_row[entry] = NO_ROW
        staging.n_series[0] += 1
    row = np.int64(staging.series_row[entry])
    if row == NO_ROW or staging.series_period[entry] != period:
        row = staging.n_waiting[message]
        staging.n_waiting[message] = row + 1
        staging.series_row[entry] = row
        staging.series_period[entry] = period
    to = staging.first_row[message] + row
    staging.position[to] = position
    staging.entry[to] = entry
    return row


class Rows(NamedTuple):
    """n payloads of one message, in the order of the log."""

    time_us: I64
    words: U64
    """Shape (n, words a payload), zeros beyond each one's length; a view of the room."""
    length: I64
    """Payload bytes."""
    shortest: int
    """The least of them."""
    source: NDArray[np.int16]
    destination: NDArray[np.int16]
    channel: U8


class _Staged(NamedTuple):
    """Rows of a message as the room holds them."""

    time_us: I64
    words: U64
    origin: U64


@kernel
def _split(origin: U64, rows: Rows) -> int:
    """Take `Staging.origin` apart into the columns of `rows`; the length of the shortest payload."""
    length, source, destination, channel = rows.length, rows.source, rows.destination, rows.channel
    shortest = LARGEST_MESSAGE_BYTES
    for i in range(len(origin)):
        where = np.int64(origin[i])
        source[i] = where & 0xFF
        destination[i] = (where >> 8) & 0xFF
        channel[i] = (where >> 16) & 0xFF
        length[i] = where >> LENGTH_SHIFT
        shortest = min(shortest, length[i])
    return shortest


def _rows_of(staged: _Staged) -> Rows:
    n = len(staged.time_us)
    rows = Rows(
        staged.time_us.copy(),
        staged.words,
        np.empty(n, dtype=np.int64),
        0,
        np.empty(n, dtype=np.int16),
        np.empty(n, dtype=np.int16),
        np.empty(n, dtype=np.uint8),
    )
    return rows._replace(shortest=int(_split(staged.origin, rows)))


def take_rows(staging: Staging, message: int, *, at_end: bool) -> Rows:
    """The rows of a message that are ready, removed from the room; read them before the next frame is staged.

    When sampling, the last row of each series is held back, because a later one of its period may still
    come, unless `at_end` or more than half of the room is held.
    """
    n, begin = int(staging.n_waiting[message]), int(staging.first_row[message])
    rows = _view(staging, message, n)
    if not staging.period_us[0]:
        staging.n_waiting[message] = 0
        return _rows_of(rows)
    here = slice(begin, begin + n)
    entry = staging.entry[here]
    is_held = staging.series_row[entry] == np.arange(n)
    if at_end or 2 * int(is_held.sum()) > staging.first_row[message + 1] - begin:
        staging.series_row[entry[is_held]] = NO_ROW
        is_held = np.zeros(n, dtype=np.bool_)
    ready = np.flatnonzero(~is_held)
    ready = ready[np.argsort(staging.position[here][ready], kind="stable")]
    taken = _Staged(*(column[ready] for column in rows))
    _keep_rows(staging, message, np.flatnonzero(is_held))
    return _rows_of(taken)


def forget_series(staging: Staging) -> None:
    """Empty the table of series; every message's rows must have been taken `at_end`."""
    staging.series_key[:] = 0
    staging.series_row[:] = NO_ROW
    staging.n_series[0] = 0


def _view(staging: Staging, message: int, n: int) -> _Staged:
    begin, first_word, n_words = (int(a[message]) for a in (staging.first_row, staging.first_word, staging.n_words))
    here = slice(begin, begin + n)
    words = staging.words[first_word : first_word + n * n_words].reshape(n, n_words)
    return _Staged(staging.time_us[here], words, staging.origin[here])


def _keep_rows(staging: Staging, message: int, kept: NDArray[np.intp]) -> None:
    """Move rows to the front of a message's room."""
    n, begin = len(kept), int(staging.first_row[message])
    held = [column[kept] for column in _view(staging, message, int(staging.n_waiting[message]))]
    for column, part in zip(_view(staging, message, n), held, strict=True):
        column[:] = part
    for column in (staging.position, staging.entry):
        column[begin : begin + n] = column[begin + kept]
    staging.series_row[staging.entry[begin : begin + n]] = np.arange(n)
    staging.n_waiting[message] = n
