"""The compiled encoder gives the bytes that the general one gives."""

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from pm.canbus.columns import DecodedMessage
from pm.canbus.dbc import MessagePlan, SignalPlan
from pm.canbus.extract import Numbers
from pm.store.copy_binary import encode
from pm.store.copy_decoded import KEY_COLUMNS, encode_decoded

NUMBERS = st.one_of(
    st.floats(width=64),
    st.sampled_from([0.0, -0.0, float("nan"), float("inf"), -float("inf"), 1e-45, 1e300, 16777217.0]),
)


def signal(name: str) -> SignalPlan:
    return SignalPlan(name, 0, 8, "little_endian", False, False, 1.0, 0.0, None, None, "", None, "")


@st.composite
def messages(draw) -> DecodedMessage:
    n = draw(st.integers(1, 12))
    channels = tuple(draw(st.lists(st.text(max_size=6), min_size=1, max_size=3, unique=True)))
    columns = []
    for _ in range(draw(st.integers(0, 4))):
        values = np.array(draw(st.lists(NUMBERS, min_size=n, max_size=n)), np.float64)
        valid = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
        n_null = int((~valid).sum())
        columns.append(Numbers(values, np.packbits(valid, bitorder="little") if n_null else None, n_null))
    addresses = st.lists(st.integers(-1, 255), min_size=n, max_size=n)
    times = st.lists(st.integers(-(2**50), 2**52), min_size=n, max_size=n)
    return DecodedMessage(
        MessagePlan("M", 1, True, 1, 8, tuple(signal(f"s{at}") for at in range(len(columns))), "", ""),
        np.array(draw(times), np.int64),
        np.array(draw(addresses), np.int16),
        np.array(draw(addresses), np.int16),
        np.array(draw(st.lists(st.integers(0, len(channels) - 1), min_size=n, max_size=n)), np.uint8),
        tuple(columns),
        channels,
    )


@settings(max_examples=300, deadline=None)
@given(messages(), st.data(), st.integers(1, 2**31 - 1), st.integers(1, 2**62))
def test_both_encoders_give_the_same_bytes(message, data, vehicle_id, log_file_id):
    n_signals = len(message.columns)
    wide = data.draw(st.lists(st.booleans(), min_size=n_signals, max_size=n_signals))
    kinds = {True: pl.Float64, False: pl.Float32}
    values = [
        pl.col(plan.column).cast(kinds[is_wide]).fill_nan(None)
        for plan, is_wide in zip(message.plan.signals, wide, strict=True)
    ]
    ids = {"vehicle_id": pl.lit(vehicle_id, pl.Int32()), "log_file_id": pl.lit(log_file_id, pl.Int64())}
    frame = message.frame().with_columns(**ids).select(*KEY_COLUMNS, *values)
    made = encode_decoded(message, wide=wide, vehicle_id=vehicle_id, log_file_id=log_file_id)
    assert b"".join(map(bytes, made)) == b"".join(encode(frame))


@settings(max_examples=100, deadline=None)
@given(messages(), st.data())
def test_taking_rows_of_a_message_is_taking_rows_of_its_frame(message, data):
    rows = data.draw(st.lists(st.integers(0, message.n_rows - 1), max_size=20))
    taken = message.take(np.array(rows, np.intp)).frame()
    assert taken.equals(message.frame()[rows], null_equal=True)
