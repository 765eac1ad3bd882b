"""The spool: what is read is what was written, and nothing stays behind."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from j1939_lines import broadcast, coolant, engine_speed, trouble_code, written

from pm.canbus.dbc import load_dbc
from pm.canbus.decode import LogDecoder
from pm.canbus.logfile import open_log
from pm.errors import StoreError
from pm.pipelines.redecoding.spool import SpoolWriter, read_spool, require_free, spool_folder

PROJECT = Path(__file__).resolve().parents[2]
DATABASE = load_dbc(sorted((PROJECT / "dbc").glob("*.dbc")))
PLANS = {plan.name: plan for plan in DATABASE.messages}
START = int(datetime(2026, 3, 2, tzinfo=UTC).timestamp())


def decoded_log(path: Path) -> list[pl.DataFrame]:
    """Spools the log; what it was handed, in order."""
    given = []
    with SpoolWriter(path.with_suffix(".arrows"), least_free_bytes=0) as writer:
        for batch in LogDecoder(DATABASE, staged_rows=256).batches(open_log(path)):
            for message in batch.decoded:
                if message.n_rows:
                    writer.add(message)
                    given.append(message.frame())
            if batch.faults.height:
                writer.add_faults(batch.faults)
                given.append(batch.faults)
        assert writer.n_bytes > 0
    return given


def as_frames(path: Path) -> list[pl.DataFrame]:
    return [
        part if isinstance(part, pl.DataFrame) else part.frame()
        for part in read_spool(path.with_suffix(".arrows"), PLANS)
    ]


def test_batches_come_back_as_they_were_with_nulls_texts_channels_and_codes(tmp_path: Path) -> None:
    component = broadcast(START + 3, 65259, b"MAKE*MODEL*12345*UNIT*")
    lines = [
        *(coolant(START + at, at % 200, at % 3, f"can{at % 2}") for at in range(1000)),
        *(engine_speed(START + at, at) for at in range(300)),
        *(f"({START + at}.250000) can0 18FEEE00#FFFFFFFFFFFFFFFF\n" for at in range(5)),
        trouble_code(START + 4, 110, 0),
        component,
    ]
    path = written(tmp_path / "a.log", *lines)
    given = decoded_log(path)
    got = as_frames(path)
    assert len(given) > 6
    assert any(pl.String() in frame.drop("channel").dtypes for frame in given)
    assert [frame.schema for frame in got] == [frame.schema for frame in given]
    assert all(one.equals(other) for one, other in zip(given, got, strict=True))


def test_real_logs_come_back_as_they_were(tmp_path: Path, shared) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "a.log"
    path.symlink_to(shared("can/logs/P6_nmfta_SampleTruckData.log"))
    given = decoded_log(path)
    assert all(one.equals(other) for one, other in zip(given, as_frames(path), strict=True))


def test_a_signal_that_was_left_out_is_left_out_of_the_plan(tmp_path: Path) -> None:
    path = written(tmp_path / "a.log", coolant(START, 80))
    (batch,) = LogDecoder(DATABASE).batches(open_log(path))
    (message,) = batch.decoded
    fewer = message.only(replace(message.plan, signals=message.plan.signals[1:]))
    with SpoolWriter(tmp_path / "a.arrows", least_free_bytes=0) as writer:
        writer.add(fewer)
    (back,) = read_spool(tmp_path / "a.arrows", PLANS)
    assert not isinstance(back, pl.DataFrame)
    assert back.plan == fewer.plan
    assert back.frame().equals(fewer.frame())


def fail_in(folder: Path) -> None:
    with spool_folder(folder) as mine:
        assert mine.stat().st_mode & 0o077 == 0
        (mine / "file").write_bytes(b"x")
        raise KeyError


def test_the_folder_is_for_this_user_alone_and_gone_at_the_end(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        fail_in(tmp_path / "spool")
    assert not list((tmp_path / "spool").glob("redecode-*"))


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_holds_stays(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom pm.pipelines.redecoding.spool import spool_folder\n"
        "with spool_folder(Path(sys.argv[1])) as folder:\n"
        "    (folder / 'file').write_bytes(b'x')\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ran = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False, cwd=PROJECT)
    assert ran.returncode == -signal.SIGKILL
    (left,) = tmp_path.glob("redecode-*")
    assert (left / "file").exists()
    with spool_folder(tmp_path) as mine, spool_folder(tmp_path) as other:
        assert not left.exists()
        assert mine.exists()
        assert other.exists()


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="spool .*: expected .* bytes free, but got"):
        require_free(tmp_path, 1 << 62)
    path = written(tmp_path / "a.log", coolant(START, 80))
    (batch,) = LogDecoder(DATABASE).batches(open_log(path))
    with (
        SpoolWriter(tmp_path / "a.arrows", least_free_bytes=1 << 62) as writer,
        pytest.raises(StoreError, match="bytes free"),
    ):
        writer.add(batch.decoded[0])


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="expected a folder to write to"), spool_folder(tmp_path / "file"):
        os._exit(1)
