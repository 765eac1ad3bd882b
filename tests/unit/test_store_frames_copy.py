"""The bytes of binary COPY, against the format's description and against themselves; no database."""

import struct
from datetime import UTC, date, datetime

import polars as pl
import pytest

from pm.errors import DataError, StoreError
from pm.schema import UTC_INSTANT
from pm.store.copy_binary import HEADER, TRAILER, encode, postgres_type
from pm.store.copy_out import decode


def messages_of(frame: pl.DataFrame) -> list[bytes]:
    """As a server sends them: the header with the first row, a row each, the trailer."""
    rows = [b"".join(list(encode(frame[index]))[1:-1]) for index in range(frame.height)]
    return [HEADER + rows[0], *rows[1:], TRAILER] if rows else [HEADER, TRAILER]


def every_type() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "small": pl.Series([1, None, -32768], dtype=pl.Int16()),
            "plain": pl.Series([None, 7, 2**31 - 1], dtype=pl.Int32()),
            "big": pl.Series([1, 2, -(2**63)], dtype=pl.Int64()),
            "real": pl.Series([0.5, None, float("inf")], dtype=pl.Float32()),
            "double": pl.Series([0.1, float("nan"), None], dtype=pl.Float64()),
            "flag": pl.Series([True, None, False]),
            "text": pl.Series(["", None, "Zürich 🚚"]),
            "day": pl.Series([date(1999, 12, 31), None, date(2026, 2, 28)]),
            "at": pl.Series(
                [datetime(1970, 1, 1, tzinfo=UTC), None, datetime(2026, 1, 1, 0, 0, 0, 1, tzinfo=UTC)]
            ).cast(UTC_INSTANT),
            "bytes": pl.Series([b"", None, bytes(range(256))], dtype=pl.Binary()),
            "bigs": pl.Series([[2**62, None, -1], [], None], dtype=pl.List(pl.Int64())),
            "reals": pl.Series([[1.5, None], None, []], dtype=pl.List(pl.Float32())),
            "texts": pl.Series([["a", "bc"], [], None], dtype=pl.List(pl.String())),
        }
    )


def test_a_row_has_the_bytes_that_the_format_describes() -> None:
    frame = pl.DataFrame(
        {"number": pl.Series([-2], dtype=pl.Int32()), "text": ["ab"], "none": pl.Series([None], dtype=pl.Int16())}
    )
    row = struct.pack(">h", 3) + struct.pack(">ii", 4, -2) + struct.pack(">i", 2) + b"ab" + struct.pack(">i", -1)
    assert b"".join(encode(frame)) == HEADER + row + TRAILER


def test_an_instant_counts_microseconds_from_2000() -> None:
    frame = pl.DataFrame({"at": pl.Series([datetime(2000, 1, 1, 0, 0, 1, tzinfo=UTC)]).cast(UTC_INSTANT)})
    assert list(encode(frame))[1] == struct.pack(">hiq", 1, 8, 1_000_000)


def test_jsonb_carries_its_version() -> None:
    assert list(encode(pl.DataFrame({"j": ["{}"]}), json=frozenset({"j"})))[1] == struct.pack(">hi", 1, 3) + b"\x01{}"


def test_an_array_has_header_and_elements() -> None:
    frame = pl.DataFrame({"a": pl.Series([[1.5, None]], dtype=pl.List(pl.Float32()))})
    array = struct.pack(">iiiii", 1, 1, 700, 2, 1) + struct.pack(">if", 4, 1.5) + struct.pack(">i", -1)
    assert list(encode(frame))[1] == struct.pack(">hi", 1, len(array)) + array


def test_every_type_comes_back() -> None:
    frame = every_type()
    assert decode(messages_of(frame), frame.schema).equals(frame, null_equal=True)


@pytest.mark.parametrize("times", [0, 1, 15_000])
def test_blocks_leave_no_seam(times: int) -> None:
    once = b"".join(encode(every_type())).removeprefix(HEADER).removesuffix(TRAILER)
    frame = pl.concat([every_type()] * times) if times else every_type().clear()
    assert b"".join(encode(frame)) == HEADER + once * times + TRAILER


def test_no_rows_keep_their_columns() -> None:
    assert decode(messages_of(every_type().clear()), every_type().schema).equals(every_type().clear())


def test_one_long_text_does_not_widen_the_other_rows() -> None:
    frame = pl.DataFrame({"text": ["x"] * 999 + ["y" * 1_000_000]})
    assert sum(map(len, encode(frame))) == len(HEADER) + len(TRAILER) + 1000 * 6 + 999 + 1_000_000


def test_a_slice_of_a_frame_is_encoded_as_that_slice() -> None:
    frame = pl.DataFrame({"text": ["ab", "c", None, "def"], "list": [["a"], ["b", "c"], [], None]})
    assert list(encode(frame[1:])) == list(
        encode(pl.DataFrame(frame[1:].to_dict(as_series=False), schema=frame.schema))
    )


def test_a_type_without_a_column_type_is_refused() -> None:
    with pytest.raises(DataError, match="expected a column type"):
        postgres_type(pl.Duration())


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([b"nothing"], "header"),
        ([HEADER + struct.pack(">hih", 1, 2, 5)], "trailer"),
        ([HEADER + struct.pack(">hih", 2, 2, 5), TRAILER], "1 columns"),
        ([HEADER + struct.pack(">hii", 1, 4, 5), TRAILER], "of 2 bytes"),
        ([HEADER + struct.pack(">hihb", 1, 2, 5, 0), TRAILER], "row to end"),
        ([HEADER + struct.pack(">h", 1), TRAILER], "cut off|row to end"),
    ],
)
def test_bytes_of_another_form_are_refused(messages: list[bytes], reason: str) -> None:
    with pytest.raises(StoreError, match=reason):
        decode(messages, {"number": pl.Int16()})
