"""No bytes make the readers hang, grow, or raise anything but the product's own errors."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random
from unittest import mock

import pytest
from canbus_dbc_strategies import databases, dbc_text
from canbus_fuzz import CASE_S, DBC, EPOCH, damaged, fault_of, messages, samples, timed_fault_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pm.canbus.dbc import SignalDatabase, load_dbc
from pm.canbus.formats import blf, block, lines, mdf
from pm.canbus.logfile import open_log
from pm.errors import ConfigError

PROJECT = Path(__file__).resolve().parents[2]
FIXED = settings(deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
STARTS = (
    b"",
    b"(1600000000.000000) can0 18FEF100#",
    b" (000.000000)  can0  18FEF100   [8]  ",
    b"(1600000000.1) can0 123##1",
    b"date Wed Apr 16 09:21:13.159 am 2014\nbase hex  timestamps absolute\n   0.1 1  123 Rx   d ",
    b";$FILEVERSION=1.1\n;$STARTTIME=43970.5\n  1)  1.0  Rx  0123  8  ",
    b";$FILEVERSION=2.0\n;$COLUMNS=N,O,T,I,d,l,D\n 1 ",
    b"timestamp,arbitration_id,extended,remote,error,dlc,data\n1600000000.0,0x123,0,0,0,8,",
    b"Time,Chn,ID,Dir,DLC,Data\n1,",
    b"LOGG",
    b"LOGG\x90\0\0\0\x05\0\0\0LOBJ",
    b"MDF     4.10    ",
    b"UnFinMF 4.11    ",
    b"\x1f\x8b\x08\0",
    b"PK\x03\x04",
    b"\x28\xb5\x2f\xfd",
)


def check_log(content: bytes, database: SignalDatabase) -> None:
    """Decode the bytes as a log within the time of a case."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.log"
        path.write_bytes(content)
        said, _ = timed_fault_of(path, database)
        assert said is None


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> SignalDatabase:
    path = tmp_path_factory.mktemp("fuzz") / "fuzz.dbc"
    path.write_text(DBC)
    loaded = load_dbc([path])
    assert len(loaded.messages) == 3
    return loaded


@settings(FIXED, max_examples=250)
@given(start=st.sampled_from(STARTS), rest=st.binary(max_size=300), lines=st.lists(st.binary(max_size=40), max_size=4))
def test_any_bytes(database: SignalDatabase, start: bytes, rest: bytes, lines: list[bytes]) -> None:
    check_log(start + rest + b"\n" + b"\n".join(start + line for line in lines), database)


@settings(FIXED, max_examples=150)
@given(start=st.sampled_from(STARTS), rest=st.text("0123456789abcdefABCDEF #.,:;()[]xRXTd-+\t\r\n", max_size=200))
def test_any_text_of_the_characters_of_logs(database: SignalDatabase, start: bytes, rest: str) -> None:
    check_log(start + rest.encode(), database)


@pytest.mark.parametrize("filling", [b"\0", b"0", b"(", b" ", b"\n", b"1600000000 ", b"(1.0) can0 123#", b"LOBJ"])
def test_long_files_of_one_pattern(database: SignalDatabase, filling: bytes) -> None:
    for start in STARTS:
        check_log(start + filling * (300_000 // len(filling)), database)


def test_damaged_logs_of_every_format(tmp_path: Path) -> None:
    # A process of its own: it checks every index, and a kernel in an endless loop ends it alone.
    environment = {**os.environ, "NUMBA_BOUNDSCHECK": "1", "PYTHONPATH": str(PROJECT)}
    script = PROJECT / "tests" / "support" / "canbus_fuzz.py"
    done = subprocess.run(
        [sys.executable, script, tmp_path, "60", "0"],
        env=environment, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-3000:]}"
    assert " logs, slowest" in done.stdout


def frames_of(path: Path) -> tuple[list[tuple[object, ...]], dict[str, int]]:
    """Time, channel, identifier, width and payload of every frame; what was rejected."""
    log, rows = open_log(path, start=EPOCH), []
    for part in log.blocks():
        payloads = [row[:n].tobytes() for row, n in zip(part.data, part.length.tolist(), strict=True)]
        names = [part.channels[number] for number in part.channel]
        columns = part.time_us.tolist(), names, part.can_id.tolist(), part.is_extended.tolist(), payloads
        rows += zip(*columns, strict=True)
    return rows, log.rejected


def test_blocks_change_no_frame_of_any_format(tmp_path: Path) -> None:
    for name, content in samples(tmp_path).items():
        path = tmp_path / f"whole.{name}"
        path.write_bytes(content)
        whole = frames_of(path)
        assert len(whole[0]) > 30
        for size in (1, 7, 100):
            with (
                mock.patch.object(lines, "READ_BYTES", size),
                mock.patch.object(block, "BLOCK_FRAMES", size),
                mock.patch.object(blf, "BLOCK_FRAMES", size),
                mock.patch.object(mdf, "BLOCK_FRAMES", size),
            ):
                assert frames_of(path) == whole, (name, size)


def test_an_index_out_of_bounds_is_seen(tmp_path: Path) -> None:
    # The test above would see nothing if kernels were not checked, or if a reader's message hid what happened.
    script = (
        "import numpy as np\nfrom pm.canbus.jit import kernel\n"
        "@kernel\ndef last(values, at):\n    return values[at]\n"
        "try:\n    last(np.zeros(4), 5)\nexcept IndexError as reason:\n    print(reason)\n"
    )
    path = tmp_path / "reads_outside.py"
    path.write_text(script)
    environment = {**os.environ, "NUMBA_BOUNDSCHECK": "1", "PYTHONPATH": str(PROJECT), "PYTHONDONTWRITEBYTECODE": "1"}
    said = subprocess.run([sys.executable, path], env=environment, capture_output=True, text=True, check=True)
    assert "out of bounds" in said.stdout


def test_a_fault_is_told(database: SignalDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.log"
    path.write_text("(1600000000.000000) can0 123#00\n")
    assert fault_of(path, database) is None
    for error in (IndexError("index is out of bounds"), KeyError("x")):
        monkeypatch.setattr("pm.canbus.decode.Payloads", lambda *_, error=error: (_ for _ in ()).throw(error))
        assert type(error).__name__ in str(fault_of(path, database))


def check_dbc(content: bytes, log: Path) -> bool:
    """Load the bytes as a DBC file and decode a log with it; whether it was accepted."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.dbc"
        path.write_bytes(content)
        began = time.perf_counter()
        try:
            loaded = load_dbc([path])
        except ConfigError:
            return False
        finally:
            assert time.perf_counter() - began < CASE_S
        assert fault_of(log, loaded) is None
        return True


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fuzz") / "a.log"
    with path.open("w") as out:
        for at, message in enumerate(messages()):
            if not (message.is_remote_frame or message.is_error_frame):
                identifier = f"{message.arbitration_id:{'08X' if message.is_extended_id else '03X'}}"
                mark = "##1" if message.is_fd else "#"
                out.write(f"({1_600_000_000 + at}.000000) can0 {identifier}{mark}{message.data.hex()}\n")
    return path


@settings(FIXED, max_examples=60)
@given(messages=databases(most=2), seed=st.integers(0, 1 << 32))
def test_damaged_dbc_files(log: Path, messages: list[object], seed: int) -> None:
    rng = Random(seed)
    whole = dbc_text(messages).encode()  # type: ignore[arg-type]
    check_dbc(damaged(whole, rng, [DBC.encode(), whole]), log)


def test_damaged_dbc_files_of_all_statements(log: Path) -> None:
    whole = (
        DBC + 'BA_DEF_ SG_ "SPN" INT 0 524287;\nBA_DEF_DEF_ "SPN" 0;\nBA_ "SPN" SG_ 2566844926 Speed 84;\n'
        'BA_DEF_ SG_ "SystemSignalLongSymbol" STRING ;\nBA_DEF_DEF_ "SystemSignalLongSymbol" "";\n'
        'BA_ "SystemSignalLongSymbol" SG_ 291 m "a name of more than 32 characters";\nCM_ SG_ 291 m "said // so";\n'
        'VAL_ 291 m 1 "one" 2 "two" ;\nSG_MUL_VAL_ 291 a m 1-1, 3-5;\nSG_MUL_VAL_ 291 b m 2-2;\n'
    ).encode()
    assert check_dbc(whole, log)
    taken = [check_dbc(damaged(whole, Random(seed), [whole]), log) for seed in range(400)]
    assert 20 < sum(taken) < 380


@settings(FIXED, max_examples=60)
@given(st.binary(max_size=200), st.sampled_from([b"", DBC.encode()[:100], b'VERSION ""\n', b"BO_ 1 A: 8 X\n SG_ "]))
def test_any_bytes_as_a_dbc_file(log: Path, rest: bytes, start: bytes) -> None:
    check_dbc(start + rest, log)


@pytest.mark.parametrize(
    "filling", ['"', "//", "BO_ ", "SG_ a : ", "(", "SG_MUL_VAL_ 1 a b 0-1,", 'CM_ "', '\\"', "\t"]
)
def test_long_dbc_files_of_one_pattern(log: Path, filling: str) -> None:
    check_dbc(DBC.encode() + (filling * (200_000 // len(filling))).encode(), log)
