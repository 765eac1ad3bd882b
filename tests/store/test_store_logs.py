"""The manifest, dirty days and faults."""

import threading
from datetime import UTC, date, datetime, timedelta

import polars as pl
import psycopg
import pytest

from pm.errors import DataError
from pm.store import faults, logs, vehicles
from pm.store.connection import connect
from pm.tables import FAULT

T0 = datetime(2026, 3, 1, tzinfo=UTC)
DAY = date(2026, 3, 1)


@pytest.fixture
def truck(conn: psycopg.Connection) -> int:
    return vehicles.add_vehicle(conn, fleet="north", vehicle_ref="T1", known_at=T0)


def claim(conn: psycopg.Connection, truck: int, name: str = "a", known_at: datetime = T0) -> int | None:
    return logs.claim(
        conn, sha256=name, vehicle_id=truck, file_name=f"{name}.log", format="candump", known_at=known_at,
        dbc_sha256=["x", "y"], decoder_version="1",
    )  # fmt: skip


def test_a_file_is_claimed_once_a_vehicle(conn: psycopg.Connection, truck: int) -> None:
    other = vehicles.add_vehicle(conn, fleet="north", vehicle_ref="T2", known_at=T0)
    first = claim(conn, truck)
    assert first is not None
    assert claim(conn, truck) is None
    assert claim(conn, other) not in (None, first)


def test_a_claim_that_failed_leaves_the_file_free(conn: psycopg.Connection, truck: int) -> None:
    with conn.transaction(force_rollback=True):
        assert claim(conn, truck) is not None
    assert claim(conn, truck) is not None


@pytest.mark.parametrize("fails", [False, True])
def test_a_second_worker_waits_for_the_first(
    conn: psycopg.Connection, database_url: str, truck: int, fails: bool
) -> None:
    got: list[int | None] = []

    def second() -> None:
        with connect(database_url) as own, own.transaction():
            got.append(claim(own, truck))

    worker = threading.Thread(target=second)
    with conn.transaction(force_rollback=fails):
        assert claim(conn, truck) is not None
        worker.start()
        worker.join(0.3)
        assert got == []
    worker.join(10)
    assert [number is None for number in got] == [not fails]


def test_what_came_of_a_file_is_kept(conn: psycopg.Connection, truck: int) -> None:
    number = claim(conn, truck)
    assert number is not None
    logs.finish(
        conn, number, first_at=T0, last_at=T0 + timedelta(hours=1), n_frames=10, n_decoded=9,
        rejected_json='{"unknown id": 1}',
    )  # fmt: skip
    found = logs.fetch_log_files(conn, vehicle_id=truck).drop("ingested_at").row(0, named=True)
    assert found == {
        "log_file_id": number, "sha256": "a", "vehicle_id": truck, "file_name": "a.log", "format": "candump",
        "first_at": T0, "last_at": T0 + timedelta(hours=1), "n_frames": 10, "n_decoded": 9,
        "rejected_json": '{"unknown id": 1}', "known_at": T0, "dbc_sha256": ["x", "y"], "decoder_version": "1",
        "part": 0, "size_bytes": None, "starts_at": None, "sample_period_s": None, "redecoded_at": None,
    }  # fmt: skip


def test_files_are_found_by_when_they_became_known(conn: psycopg.Connection, truck: int) -> None:
    for number, name in enumerate("abc"):
        claim(conn, truck, name, T0 + timedelta(days=number))
    found = logs.fetch_log_files(conn, known_from=T0, known_to=T0 + timedelta(days=2))
    assert found["sha256"].to_list() == ["a", "b"]


def test_finishing_no_file_and_claiming_for_no_vehicle_are_refused(conn: psycopg.Connection, truck: int) -> None:
    with pytest.raises(DataError, match="log file 99: expected a claimed file"):
        logs.finish(conn, 99, first_at=None, last_at=None, n_frames=0, n_decoded=0, rejected_json="{}")
    with pytest.raises(DataError, match="vehicle"):
        claim(conn, truck ^ 1)


def test_a_mark_made_anew_is_not_taken_back_with_the_old_one(conn: psycopg.Connection, truck: int) -> None:
    assert logs.mark_dirty(conn, truck, [DAY, DAY, DAY + timedelta(days=1)]) == 2
    seen = logs.fetch_dirty(conn)
    logs.mark_dirty(conn, truck, [DAY])
    assert logs.clear_dirty(conn, seen) == 1
    left = logs.fetch_dirty(conn)
    assert left["day"].to_list() == [DAY]
    assert left["marked_at"][0] > seen["marked_at"][0]
    assert logs.clear_dirty(conn, left) == 1
    assert logs.mark_dirty(conn, truck, []) == 0


def fault(truck: int, **changed: object) -> dict[str, object]:
    row: dict[str, object] = {"vehicle_id": truck, "time": T0, "channel": "can0", "source_address": 0, "spn": 110}
    rest = {"fmi": 0, "occurrence_count": None, "conversion_method": 4, "lamp_mil": 0, "lamp_red": 1, "lamp_amber": 0}
    rest |= {"lamp_protect": 3, "log_file_id": 1, "dm": 1}
    rest |= {f"flash_{lamp}": 3 for lamp in ("mil", "red", "amber", "protect")}
    return row | rest | changed


def test_faults_come_back_with_when_they_were_known(conn: psycopg.Connection, truck: int) -> None:
    file = claim(conn, truck, known_at=T0 + timedelta(days=2))
    late = claim(conn, truck, "late", known_at=T0 + timedelta(days=9))
    month = T0 + timedelta(days=31)
    first = pl.concat(
        [FAULT.frame([fault(truck, log_file_id=file)])] * 2
        + [FAULT.frame([fault(truck, time=month, log_file_id=file)])]
    )
    assert faults.insert_faults(conn, first) == 2
    overlapping = FAULT.frame([fault(truck, log_file_id=late, lamp_red=0), fault(truck, fmi=31, log_file_id=late)])
    assert faults.insert_faults(conn, overlapping) == 1
    found = faults.fetch_faults(conn, vehicle_id=truck, start=T0, end=month)
    assert found.select("fmi", "lamp_red", "log_file_id").rows() == [(0, 1, file), (31, 1, late)]
    assert found["known_at"].to_list() == [T0 + timedelta(days=2), T0 + timedelta(days=9)]
    known = faults.fetch_faults(conn, start=T0, end=month, known_by=T0 + timedelta(days=2))
    assert known["fmi"].to_list() == [0]


def test_active_and_previously_active_codes_of_one_instant_are_two_rows(conn: psycopg.Connection, truck: int) -> None:
    file = claim(conn, truck)
    both = [fault(truck, dm=2, log_file_id=file), fault(truck, log_file_id=file, flash_red=1)]
    assert faults.insert_faults(conn, FAULT.frame(both)) == 2
    found = faults.fetch_faults(conn, start=T0, end=T0 + timedelta(days=1))
    assert found.select("dm", "conversion_method", "flash_red").rows() == [(1, 4, 1), (2, 4, 3)]


@pytest.mark.parametrize("changed", [{"spn": 524_288}, {"dm": 3}, {"conversion_method": 0}, {"flash_amber": 4}])
def test_a_fault_outside_the_standard_is_refused(
    conn: psycopg.Connection, truck: int, changed: dict[str, object]
) -> None:
    with pytest.raises(DataError, match="fault_"):
        faults.insert_faults(conn, FAULT.frame([fault(truck) | changed]))
