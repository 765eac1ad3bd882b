"""The same file again, under another name, from two workers, after kill -9 at any point: the same tables.

What is compared: `database_content.content_of` (rows, read without the product) and, as a second opinion,
`pm.store.checksums`. The server's death is in `test_exactly_once_server_death.py`.
"""

import gzip
import hashlib
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from datetime import UTC, date, datetime, timedelta
from itertools import count
from pathlib import Path

import psycopg
import pytest
from database_content import Content, content_of
from j1939_lines import SMALL_DBC, coolant, engine_speed, trouble_code, vehicle_identification, written
from killed_ingest import Death, Ended, Ingester

from pm.canbus.dbc import load_dbc
from pm.errors import StoreError
from pm.pipelines.dailies import refresh_dailies
from pm.pipelines.executor import open_executor
from pm.pipelines.ingest import IngestJob, IngestReport, ingest_log, ingest_logs
from pm.policy import Policy
from pm.store import archive, logs, vehicles
from pm.store.checksums import differences, table_checksums

KNOWN_AT = datetime(2026, 3, 10, tzinfo=UTC)
MIDNIGHT = int(datetime(2026, 3, 3, tzinfo=UTC).timestamp())
VIN = "1PM00000000000001"

_numbers = count(1)


def small_log(folder: Path) -> Path:
    """Two messages, two sources, a trouble code, a VIN; two days."""
    return written(
        folder / "small.log",
        *(coolant(MIDNIGHT - 3 + at, 80 + at) for at in range(6)),
        *(engine_speed(MIDNIGHT - 2 + at, 900 + at, source) for at in range(4) for source in (0, 3)),
        trouble_code(MIDNIGHT + 3.5, 110, 0),
        vehicle_identification(MIDNIGHT + 5, VIN),
    )


def overlapping_log(folder: Path) -> Path:
    """Some rows of `small_log` with other values, and some of its own."""
    return written(
        folder / "overlapping.log",
        *(coolant(MIDNIGHT + at, 20 + at) for at in range(5)),
        trouble_code(MIDNIGHT + 3.5, 110, 0, n_times=9),
        trouble_code(MIDNIGHT + 4.5, 190, 2),
    )


@pytest.fixture(scope="module")
def dbc(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    return (written(tmp_path_factory.mktemp("dbc") / "small.dbc", SMALL_DBC),)


@pytest.fixture(scope="module")
def ingester() -> Iterator[Ingester]:
    with Ingester() as running:
        yield running


@pytest.fixture(scope="module")
def two_workers() -> Iterator[Executor]:
    with open_executor(2) as executor:
        yield executor


def new_vehicle(conn: psycopg.Connection) -> int:
    return vehicles.add_vehicle(conn, fleet="north", vehicle_ref=f"T-{next(_numbers)}", known_at=KNOWN_AT)


@pytest.fixture
def vehicle_id(conn: psycopg.Connection) -> int:
    return new_vehicle(conn)


def forget_all(conn: psycopg.Connection) -> None:
    """As before the first file; waits for what a killed process left running in the server."""
    tables = conn.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'telemetry'").fetchall()
    for (name,) in tables:
        conn.execute(f'DROP TABLE telemetry."{name}" CASCADE')
    conn.execute(
        "TRUNCATE pm.log_file, pm.log_signal, pm.fault, pm.dirty_day, pm.signal, pm.vehicle_identity, pm.quarantine"
    )


def read_at_once(conn: psycopg.Connection, vehicle_id: int | None = None) -> Content:
    """The content in one snapshot."""
    with conn.transaction():
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        return content_of(conn, vehicle_id=vehicle_id)


def of_files(content: Content) -> Content:
    """Without what is there before any file."""
    return {table: rows for table, rows in content.items() if table not in ("pm.vehicle", "pm.signal")}


def deaths(n_points: int, *, step: int = 1) -> Iterator[Death]:
    """Killed before the point is said at the odd ones, after it was sent at the even ones, both ways at the last six.

    With `step`, of the points before the last sixteen every so many. All of them take minutes; they were run once.
    """
    for at in range(1, n_points + 1):
        is_last = at > n_points - 6
        if at <= n_points - 16 and at % step:
            continue
        if is_last or at % 2:
            yield Death(at, "before")
        if is_last or not at % 2:
            yield Death(at, "sent")


def test_killed_at_any_point_of_the_first_file_and_once_more_in_full(
    conn: psycopg.Connection,
    database_url: str,
    vehicle_id: int,
    dbc: tuple[Path, ...],
    ingester: Ingester,
    tmp_path: Path,
) -> None:
    path = small_log(tmp_path)

    def ingest(death: Death | None = None) -> Ended:
        return ingester.ingest(database_url, path, vehicle_id, KNOWN_AT, dbc, death)

    undisturbed = ingest()
    assert undisturbed.error is None
    assert undisturbed.n_points > 20
    wanted, sums = content_of(conn), table_checksums(conn, form="content")
    assert len(wanted["telemetry.et1"]) == 6
    assert len(wanted["telemetry.eec1"]) == 8
    assert len(wanted["pm.fault"]) == len(wanted["pm.vehicle_identity"]) == 1
    n_committed = 0
    for death in deaths(undisturbed.n_points, step=5):
        forget_all(conn)
        assert ingest(death).signal == signal.SIGKILL, death
        half_way = of_files(read_at_once(conn))
        assert half_way in ({}, of_files(wanted)), death
        n_committed += bool(half_way)
        again = ingest()
        assert again.error is None, (death, again.said)
        assert content_of(conn) == wanted, death
        assert differences(sums, table_checksums(conn, form="content")) == (), death
    assert n_committed < 8


def test_killed_at_any_point_of_an_overlapping_file_and_once_more_in_full(
    conn: psycopg.Connection,
    database_url: str,
    vehicle_id: int,
    dbc: tuple[Path, ...],
    ingester: Ingester,
    tmp_path: Path,
) -> None:
    first, second = small_log(tmp_path), overlapping_log(tmp_path)
    earlier = KNOWN_AT - timedelta(days=1)

    def first_stored() -> tuple[int, Content]:
        owner = new_vehicle(conn)
        assert ingester.ingest(database_url, first, owner, KNOWN_AT, dbc).error is None
        return owner, content_of(conn, vehicle_id=owner)

    undisturbed_id, before = first_stored()
    undisturbed = ingester.ingest(database_url, second, undisturbed_id, earlier, dbc)
    wanted = content_of(conn, vehicle_id=undisturbed_id)
    assert len(wanted["telemetry.et1"]) == 8  # its own two, and three written over
    for death in deaths(undisturbed.n_points, step=5):
        owner, stored = first_stored()
        assert stored == before
        assert ingester.ingest(database_url, second, owner, earlier, dbc, death).signal == signal.SIGKILL, death
        assert read_at_once(conn, owner) in (before, wanted), death
        again = ingester.ingest(database_url, second, owner, earlier, dbc)
        assert again.error is None, (death, again.said)
        assert content_of(conn, vehicle_id=owner) == wanted, death


def test_a_session_that_ends_at_any_point_is_a_store_error_and_leaves_all_or_nothing(
    conn: psycopg.Connection, database_url: str, vehicle_id: int, dbc: tuple[Path, ...], ingester: Ingester,
    tmp_path: Path,
) -> None:  # fmt: skip
    path = small_log(tmp_path)

    def ingest(owner: int, death: Death | None = None) -> Ended:
        return ingester.ingest(database_url, path, owner, KNOWN_AT, dbc, death)

    assert ingest(vehicle_id).error is None  # makes tables and chunks
    another = new_vehicle(conn)
    undisturbed = ingest(another)
    wanted = content_of(conn, vehicle_id=another)
    others = []
    for at in range(2, undisturbed.n_points + 1):  # the first is said while connecting
        owner = new_vehicle(conn)
        ended = ingest(owner, Death(at, "before", "session"))
        if ended.error != StoreError.__name__:
            others.append((at, ended.error, ended.said))
        assert read_at_once(conn, owner) in ({}, wanted), at
        if at % 10 == 0:
            assert ingest(owner).error is None, at
            assert content_of(conn, vehicle_id=owner) == wanted, at
    assert not others, others


def test_killed_with_an_archive_what_is_stored_can_be_decoded_again(
    conn: psycopg.Connection, database_url: str, vehicle_id: int, dbc: tuple[Path, ...], ingester: Ingester,
    tmp_path: Path,
) -> None:  # fmt: skip
    path = small_log(tmp_path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()

    def ingest(owner: int, folder: Path, death: Death | None = None) -> Ended:
        return ingester.ingest(database_url, path, owner, KNOWN_AT, dbc, death, archive=folder)

    ingest(vehicle_id, tmp_path / "undisturbed")  # makes tables and chunks
    another = new_vehicle(conn)
    undisturbed = ingest(another, tmp_path / "undisturbed too")
    wanted = content_of(conn, vehicle_id=another)
    for death in deaths(undisturbed.n_points, step=10):
        owner, folder = new_vehicle(conn), tmp_path / f"archive-{death.at}-{death.moment}"
        assert ingest(owner, folder, death).signal == signal.SIGKILL, death
        half_way = read_at_once(conn, owner)
        assert half_way == {} or (half_way == wanted and archive.has(str(folder), sha256)), death
        assert ingest(owner, folder).error is None, death
        assert content_of(conn, vehicle_id=owner) == wanted, death
        again = archive.fetch(str(folder), sha256, tmp_path, f"again-{death.at}-{death.moment}")
        assert again.read_bytes() == path.read_bytes()


def test_killed_while_a_bad_file_is_set_aside_it_waits_in_quarantine_once(
    conn: psycopg.Connection, database_url: str, vehicle_id: int, dbc: tuple[Path, ...], ingester: Ingester,
    tmp_path: Path,
) -> None:  # fmt: skip
    path = tmp_path / "cut.log.gz"
    path.write_bytes(gzip.compress(small_log(tmp_path).read_bytes())[:-30])
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()

    def ingest(owner: int, folder: Path, death: Death | None = None) -> Ended:
        return ingester.ingest(database_url, path, owner, KNOWN_AT, dbc, death, archive=folder)

    undisturbed = ingest(vehicle_id, tmp_path / "undisturbed")
    assert "cut.log.gz" in undisturbed.said
    wanted = content_of(conn, vehicle_id=vehicle_id)
    assert list(wanted) == ["pm.quarantine"]
    for death in deaths(undisturbed.n_points, step=4):
        owner, folder = new_vehicle(conn), tmp_path / f"archive-{death.at}-{death.moment}"
        assert ingest(owner, folder, death).signal == signal.SIGKILL, death
        half_way = read_at_once(conn, owner)
        assert half_way == {} or (half_way == wanted and archive.has(str(folder), sha256)), death
        assert ingest(owner, folder).said == undisturbed.said, death
        (row,) = content_of(conn, vehicle_id=owner)["pm.quarantine"]
        assert [row.replace('"n_attempts": 2', '"n_attempts": 1')] == wanted["pm.quarantine"], death
        assert archive.has(str(folder), sha256)


@pytest.fixture
def stored(conn: psycopg.Connection, vehicle_id: int, dbc: tuple[Path, ...], tmp_path: Path) -> Path:
    """A file that is committed, its days aggregated."""
    path = small_log(tmp_path)
    ingest_log(conn, IngestJob(path, vehicle_id, KNOWN_AT), load_dbc(dbc), Policy())
    logs.clear_dirty(conn, logs.fetch_dirty(conn))
    return path


@pytest.mark.parametrize("name", ["small.log", "another name.log"])
def test_the_same_bytes_again_change_nothing_and_mark_no_day(
    conn: psycopg.Connection, vehicle_id: int, dbc: tuple[Path, ...], stored: Path, name: str
) -> None:
    before, sums = content_of(conn), table_checksums(conn, form="exact")
    copy = stored.with_name(name)
    copy.write_bytes(stored.read_bytes())
    again = ingest_log(conn, IngestJob(copy, vehicle_id, KNOWN_AT - timedelta(days=3)), load_dbc(dbc), Policy())
    assert again.log_file_id is None
    assert content_of(conn) == before
    assert differences(sums, table_checksums(conn, form="exact")) == ()
    assert logs.fetch_dirty(conn).is_empty()


def test_the_same_bytes_from_two_workers_at_once_are_stored_once(
    conn: psycopg.Connection, database_url: str, dbc: tuple[Path, ...], two_workers: Executor, tmp_path: Path
) -> None:
    alone, together = new_vehicle(conn), new_vehicle(conn)
    path = small_log(tmp_path)
    copy = tmp_path / "another name.log"
    copy.write_bytes(path.read_bytes())
    _ingest((database_url, dbc, [IngestJob(path, alone, KNOWN_AT)]))
    jobs = [IngestJob(each, together, KNOWN_AT) for each in (path, copy)]
    reports = [*two_workers.map(_ingest, [(database_url, dbc, [job]) for job in jobs])]
    assert sorted(report.log_file_id is None for (report,) in reports) == [False, True]
    found, wanted = (_without_names(content_of(conn, vehicle_id=owner)) for owner in (together, alone))
    assert found == wanted


def _ingest(arguments: tuple[str, tuple[Path, ...], Sequence[IngestJob]]) -> tuple[IngestReport, ...]:
    url, dbc, jobs = arguments
    return ingest_logs(url, jobs, dbc=dbc, policy=Policy())


def _without_names(content: Content) -> Content:
    """Of one file under two names, the first to come gives its name."""
    names = ("small.log", "another name.log")
    files = content["pm.log_file"]
    for name in names:
        files = [row.replace(f'"file_name": "{name}"', '"file_name": "*"') for row in files]
    return content | {"pm.log_file": files}


def test_a_file_marks_its_own_days_and_no_other(
    conn: psycopg.Connection, database_url: str, vehicle_id: int, dbc: tuple[Path, ...], stored: Path, tmp_path: Path
) -> None:
    other = new_vehicle(conn)
    late = written(
        tmp_path / "late.log",
        coolant(MIDNIGHT - 2, 70),  # the key of a stored row, on 2 March
        trouble_code(MIDNIGHT + 5 * 86400, 190, 3),  # 8 March has a trouble code alone
    )
    ingest_log(conn, IngestJob(late, vehicle_id, KNOWN_AT + timedelta(days=9)), load_dbc(dbc), Policy())
    ingest_log(conn, IngestJob(stored, other, KNOWN_AT), load_dbc(dbc), Policy())
    marks = logs.fetch_dirty(conn).select("vehicle_id", "day").rows()
    assert sorted(marks) == sorted(
        [
            (vehicle_id, date(2026, 3, 2)), (vehicle_id, date(2026, 3, 8)),
            (other, date(2026, 3, 2)), (other, date(2026, 3, 3)),
        ]
    )  # fmt: skip
    assert refresh_dailies(database_url).n_vehicle_days == 4


@pytest.mark.parametrize("other", [VIN, "1PM00000000000002"])
def test_which_vin_is_kept_and_since_when_does_not_depend_on_the_order_of_files(
    conn: psycopg.Connection, dbc: tuple[Path, ...], tmp_path: Path, other: str
) -> None:
    files = [
        (written(tmp_path / f"{number}.log", coolant(MIDNIGHT, 80), vehicle_identification(MIDNIGHT + number, vin)),
         KNOWN_AT + timedelta(days=number))
        for number, vin in ((1, VIN), (2, other))
    ]  # fmt: skip
    found = []
    for order in (files, files[::-1]):
        owner = new_vehicle(conn)
        for path, known_at in order:
            ingest_log(conn, IngestJob(path, owner, known_at), load_dbc(dbc), Policy())
        found.append(content_of(conn, vehicle_id=owner)["pm.vehicle_identity"])
    assert found[1] == found[0]
