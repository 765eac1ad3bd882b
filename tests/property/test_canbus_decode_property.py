"""Logs of generated messages through the decoder, every value against cantools and a small model."""

import math
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

import cantools
import polars as pl
import pytest
from canbus_dbc_strategies import (
    START_US,
    Frame,
    Message,
    databases,
    dbc_text,
    distinct,
    key_of,
    log_of,
    messages,
    n_backward,
    null_counts,
    payload_of,
    periods,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pm.canbus.dbc import ROW_COLUMNS, load_dbc
from pm.canbus.decode import DecodeReport, LogDecoder
from pm.canbus.formats import lines as lines_module
from pm.canbus.logfile import open_log

FEW = settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
MANY = settings(FEW, max_examples=100)
SEEDS = st.integers(0, 1 << 32)
PLAIN = messages("M").filter(lambda made: not made.is_j1939 and not made.overlaps)


@dataclass(frozen=True)
class Decoded:
    rows: dict[str, list[tuple[Any, ...]]]
    """By message, in the order of the batches: time in us, channel, source, destination, then the signals."""
    columns: dict[str, list[str]]
    report: DecodeReport


@contextmanager
def written(database: list[Message], log: list[Frame], *, parts: int = 1) -> Iterator[tuple[list[Path], Path]]:
    """The DBC texts, dealt out to `parts` files, and the log in files of their own."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{part}.dbc" for part in range(min(parts, len(database)))]
        for part, path in enumerate(paths):
            path.write_text(dbc_text(database[part :: len(paths)]))
        path = Path(folder) / "a.log"
        path.write_text("".join(frame.line() for frame in log))
        yield paths, path


def decode(dbc: list[Path], log: Path, *, period_s: float = 0.0, staged_rows: int = 1000) -> Decoded:
    decoder = LogDecoder(load_dbc(dbc), sample_period_s=period_s, staged_rows=staged_rows)
    rows: dict[str, list[tuple[Any, ...]]] = {}
    columns = {}
    for batch in decoder.batches(open_log(log)):
        for name, frame in batch.signals.items():
            assert columns.setdefault(name, frame.columns) == frame.columns
            rows.setdefault(name, []).extend(frame.with_columns(pl.col("time").dt.epoch("us")).rows())
    return Decoded(rows, columns, decoder.report)


def agrees(got: float | None, want: float | None, offset: float) -> bool:
    if got is None or want is None:
        return got is want
    return math.isclose(got, want, rel_tol=1e-12, abs_tol=1e-12 * abs(offset))


def check_rows(decoded: Decoded, database: list[Message], kept: list[Frame], *, by_series: bool = False) -> None:
    """Every row and value of `kept` and no other, in its order: within a message, or only within its series."""
    assert set(decoded.rows) == {frame.message.name for frame in kept if frame.message is not None}
    for message in database:
        want = [frame for frame in kept if frame.message is message]
        got = decoded.rows.get(message.name, [])
        if by_series:
            want, got = sorted(want, key=lambda frame: frame.series), sorted(got, key=lambda row: row[1:4])
        assert [row[:4] for row in got] == [(frame.time_us, *frame.series) for frame in want]
        offsets = {signal.name: float(signal.offset) for signal in message.signals}
        for row, frame in zip(got, want, strict=True):
            named = dict(zip(decoded.columns[message.name][4:], row[4:], strict=True))
            for signal, value in message.values(frame.payload).items():
                column = f"{signal}_" if signal in ROW_COLUMNS else signal
                found = named.pop(column)
                assert agrees(found, value, offsets[signal]), (signal, found, value, frame)
            assert not named


@MANY
@given(message=PLAIN, seed=SEEDS)
def test_the_model_agrees_with_whole_messages_of_cantools(message: Message, seed: int) -> None:
    # What the other tests compare with is itself shown here to be what cantools says.
    rng = Random(seed)
    for payload in (payload_of(message.length, rng) for _ in range(10)):
        if message.has_unknown_multiplexer(payload):
            with pytest.raises(cantools.database.DecodeError):
                message.whole.decode(payload, allow_truncated=True)
            continue
        want = message.whole.decode(payload, decode_choices=False, allow_truncated=True)
        finite = {name: float(value) for name, value in want.items() if math.isfinite(value)}
        assert {name: value for name, value in message.values(payload).items() if value is not None} == finite


@MANY
@given(database=databases(), seed=SEEDS, parts=st.integers(1, 3))
def test_every_value_of_every_frame(database: list[Message], seed: int, parts: int) -> None:
    log = log_of(database, seed)
    with written(database, log, parts=parts) as (dbc, path):
        decoded = decode(dbc, path)
    check_rows(decoded, database, log)
    matched = [frame for frame in log if frame.message is not None]
    report = decoded.report
    assert (report.n_frames, report.n_decoded, report.n_transport) == (len(log), len(matched), 0)
    n_unknown = sum(f.message.has_unknown_multiplexer(f.payload) for f in matched if f.message is not None)
    want = Counter({"not_in_dbc": len(log) - len(matched), "unknown_multiplexer": n_unknown})
    assert Counter(report.rejected) == want
    assert {name: of for name, of in report.nulls.items() if of} == null_counts(log)
    assert report.n_backward == n_backward(log)
    assert report.first_at is not None
    assert report.last_at is not None
    times = [frame.time_us for frame in log]
    assert (report.first_at.timestamp() * 1e6, report.last_at.timestamp() * 1e6) == (min(times), max(times))


@MANY
@given(data=st.data(), message=PLAIN)
def test_encoded_values_come_back(data: st.DataObject, message: Message) -> None:
    raws: dict[str, float] = {}
    for s in message.signals:
        low, high = (-(1 << s.length - 1), (1 << s.length - 1) - 1) if s.is_signed else (0, (1 << s.length) - 1)
        raw = st.integers(low, high)
        if s.is_multiplexer:
            inside = [each for child in message.signals if child.multiplexer == s.name for each in child.ranges]
            raw = st.sampled_from(inside).flatmap(lambda ends: st.integers(*ends))
        width = 32 if s.length == 32 else 64
        raws[s.name] = data.draw(st.floats(width=width, allow_nan=False, allow_infinity=False) if s.float_kind else raw)
    payload = message.whole.encode(raws, scaling=False, strict=False)
    log = [Frame(START_US, "can0", message.can_id, message.is_extended, payload, message)]
    with written([message], log) as (dbc, path):
        decoded = decode(dbc, path)
    (row,) = decoded.rows["M"]
    there = {s.name for s in message.signals if message.is_there(s, payload)}
    for signal, got in zip(sorted(message.signals, key=lambda s: s.first_bit), row[4:], strict=True):
        want = raws[signal.name] * float(signal.scale) + float(signal.offset)
        expected = want if signal.name in there and math.isfinite(want) else None
        assert agrees(got, expected, float(signal.offset)), (signal, got, want)


@FEW
@given(
    database=databases(most=3),
    seed=SEEDS,
    period_s=st.sampled_from([0.0, 0.25, 1.0, 1.5]),
    read_bytes=st.sampled_from([1, 33, 100, 1000]),
    staged_rows=st.sampled_from([1, 2, 7, 50]),
)
def test_blocks_change_nothing(
    database: list[Message], seed: int, period_s: float, read_bytes: int, staged_rows: int
) -> None:
    log = log_of(database, seed, most=150)
    with written(database, log) as (dbc, path):
        whole = decode(dbc, path, period_s=period_s)
        if period_s:
            # A room that open periods fill by more than half is emptied: what is sampled may have more rows then.
            staged_rows += 2 * max(Counter(key[0] for key in {(f.message, f.series) for f in log}).values())
        with mock.patch.object(lines_module, "READ_BYTES", read_bytes):
            parts = decode(dbc, path, period_s=period_s, staged_rows=staged_rows)
    kept = periods(log, round(period_s * 1e6)) if period_s else log
    check_rows(whole, database, kept)
    # An open period of one series does not hold back the rows of the others.
    check_rows(parts, database, kept, by_series=period_s > 0)
    assert asdict(parts.report) == asdict(whole.report)
    assert {name: of for name, of in whole.report.nulls.items() if of} == null_counts(kept)


@FEW
@given(database=databases(most=3), other=databases(most=3))
def test_first_file_wins_where_two_declare_the_same(database: list[Message], other: list[Message]) -> None:
    renamed = [replace(message, name=f"N{number}") for number, message in enumerate(other)]
    twin = replace(database[0], name="Twin")
    own = distinct([twin, *renamed])
    with tempfile.TemporaryDirectory() as folder:
        first, second = Path(folder) / "first.dbc", Path(folder) / "second.dbc"
        first.write_text(dbc_text(database))
        second.write_text(dbc_text(own))
        loaded = load_dbc([first, second])
    taken = {key_of(message) for message in database}
    new = [message.name for message in own if key_of(message) not in taken]
    assert [message.name for message in loaded.messages] == [message.name for message in database] + new
    assert len(loaded.clashes) == len(own) - len(new)
    assert "Twin" in loaded.clashes[0]
    assert f"already {database[0].name} of first.dbc" in loaded.clashes[0]
