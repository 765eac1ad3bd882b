"""Parquet files of decoded payloads, read back by pyarrow and by polars."""

import random
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pm.canbus.columns import DecodedMessage
from pm.canbus.dbc import SignalDatabase, load_dbc
from pm.canbus.decode import LogDecoder
from pm.canbus.logfile import open_log
from pm.canbus.parquet_file import ParquetFile
from pm.canbus.parquet_pages import time_steps

DBC = """VERSION ""
NS_ :
BS_:
BU_:
BO_ 2566834174 FAST: 8 X
 SG_ Two : 0|2@1+ (1,0) [0|0] "" X
 SG_ Byte : 8|8@1+ (0.4,-10) [0|0] "" X
 SG_ SignedByte : 23|8@0- (0.1,0) [0|0] "" X
 SG_ Word : 24|16@1+ (0.125,0) [0|0] "" X
 SG_ Twenty : 40|20@1+ (0.1,3) [0|0] "" X
BO_ 291 PLAIN: 8 X
 SG_ Long : 0|64@1- (1,0) [0|0] "" X
BO_ 2566844670 NAMES: 20 X
 SG_ Text : 0|160@1+ (1,0) [0|0] "" X
BA_DEF_ BO_ "VFrameFormat" ENUM "StandardCAN","ExtendedCAN","reserved","J1939PG";
BA_DEF_DEF_ "VFrameFormat" "ExtendedCAN";
BA_ "VFrameFormat" BO_ 2566834174 3;
BA_ "VFrameFormat" BO_ 291 0;
BA_ "VFrameFormat" BO_ 2566844670 3;
"""


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> SignalDatabase:
    path = tmp_path_factory.mktemp("dbc") / "a.dbc"
    path.write_text(DBC)
    return load_dbc([path])


def lines(n: int, seed: int, channels: tuple[str, ...] = ("can0", "can1")) -> str:
    """Random payloads of FAST and PLAIN, every fifth short, and a text in a multi-packet message."""
    rng = random.Random(seed)
    found, at_us = [], 1_600_000_000_000_000
    for number in range(n):
        at_us += rng.choice([-5_000, 0, 1, 700, 10_000_000, 40_000_000_000])
        payload = rng.randbytes(rng.choice([8, 8, 8, 8, rng.randrange(8)])).hex()
        name = rng.choice([f"18FEF1{rng.randrange(256):02X}", "123"])
        found.append(f"({at_us / 1e6:.6f}) {rng.choice(channels)} {name}#{payload}")
        if number == n // 2:
            found += [
                f"({at_us / 1e6:.6f}) can0 1CECFF00#20140003FF1AFF00",
                f"({at_us / 1e6:.6f}) can0 1CEBFF00#0142C3A9726E6420",
                f"({at_us / 1e6:.6f}) can0 1CEBFF00#0248656C6C6F2077",
                f"({at_us / 1e6:.6f}) can0 1CEBFF00#036F726C642AFFFF",
            ]
    return "\n".join(found) + "\n"


def decoded(database: SignalDatabase, log: Path, *, keeps_codes: bool, staged_rows: int) -> list[DecodedMessage]:
    decoder = LogDecoder(database, keeps_codes=keeps_codes, staged_rows=staged_rows)
    return [message for batch in decoder.batches(open_log(log)) for message in batch.decoded]


def check(folder: Path, database: SignalDatabase, logs: list[Path], staged_rows: int, group_rows: int) -> None:
    """What two readers find in the files is what the frames hold."""
    for plan in database.messages:
        path = folder / f"{plan.name}.parquet"
        file = ParquetFile(path, plan, group_rows)
        frames = []
        for log in logs:
            for message in decoded(database, log, keeps_codes=True, staged_rows=staged_rows):
                if message.plan is plan:
                    file.add(message)
            values = decoded(database, log, keeps_codes=False, staged_rows=1000)
            frames += [message.frame() for message in values if message.plan is plan]
        file.close()
        table = pl.from_arrow(pq.read_table(path))
        assert isinstance(table, pl.DataFrame)
        assert table.equals(pl.read_parquet(path), null_equal=True)
        assert table.height == file.n_rows == sum(frame.height for frame in frames)
        if frames:
            assert table.schema == frames[0].schema
            assert table.equals(pl.concat(frames), null_equal=True), plan.name


@pytest.mark.parametrize(("staged_rows", "group_rows"), [(1, 1), (5, 12), (1000, 1000)])
def test_both_readers_find_the_frames(
    tmp_path: Path, database: SignalDatabase, staged_rows: int, group_rows: int
) -> None:
    logs = [tmp_path / "a.log", tmp_path / "b.log"]
    logs[0].write_text(lines(300, 1))
    logs[1].write_text(lines(40, 2, ("vcan7", "can1", "can0")))
    check(tmp_path, database, logs, staged_rows, group_rows)


@pytest.mark.parametrize("payload", ["FFFFFFFFFFFFFFFF", "0000000000000000", "00FEFFFFFFFFFFFF", "00"])
def test_columns_of_one_value_or_of_none(tmp_path: Path, database: SignalDatabase, payload: str) -> None:
    log = tmp_path / "a.log"
    log.write_text("".join(f"(16000000{number:02d}.000000) can0 18FEF100#{payload}\n" for number in range(17)))
    check(tmp_path, database, [log], 1000, 1000)


def test_a_file_without_rows_has_its_columns(tmp_path: Path, database: SignalDatabase) -> None:
    plan = database.message("FAST")
    file = ParquetFile(tmp_path / "a.parquet", plan, 10)
    file.close()
    frame = pl.read_parquet(tmp_path / "a.parquet")
    assert (frame.height, frame.width) == (0, 4 + len(plan.signals))


def test_a_file_that_is_only_released_is_none(tmp_path: Path, database: SignalDatabase) -> None:
    file = ParquetFile(tmp_path / "a.parquet", database.message("FAST"), 10)
    file.release()
    with pytest.raises(pl.exceptions.ComputeError):
        pl.read_parquet(tmp_path / "a.parquet")


@settings(max_examples=60, deadline=None)
@given(
    st.one_of(
        st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=300),
        st.integers(1, 600).flatmap(
            lambda n: st.integers(0, 62).map(lambda bits: [(i * 2654435761 % 997) << bits >> 10 for i in range(n)])
        ),
    )
)
def test_steps_of_any_size_come_back(numbers: list[int]) -> None:
    values = np.array(
        [number % 2**64 - (2**64 if number % 2**64 >= 2**63 else 0) for number in numbers], dtype=np.int64
    )
    assert unpack(time_steps(values)) == values.tolist()


def unpack(content: bytes) -> list[int]:
    """DELTA_BINARY_PACKED by its specification, a bit at a time."""
    at = 0

    def number() -> int:
        nonlocal at
        found = shift = 0
        while True:
            found |= (content[at] & 0x7F) << shift
            shift, at = shift + 7, at + 1
            if content[at - 1] < 0x80:
                return found

    def signed(zigzag: int) -> int:
        return zigzag >> 1 ^ -(zigzag & 1)

    block, parts, count = number(), number(), number()
    values = [signed(number())]
    while len(values) < count:
        least = signed(number())
        widths, at = content[at : at + parts], at + parts
        for width in widths:
            if len(values) >= count:
                break
            n_bytes = width * block // parts // 8
            bits = int.from_bytes(content[at : at + n_bytes], "little")
            at += n_bytes
            for i in range(block // parts):
                if len(values) < count:
                    step = bits >> i * width & (1 << width) - 1
                    values.append((values[-1] + least + step + 2**63) % 2**64 - 2**63)
    assert at == len(content)
    return values
