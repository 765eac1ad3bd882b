"""A refused log waits in quarantine with its reason until it is taken, refused again or dropped."""

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from j1939_lines import coolant, written

from pm.canbus.decode import DECODER_VERSION
from pm.errors import DataError, StoreError
from pm.pipelines.executor import open_executor
from pm.pipelines.ingest import IngestJob, IngestReport, Keeping, ingest_logs
from pm.pipelines.quarantine import set_aside
from pm.pipelines.quarantine_drop import drop_quarantined
from pm.pipelines.quarantine_retry import retry_quarantined
from pm.policy import Policy
from pm.store import archive, logs, quarantine, vehicles

PROJECT = Path(__file__).resolve().parents[2]
DBC = (PROJECT / "dbc" / "j1939_open_subset.dbc",)
KNOWN_AT = datetime(2026, 3, 10, tzinfo=UTC)
NOON = int(datetime(2026, 3, 2, 12, tzinfo=UTC).timestamp())
VIN = "1PM00000000000001"


@pytest.fixture
def vehicle_id(conn: psycopg.Connection) -> int:
    return vehicles.add_vehicle(conn, fleet="north", vehicle_ref="T-1", known_at=KNOWN_AT)


@pytest.fixture
def keeping(tmp_path: Path) -> Keeping:
    return Keeping(str(tmp_path / "archive"))


@pytest.fixture
def ingest(database_url: str, vehicle_id: int, keeping: Keeping) -> Callable[..., IngestReport]:
    def ingested(path: Path, start: datetime | None = None, known_at: datetime = KNOWN_AT) -> IngestReport:
        job = IngestJob(path, vehicle_id, known_at, start)
        (report,) = ingest_logs(database_url, [job], dbc=DBC, policy=Policy(), keeping=keeping)
        return report

    return ingested


def screen_log(folder: Path, name: str = "screen.txt") -> Path:
    """Relative times: refused as long as nobody says when time zero was."""
    lines = [f" (00{at}.000000)  can0  18FEEE00   [8]  {80 + at:02X} FF FF FF FF FF FF FF\n" for at in (0, 4)]
    return written(folder / name, *lines)


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_refused_log_waits_with_its_reason_and_its_bytes(
    conn: psycopg.Connection, ingest: Callable[..., IngestReport], keeping: Keeping, vehicle_id: int, tmp_path: Path
) -> None:
    path = tmp_path / "bad.log"
    path.write_bytes(bytes(range(256)) * 40)
    report = ingest(path)
    assert report.exit_code == 3
    (row,) = quarantine.fetch_quarantine(conn).to_dicts()
    assert (row["vehicle_id"], row["sha256"], row["file_name"]) == (vehicle_id, sha256_of(path), "bad.log")
    assert (row["size_bytes"], row["known_at"], row["starts_at"]) == (path.stat().st_size, KNOWN_AT, None)
    assert (row["n_attempts"], row["decoder_version"]) == (1, DECODER_VERSION)
    assert row["reason"] == report.refused
    assert "bad.log: expected" in row["reason"]
    assert str(tmp_path) not in row["reason"]
    assert archive.has(str(keeping.archive), row["sha256"])
    assert logs.fetch_log_files(conn).is_empty()


def test_the_same_bytes_again_count_an_attempt_and_keep_what_the_first_was_told(
    conn: psycopg.Connection, ingest: Callable[..., IngestReport], tmp_path: Path
) -> None:
    ingest(screen_log(tmp_path))
    ingest(screen_log(tmp_path, "other.txt"), known_at=KNOWN_AT + timedelta(days=1))
    (row,) = quarantine.fetch_quarantine(conn).to_dicts()
    assert (row["n_attempts"], row["file_name"], row["known_at"]) == (2, "screen.txt", KNOWN_AT)
    assert row["first_refused_at"] < row["last_refused_at"]
    assert "other.txt: expected" in row["reason"]


def test_an_ingest_that_takes_the_bytes_takes_them_out_of_quarantine(
    conn: psycopg.Connection, ingest: Callable[..., IngestReport], keeping: Keeping, tmp_path: Path
) -> None:
    path = screen_log(tmp_path)
    ingest(path)
    assert quarantine.fetch_quarantine(conn).height == 1
    assert ingest(path, KNOWN_AT - timedelta(days=1)).refused is None
    assert quarantine.fetch_quarantine(conn).is_empty()
    assert archive.has(str(keeping.archive), sha256_of(path))


def retry(database_url: str, conn: psycopg.Connection, keeping: Keeping, **more: object) -> tuple[IngestReport, ...]:
    files = quarantine.fetch_quarantine(conn)
    return retry_quarantined(database_url, files, dbc=DBC, policy=Policy(), keeping=keeping, **more)  # type: ignore[arg-type]


def test_a_retry_ingests_with_the_name_the_time_zero_and_the_known_at_the_log_came_with(
    database_url: str,
    conn: psycopg.Connection,
    ingest: Callable[..., IngestReport],
    keeping: Keeping,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path, start = screen_log(tmp_path), KNOWN_AT - timedelta(days=1)
    with monkeypatch.context() as older:
        older.setattr("pm.pipelines.log_transaction.open_log", _refuse)
        ingest(path, start)
    path.unlink()
    (report,) = retry(database_url, conn, keeping)
    assert (report.path, report.refused) == (Path("screen.txt"), None)
    assert quarantine.fetch_quarantine(conn).is_empty()
    (row,) = logs.fetch_log_files(conn).to_dicts()
    assert (row["file_name"], row["known_at"], row["starts_at"]) == ("screen.txt", KNOWN_AT, start)
    times = [row[0] for row in conn.execute("SELECT time FROM telemetry.et1 ORDER BY time").fetchall()]
    assert times == [start, start + timedelta(seconds=4)]


def _refuse(path: Path, **_: object) -> None:
    raise DataError(f"log {path}: expected a format that this version knows")


def test_a_retry_that_is_refused_again_has_the_new_reason_and_the_others_go_on(
    database_url: str,
    conn: psycopg.Connection,
    ingest: Callable[..., IngestReport],
    keeping: Keeping,
    tmp_path: Path,
) -> None:
    ingest(screen_log(tmp_path))
    ingest(written(tmp_path / "empty.log"))
    gone = written(tmp_path / "gone.log", "nothing that could be read\n")
    ingest(gone)
    archive.delete(str(keeping.archive), sha256_of(gone))
    reports = {str(report.path): report for report in retry(database_url, conn, keeping)}
    assert "screen.txt: expected the instant of time zero" in str(reports["screen.txt"].refused)
    assert "pm-retry" not in str(reports["screen.txt"].refused)
    assert (reports["empty.log"].exit_code, reports["gone.log"].exit_code) == (3, 4)
    assert "expected a file in the archive, but got none" in str(reports["gone.log"].refused)
    rows = {row["file_name"]: row for row in quarantine.fetch_quarantine(conn).to_dicts()}
    assert [rows[name]["n_attempts"] for name in ("screen.txt", "empty.log", "gone.log")] == [2, 2, 1]
    assert "pm-retry" not in rows["screen.txt"]["reason"]


def test_several_processes_retry_too(
    database_url: str, conn: psycopg.Connection, ingest: Callable[..., IngestReport], keeping: Keeping, tmp_path: Path
) -> None:
    ingest(screen_log(tmp_path))
    conn.execute("UPDATE pm.quarantine SET starts_at = %s", (KNOWN_AT - timedelta(days=1),))
    with open_executor(1) as executor:
        (report,) = retry(database_url, conn, keeping, executor=executor)
    assert report.refused is None
    assert quarantine.fetch_quarantine(conn).is_empty()


def test_what_is_dropped_leaves_the_archive_too_unless_something_else_has_these_bytes(
    database_url: str,
    conn: psycopg.Connection,
    ingest: Callable[..., IngestReport],
    keeping: Keeping,
    vehicle_id: int,
    tmp_path: Path,
) -> None:
    alone, shared = written(tmp_path / "alone.log", "nothing\n"), screen_log(tmp_path)
    ingest(alone)
    ingest(shared)
    other = vehicles.add_vehicle(conn, fleet="north", vehicle_ref="T-2", known_at=KNOWN_AT)
    job = IngestJob(shared, other, KNOWN_AT, KNOWN_AT - timedelta(days=1))
    ingest_logs(database_url, [job], dbc=DBC, policy=Policy(), keeping=keeping)
    files = quarantine.fetch_quarantine(conn)
    reports = drop_quarantined(database_url, files, archive_address=str(keeping.archive))
    assert {report.file_name: report.bytes_removed for report in reports} == {"alone.log": True, "screen.txt": False}
    assert quarantine.fetch_quarantine(conn).is_empty()
    assert not archive.has(str(keeping.archive), sha256_of(alone))
    assert archive.has(str(keeping.archive), sha256_of(shared))
    assert drop_quarantined(database_url, files, archive_address=str(keeping.archive)) == ()


def test_a_drop_whose_archive_fails_leaves_the_row(
    database_url: str, conn: psycopg.Connection, ingest: Callable[..., IngestReport], tmp_path: Path
) -> None:
    ingest(screen_log(tmp_path))
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="expected an archive to write to"):
        drop_quarantined(database_url, quarantine.fetch_quarantine(conn), archive_address=str(tmp_path / "file"))
    assert quarantine.fetch_quarantine(conn).height == 1


def test_neither_a_vin_nor_a_folder_gets_into_a_reason_or_a_name(
    conn: psycopg.Connection, ingest: Callable[..., IngestReport], tmp_path: Path
) -> None:
    folder = tmp_path / VIN
    folder.mkdir()
    ingest(screen_log(folder, f"{VIN}_log.txt"))
    (row,) = quarantine.fetch_quarantine(conn).to_dicts()
    assert row["file_name"] == "VIN_log.txt"
    assert "log VIN_log.txt: expected" in row["reason"]
    assert VIN not in str(row)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path.mkdir(), "expected a file, but got a directory"),
        (str, "not kept in quarantine"),
        (lambda path: path.write_bytes(bytes(300)), "expected at most 200 bytes, but got 300"),
    ],
    ids=["directory", "absent", "too_large"],
)
def test_what_cannot_be_kept_is_refused_and_says_so(
    conn: psycopg.Connection,
    keeping: Keeping,
    vehicle_id: int,
    tmp_path: Path,
    make: Callable[[Path], object],
    said: str,
) -> None:
    path = tmp_path / "a.log"
    make(path)
    done = set_aside(
        conn,
        path,
        f"log {path}: expected another",
        archive_address=str(keeping.archive),
        vehicle_id=vehicle_id,
        known_at=KNOWN_AT,
        starts_at=None,
        largest_bytes=200,
    )
    assert done.sha256 is None
    assert done.reason.startswith("log a.log: expected another; not kept in quarantine: expected a")
    assert said in done.reason
    assert quarantine.fetch_quarantine(conn).is_empty()
    assert not Path(str(keeping.archive)).exists()


def test_bytes_that_are_stored_for_the_vehicle_are_not_set_aside(
    conn: psycopg.Connection, ingest: Callable[..., IngestReport], keeping: Keeping, vehicle_id: int, tmp_path: Path
) -> None:
    path = written(tmp_path / "a.log", coolant(NOON, 80))
    ingest(path)
    done = set_aside(
        conn,
        path,
        "log a.log: expected another",
        archive_address=str(keeping.archive),
        vehicle_id=vehicle_id,
        known_at=KNOWN_AT,
        starts_at=None,
    )
    assert (done.sha256, done.reason) == (None, "log a.log: expected another")
    assert quarantine.fetch_quarantine(conn).is_empty()


def test_files_are_found_by_the_first_digits_and_by_vehicle(
    conn: psycopg.Connection, ingest: Callable[..., IngestReport], vehicle_id: int, tmp_path: Path
) -> None:
    path = screen_log(tmp_path)
    ingest(path)
    ingest(written(tmp_path / "empty.log"))
    assert quarantine.fetch_quarantine(conn, prefix=sha256_of(path)[:8])["file_name"].to_list() == ["screen.txt"]
    assert quarantine.fetch_quarantine(conn, prefix="%").is_empty()
    assert quarantine.fetch_quarantine(conn, vehicle_ids=[vehicle_id]).height == 2
    assert quarantine.fetch_quarantine(conn, vehicle_ids=[]).is_empty()
