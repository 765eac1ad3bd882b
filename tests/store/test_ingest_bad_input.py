"""Bad input of `pm ingest`: file and reason are named, the exit code is as documented, the tables as before."""

import gzip
import json
import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import can
import psycopg
import pytest
from canbus_mdf import Group, MdfWriter, Row, data_group, records_of
from database_content import Content, content_of
from j1939_lines import SMALL_DBC, coolant, engine_speed, trouble_code, written

from pm.cli import main
from pm.errors import ConfigError, DataError, PmError, StoreError
from pm.settings import Settings
from pm.store import vehicles

NOON = int(datetime(2026, 3, 2, 12, tzinfo=UTC).timestamp())
KNOWN_AT = datetime(2026, 3, 10, tzinfo=UTC)
COOLANT_ID = 0x18FEEE00

Pm = Callable[..., tuple[int, str]]


@pytest.fixture
def pm(settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Pm:
    """`pm ingest` with these arguments in this process: exit code, and what was said on stderr."""
    assert settings.database_url is not None
    monkeypatch.setenv("PM_DATABASE_URL", settings.database_url)
    monkeypatch.setenv("PM_HOME", str(settings.home))

    def run(*arguments: object) -> tuple[int, str]:
        given = ["pm", "ingest", "--known-at", KNOWN_AT.isoformat(), *map(str, arguments)]
        monkeypatch.setattr("sys.argv", given)
        capsys.readouterr()
        try:
            main()
        except SystemExit as end:
            code = end.code
        else:
            code = 0
        said = capsys.readouterr().err
        assert "Traceback" not in said
        assert isinstance(code, int)
        return code, said

    return run


@pytest.fixture
def dbc(tmp_path: Path) -> Path:
    return written(tmp_path / "small.dbc", SMALL_DBC)


@pytest.fixture
def stored(conn: psycopg.Connection, pm: Pm, dbc: Path, tmp_path: Path) -> Content:
    """The tables after a good file of the same messages."""
    vehicles.add_vehicle(conn, fleet="north", vehicle_ref="T-1", known_at=KNOWN_AT)
    good = written(tmp_path / "good.log", coolant(NOON, 80), engine_speed(NOON, 900), trouble_code(NOON, 110, 0))
    taken(pm("--vehicle", "T-1", "--dbc", dbc, good))
    return tables(conn)


def tables(conn: psycopg.Connection) -> Content:
    """What stands in the database but for the note of what was refused."""
    return {name: rows for name, rows in content_of(conn).items() if name != "pm.quarantine"}


def taken(done: tuple[int, str]) -> None:
    code, said = done
    assert code == 0, said
    assert "error" not in said


def refused(code_of: type[PmError], done: tuple[int, str], *words: str) -> None:
    code, said = done
    assert code == code_of.exit_code
    assert "error: " in said
    for word in words:
        assert word in said


def blf_bytes(folder: Path) -> bytes:
    path = folder / "whole.blf"
    with can.BLFWriter(path) as writer:
        for at in range(3000):
            payload = [80 + at % 100, at % 256, at // 256 % 256, 255, 255, 255, 255, 255]
            writer(can.Message(timestamp=NOON + at / 10, arbitration_id=COOLANT_ID, data=payload, channel=0))
    return path.read_bytes()


def mf4_bytes() -> bytes:
    payloads = [bytes([80 + at % 100] + [255] * 7) for at in range(3000)]
    frames: list[Row] = [(at * 100_000, "1", COOLANT_ID, True, payload) for at, payload in enumerate(payloads)]
    file = MdfWriter()
    return file.finish([data_group(file, file.data(records_of(frames)), Group(n_records=len(frames)))])


def text_bytes() -> bytes:
    return "".join(coolant(NOON + 100 + at, 60 + at % 90) for at in range(3000)).encode("ascii")


def truncated(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of files that end too early."""
    for name, whole in (
        ("cut.blf", blf_bytes(folder)),
        ("cut.mf4", mf4_bytes()),
        ("cut.log.gz", gzip.compress(text_bytes())),
    ):
        yield name, whole[: len(whole) * 2 // 3]


def test_whole_files_of_these_kinds_go_in(
    conn: psycopg.Connection, stored: Content, pm: Pm, dbc: Path, tmp_path: Path
) -> None:
    """Else the tests of their truncated halves would prove nothing."""
    whole = [("a.blf", blf_bytes(tmp_path)), ("a.mf4", mf4_bytes()), ("a.log.gz", gzip.compress(text_bytes()))]
    for name, content in whole:
        path = tmp_path / name
        path.write_bytes(content)
        taken(pm("--vehicle", "T-1", "--dbc", dbc, path))
    assert conn.execute("SELECT count(*) FROM pm.log_file").fetchone() == (4,)


def test_an_unreadable_or_truncated_file_is_refused_by_name_and_the_next_one_goes_in(
    conn: psycopg.Connection, stored: Content, pm: Pm, dbc: Path, tmp_path: Path
) -> None:
    bad = [("nothing.log", b""), ("garbage.bin", bytes(range(256)) * 64), *truncated(tmp_path)]
    for number, (name, content) in enumerate(bad, 1):
        path = tmp_path / name
        path.write_bytes(content)
        before = tables(conn)
        refused(DataError, pm("--vehicle", "T-1", "--dbc", dbc, path), name, "expected", "but got")
        assert tables(conn) == before, name
        good = written(tmp_path / f"good-{number}.log", coolant(NOON + 10_000 + number, 70))
        refused(DataError, pm("--vehicle", "T-1", "--dbc", dbc, path, good), name)
        assert conn.execute("SELECT count(*) FROM pm.log_file").fetchone() == (1 + number,)


def test_impossible_times_are_left_out_counted_by_reason_and_mark_no_day(
    conn: psycopg.Connection, stored: Content, pm: Pm, dbc: Path, tmp_path: Path
) -> None:
    conn.execute("DELETE FROM pm.dirty_day")
    far = int((KNOWN_AT + timedelta(days=2)).timestamp())
    near = int((KNOWN_AT + timedelta(seconds=200)).timestamp())  # within the policy's tolerance of 300 s
    early = int(datetime(1999, 12, 31, 23, 59, tzinfo=UTC).timestamp())
    path = written(
        tmp_path / "clock.log",
        coolant(early, 70), trouble_code(early, 110, 0), coolant(NOON + 1, 71), coolant(near, 72),
        coolant(far, 73), engine_speed(far + 1, 700), trouble_code(far, 110, 0),
    )  # fmt: skip
    taken(pm("--vehicle", "T-1", "--dbc", dbc, path))
    query = "SELECT rejected_json FROM pm.log_file WHERE file_name = 'clock.log'"
    assert conn.execute(query).fetchone() == ({"time_before_floor": 2, "time_after_known": 3},)
    found = tables(conn)
    assert [json.loads(row)["day"] for row in found["pm.dirty_day"]] == ["2026-03-02", "2026-03-10"]
    assert len(found["telemetry.et1"]) == len(stored["telemetry.et1"]) + 2
    assert found["telemetry.eec1"] == stored["telemetry.eec1"]
    assert found["pm.fault"] == stored["pm.fault"]


def test_an_unknown_vehicle_is_named_and_nothing_is_stored(
    conn: psycopg.Connection, stored: Content, pm: Pm, dbc: Path, tmp_path: Path
) -> None:
    path = written(tmp_path / "new.log", coolant(NOON + 50, 80))
    refused(DataError, pm("--vehicle", "T-9", "--dbc", dbc, path), "T-9", "expected a known vehicle")
    assert tables(conn) == stored


@pytest.mark.parametrize("content", [None, "BO_ no DBC at all", ""])
def test_a_dbc_that_is_missing_or_none_is_named(
    conn: psycopg.Connection, stored: Content, pm: Pm, tmp_path: Path, content: str | None
) -> None:
    wrong = tmp_path / "wrong.dbc"
    if content is not None:
        wrong.write_text(content, encoding="ascii")
    path = written(tmp_path / "new.log", coolant(NOON + 50, 80))
    refused(ConfigError, pm("--vehicle", "T-1", "--dbc", wrong, path), "wrong.dbc", "but got")
    assert tables(conn) == stored


@pytest.mark.parametrize(
    ("address", "kind"), [("{folder}/a-file/archive", StoreError), ("nosuchstore://bucket/logs", ConfigError)]
)
def test_without_its_archive_a_file_is_not_stored(
    conn: psycopg.Connection, stored: Content, pm: Pm, dbc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    address: str, kind: type[PmError],
) -> None:  # fmt: skip
    (tmp_path / "a-file").write_bytes(b"no folder")
    path = written(tmp_path / "new.log", coolant(NOON + 50, 80), trouble_code(NOON + 50, 110, 0))
    monkeypatch.setenv("PM_ARCHIVE", address.format(folder=tmp_path))
    refused(kind, pm("--vehicle", "T-1", "--dbc", dbc, path), "archive")
    assert tables(conn) == stored
    monkeypatch.delenv("PM_ARCHIVE")
    taken(pm("--vehicle", "T-1", "--dbc", dbc, path))
    assert len(tables(conn)["telemetry.et1"]) == len(stored["telemetry.et1"]) + 1


def test_a_database_that_does_not_answer_is_named_without_its_password(
    stored: Content, pm: Pm, dbc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        monkeypatch.setenv("PM_DATABASE_URL", f"postgresql://pm:s3cret@127.0.0.1:{port}/pm")
        path = written(tmp_path / "new.log", coolant(NOON + 50, 80))
        code, said = pm("--vehicle", "T-1", "--dbc", dbc, path)
    refused(StoreError, (code, said), f"127.0.0.1:{port}")
    assert "s3cret" not in said
