"""Redecoding: the tables become what an ingest with the new DBC files would have made, and nobody sees half of it."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
import pytest
import redecoded_fleet
from database_content import Content, content_of
from j1939_lines import coolant, engine_speed, written
from psycopg import sql
from redecoded_fleet import GOOD, KNOWN_AT, MIDNIGHT, VIN, logs_of, seconds, wrong_dbc

from pm.canbus.dbc import SignalDatabase, load_dbc
from pm.errors import DataError, StoreError
from pm.pipelines import redecode as redecoding
from pm.pipelines.dailies import refresh_dailies
from pm.pipelines.executor import open_executor
from pm.pipelines.ingest import IngestJob, Keeping, ingest_log
from pm.pipelines.redecode import RedecodeReport, RedecodeRequest, plan_redecode, redecode
from pm.pipelines.redecoding import replacement as redecode_replacement
from pm.policy import Policy
from pm.store import archive, connection, logs, telemetry, vehicles
from pm.store.checksums import content_checksum

REDECODED_AT = KNOWN_AT + timedelta(days=9)
EVERYTHING = (MIDNIGHT - timedelta(days=9), KNOWN_AT)


@lru_cache
def parsed(dbc: Path) -> SignalDatabase:
    return load_dbc((dbc,))


class Fleet:
    """Two vehicles in one database, ingested from the same logs."""

    def __init__(self, url: str, folder: Path, archive_address: str) -> None:
        self.url, self.folder, self.archive_address = url, folder, archive_address
        self.spool_root = folder / "spool"
        with connection.connect(url) as conn:
            self.ids = {
                ref: vehicles.add_vehicle(conn, fleet="north", vehicle_ref=ref, known_at=KNOWN_AT)
                for ref in ("T-1", "T-2")
            }

    def ingest(self, path: Path, known_at: datetime, dbc: Path, ref: str = "T-1") -> int | None:
        job = IngestJob(path, self.ids[ref], known_at)
        with connection.connect(self.url) as conn:
            return ingest_log(conn, job, load_dbc((dbc,)), Policy(), keeping=Keeping(self.archive_address)).log_file_id

    def ingest_all(self, files: dict[str, tuple[Path, datetime]], dbc: Path) -> dict[str, int | None]:
        self.ingest(*files["over_midnight"], dbc, "T-2")
        return {name: self.ingest(path, known_at, dbc) for name, (path, known_at) in files.items()}

    def request(self, start: datetime = EVERYTHING[0], end: datetime = EVERYTHING[1], **more: Any) -> RedecodeRequest:
        return RedecodeRequest(start, end, more.pop("dbc", (GOOD,)), REDECODED_AT, **more)

    def redecode(self, request: RedecodeRequest | None = None, **more: Any) -> RedecodeReport:
        return redecode(
            self.url,
            self.request() if request is None else request,
            archive_address=self.archive_address,
            spool_root=self.spool_root,
            policy=more.pop("policy", Policy()),
            **more,
        )

    def checksum(self) -> str:
        with connection.connect(self.url) as conn:
            return content_checksum(conn)

    def stored(self) -> Content:
        """Every row but those of the dictionary: as at ingest, a new column is declared ahead of the values."""
        with connection.connect(self.url) as conn:
            return {table: rows for table, rows in content_of(conn).items() if table != "pm.signal"}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, tuple[Path, datetime]]:
    return logs_of(tmp_path)


@pytest.fixture
def wrong(tmp_path: Path) -> Path:
    return wrong_dbc(tmp_path)


@pytest.fixture
def fleet(database_url: str, tmp_path: Path) -> Fleet:
    return Fleet(database_url, tmp_path, str(tmp_path / "archive"))


@pytest.fixture
def fresh(running_server: Any, tmp_path: Path) -> Iterator[Fleet]:
    """The same fleet in a database of its own."""
    name = sql.Identifier("test_fresh")
    with connection.connect(running_server.admin_url) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template_pm").format(name))
    folder = tmp_path / "fresh"
    folder.mkdir()
    yield Fleet(running_server.admin_url.rsplit("/", 1)[0] + "/test_fresh", folder, str(folder / "archive"))
    with connection.connect(running_server.admin_url) as admin:
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


def temperatures(conn: psycopg.Connection, vehicle_id: int) -> list[tuple[Any, ...]]:
    query = "SELECT engcoolanttemp, log_file_id FROM telemetry.et1 WHERE vehicle_id = %s ORDER BY time"
    return conn.execute(query, (vehicle_id,)).fetchall()


def test_redecoded_tables_are_those_of_an_ingest_with_the_corrected_dbc(
    fleet: Fleet, fresh: Fleet, conn: psycopg.Connection, files: Any, wrong: Path
) -> None:
    ids = fleet.ingest_all(files, wrong)
    fresh.ingest_all(files, GOOD)
    assert fleet.checksum() != fresh.checksum()
    assert temperatures(conn, fleet.ids["T-2"])[0] == (20.0, ids["over_midnight"] - 1)
    refresh_dailies(fleet.url)
    refresh_dailies(fresh.url)
    report = fleet.redecode()
    assert (report.replaced.n_files, report.n_skipped, report.n_late) == (4, 0, 0)
    assert report.spool_bytes > 0
    assert not list(fleet.spool_root.glob("redecode-*"))
    refresh_dailies(fleet.url)
    assert fleet.checksum() == fresh.checksum()
    stored = logs.fetch_log_files(conn)
    assert stored["redecoded_at"].unique().to_list() == [REDECODED_AT]
    assert stored.sort("log_file_id")["known_at"].to_list() == [
        KNOWN_AT, KNOWN_AT, KNOWN_AT + timedelta(days=1), KNOWN_AT
    ]  # fmt: skip
    rows = telemetry.fetch_signals(conn, "ET1", vehicle_id=fleet.ids["T-1"], start=EVERYTHING[0], end=EVERYTHING[1])
    assert rows["EngCoolantTemp"].to_list()[:8] == [80.0 + at for at in range(8)]
    assert "EngOilTemp1" in rows.columns
    again = fleet.redecode()
    assert (again.replaced.n_deleted, again.replaced.n_rows) == (report.replaced.n_deleted, report.replaced.n_rows)
    refresh_dailies(fleet.url)
    assert fleet.checksum() == fresh.checksum()


def test_only_the_logs_of_the_span_and_those_they_overlap_with_change_and_exactly_their_days_are_dirty(
    fleet: Fleet, conn: psycopg.Connection, files: Any, wrong: Path
) -> None:
    ids = fleet.ingest_all(files, wrong)
    refresh_dailies(fleet.url)
    request = fleet.request(MIDNIGHT - timedelta(seconds=2), MIDNIGHT, vehicle_ids=(fleet.ids["T-1"],))
    report = fleet.redecode(request)
    assert report.replaced.n_files == 2
    assert logs.fetch_dirty(conn).select("vehicle_id", "day").rows() == [
        (fleet.ids["T-1"], date(2026, 3, 2)),
        (fleet.ids["T-1"], date(2026, 3, 3)),
    ]
    done = logs.fetch_log_files(conn).filter(pl.col("redecoded_at").is_not_null())
    assert sorted(done["log_file_id"]) == [ids["over_midnight"], ids["overlapping"]]
    assert temperatures(conn, fleet.ids["T-2"])[0][0] == 20.0
    assert [value for value, log_file_id in temperatures(conn, fleet.ids["T-1"]) if log_file_id == ids["own_day"]] == [
        10.0 + at / 2 for at in range(5)
    ]


def test_of_overlapping_logs_the_rows_of_the_one_known_first_stay(
    fleet: Fleet, conn: psycopg.Connection, files: Any, wrong: Path
) -> None:
    ids = fleet.ingest_all(files, wrong)
    before = [owner for _, owner in temperatures(conn, fleet.ids["T-1"])]
    fleet.redecode()
    after = temperatures(conn, fleet.ids["T-1"])
    assert [owner for _, owner in after] == before
    assert [value for value, owner in after if owner == ids["overlapping"]] == [22.0 + at for at in range(6)]


def test_a_reader_sees_all_of_the_old_rows_and_then_all_of_the_new_ones(
    fleet: Fleet, conn: psycopg.Connection, files: Any, wrong: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = written(fleet.folder / "many.log", *(coolant(seconds(MIDNIGHT) + at, 90) for at in range(3000)))
    fleet.ingest(many, KNOWN_AT, wrong)
    counts = (f"count(*) FILTER (WHERE engcoolanttemp = {value})" for value in (25, 90))
    query = f"SELECT {', '.join(counts)} FROM telemetry.et1"  # noqa: S608
    in_between: list[Any] = []
    insert = telemetry.insert_decoded

    def looked_at(*arguments: Any, **named: Any) -> int:
        in_between.append(conn.execute(query).fetchone())
        n_rows = insert(*arguments, **named)
        in_between.append(conn.execute(query).fetchone())
        return n_rows

    monkeypatch.setattr(telemetry, "insert_decoded", looked_at)
    seen: set[Any] = set()
    over = threading.Event()

    def poll() -> None:
        with connection.connect(fleet.url) as reader:
            while not over.is_set():
                seen.add(reader.execute(query).fetchone())
            seen.add(reader.execute(query).fetchone())

    poller = threading.Thread(target=poll)
    poller.start()
    try:
        fleet.redecode()
    finally:
        over.set()
        poller.join()
    assert set(in_between) == {(3000, 0)}
    assert seen == {(3000, 0), (0, 3000)}


@pytest.mark.parametrize(
    ("point", "number"),
    [
        ("pm.pipelines.redecode:redecode_log", 3),
        ("pm.pipelines.redecoding.replacement:_write", 3),
        ("pm.store.logs:mark_dirty", 1),
    ],
    ids=["phase_1", "phase_2", "end_of_phase_2"],
)
def test_after_a_kill_the_tables_are_as_before_and_another_run_completes(
    fleet: Fleet, fresh: Fleet, files: Any, wrong: Path, point: str, number: int
) -> None:
    fleet.ingest_all(files, wrong)
    fresh.ingest_all(files, GOOD)
    before = fleet.stored()
    places = (fleet.url, fleet.archive_address, str(fleet.spool_root), str(GOOD), point, str(number))
    ran = subprocess.run([sys.executable, redecoded_fleet.__file__, *places], check=False, capture_output=True)
    assert ran.returncode == -signal.SIGKILL, ran.stderr.decode()
    assert fleet.stored() == before
    assert len(list(fleet.spool_root.glob("redecode-*"))) == 1
    fleet.redecode()
    assert fleet.checksum() == fresh.checksum()
    assert not list(fleet.spool_root.glob("redecode-*"))


def test_a_stored_message_that_would_lose_its_rows_is_a_refusal_unless_it_may_go(
    fleet: Fleet, conn: psycopg.Connection, files: Any, tmp_path: Path
) -> None:
    fleet.ingest_all(files, GOOD)
    renamed = tmp_path / "renamed.dbc"
    renamed.write_text(GOOD.read_text(encoding="utf-8").replace(" EEC1:", " Speed:"), encoding="utf-8")
    before = fleet.checksum()
    with pytest.raises(DataError, match=r"expected DBC files that give rows .*, but got none of \['EEC1'\]"):
        fleet.redecode(fleet.request(dbc=(renamed,)))
    assert fleet.checksum() == before
    report = fleet.redecode(fleet.request(dbc=(renamed,), drop_messages=True))
    assert report.replaced.lost_messages == ("EEC1",)
    assert conn.execute("SELECT count(*) FROM telemetry.eec1").fetchone() == (0,)
    assert conn.execute("SELECT count(*) FROM telemetry.speed").fetchone() == (16,)


def test_a_message_that_decodes_to_nothing_is_found_when_all_is_decoded(
    fleet: Fleet, files: Any, tmp_path: Path
) -> None:
    fleet.ingest_all(files, GOOD)
    moved = tmp_path / "moved.dbc"
    moved.write_text(GOOD.read_text(encoding="utf-8").replace("2364540158", "2364540414"), encoding="utf-8")
    before = fleet.stored()
    with pytest.raises(DataError, match=r"but got none of \['EEC1'\]"):
        fleet.redecode(fleet.request(dbc=(moved,)))
    assert fleet.stored() == before


def test_logs_that_the_archive_has_not_got_are_a_refusal_unless_they_may_stay(
    fleet: Fleet, conn: psycopg.Connection, files: Any, wrong: Path
) -> None:
    ids = fleet.ingest_all(files, wrong)
    sha256 = logs.fetch_log_files(conn).filter(pl.col("log_file_id") == ids["own_day"])["sha256"][0]
    archive.delete(fleet.archive_address, sha256)
    before = fleet.checksum()
    with pytest.raises(DataError, match="expected 4 files in the archive, but got 1 that are missing.*own_day.log"):
        fleet.redecode()
    assert fleet.checksum() == before
    report = fleet.redecode(fleet.request(skip_missing=True))
    assert (report.replaced.n_files, report.n_skipped) == (3, 1)
    stored = logs.fetch_log_files(conn)
    assert stored.filter(pl.col("redecoded_at").is_null())["log_file_id"].to_list() == [ids["own_day"]]


def test_a_dry_run_tells_and_changes_nothing(fleet: Fleet, files: Any, wrong: Path, tmp_path: Path) -> None:
    fleet.ingest_all(files, GOOD)
    before = fleet.checksum()
    renamed = tmp_path / "renamed.dbc"
    renamed.write_text(GOOD.read_text(encoding="utf-8").replace(" EEC1:", " Speed:"), encoding="utf-8")
    plan = plan_redecode(
        fleet.url, fleet.request(dbc=(renamed,)), archive_address=fleet.archive_address, policy=Policy()
    )
    sizes = [path.stat().st_size for path, _ in files.values()]
    assert (plan.n_files, plan.size_bytes, plan.n_missing) == (4, sum(sizes) + sizes[0], 0)
    assert plan.n_frames == 2 * 21 + 10 + 5
    assert (plan.messages, plan.lost_messages) == (("DM1", "EEC1", "ET1"), ("EEC1",))
    assert fleet.checksum() == before


def during_phase_1(monkeypatch: pytest.MonkeyPatch, act: Any) -> None:
    """`act()` happens once, when the first log has been decoded."""
    decode, acts = redecoding.redecode_log, [act]

    def decoded(task: Any) -> Any:
        done = decode(task)
        if acts:
            acts.pop()()
        return done

    monkeypatch.setattr(redecoding, "redecode_log", decoded)


def test_a_log_that_arrives_meanwhile_is_decoded_too(
    fleet: Fleet, fresh: Fleet, files: Any, wrong: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = written(fleet.folder / "late.log", *(engine_speed(seconds(MIDNIGHT) + at, 700) for at in range(9)))
    fleet.ingest_all(files, wrong)
    fresh.ingest_all(files, GOOD)
    fresh.ingest(late, KNOWN_AT, GOOD)
    during_phase_1(monkeypatch, lambda: fleet.ingest(late, KNOWN_AT, wrong))
    report = fleet.redecode()
    assert (report.replaced.n_files, report.n_late) == (5, 0)
    assert fleet.checksum() == fresh.checksum()


def test_logs_that_never_cease_to_arrive_are_left_as_they_are(
    fleet: Fleet, files: Any, wrong: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet.ingest_all(files, wrong)
    decode, numbers = redecoding.redecode_log, iter(range(100))

    def decoded(task: Any) -> Any:
        number = next(numbers)
        path = written(fleet.folder / f"{number}.log", engine_speed(seconds(MIDNIGHT) + 60 + number, 700))
        fleet.ingest(path, KNOWN_AT, wrong)
        return decode(task)

    monkeypatch.setattr(redecoding, "redecode_log", decoded)
    monkeypatch.setattr(redecoding, "ROUNDS", 2)
    report = fleet.redecode()
    assert report.n_late > 0
    assert report.replaced.n_files == 4 + next(numbers) - report.n_late


def test_a_log_that_is_forgotten_meanwhile_does_not_come_back(
    fleet: Fleet, conn: psycopg.Connection, files: Any, wrong: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = fleet.ingest_all(files, wrong)

    def forget() -> None:
        for table in ("telemetry.et1", "telemetry.eec1", "pm.fault", "pm.log_signal", "pm.log_file"):
            conn.execute(f"DELETE FROM {table} WHERE log_file_id = %s", (ids["own_day"],))  # noqa: S608

    during_phase_1(monkeypatch, forget)
    assert fleet.redecode().replaced.n_files == 3
    assert ids["own_day"] not in logs.fetch_log_files(conn)["log_file_id"]
    assert all(owner != ids["own_day"] for _, owner in temperatures(conn, fleet.ids["T-1"]))


def test_a_redecoding_meanwhile_does_no_harm(
    fleet: Fleet, fresh: Fleet, files: Any, wrong: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet.ingest_all(files, wrong)
    fresh.ingest_all(files, GOOD)
    other = replace(fleet.request(), redecoded_at=REDECODED_AT - timedelta(hours=1))
    during_phase_1(monkeypatch, lambda: fleet.redecode(other))
    fleet.redecode()
    assert fleet.checksum() == fresh.checksum()


def test_what_was_dropped_for_its_age_does_not_come_back(
    fleet: Fleet, conn: psycopg.Connection, files: Any, wrong: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet.ingest_all(files, wrong)

    def drop_old() -> None:
        conn.execute("INSERT INTO pm.retention VALUES ('telemetry', %s, %s)", (MIDNIGHT, KNOWN_AT))
        for table in ("telemetry.et1", "telemetry.eec1", "pm.fault"):
            conn.execute(f"DELETE FROM {table} WHERE time < %s", (MIDNIGHT,))  # noqa: S608

    during_phase_1(monkeypatch, drop_old)
    fleet.redecode(fleet.request(drop_messages=True))
    for table in ("telemetry.et1", "telemetry.eec1", "pm.fault"):
        assert conn.execute(f"SELECT count(*) FROM {table} WHERE time < %s", (MIDNIGHT,)).fetchone() == (0,)  # noqa: S608
    assert len(temperatures(conn, fleet.ids["T-2"])) == 4


def test_imported_parts_are_left_alone(
    fleet: Fleet, conn: psycopg.Connection, files: Any, wrong: Path, tmp_path: Path
) -> None:
    fleet.ingest_all(files, wrong)
    log = logs.fetch_log_files(conn).head(1).drop("log_file_id", "ingested_at")
    part = log.with_columns(
        sha256=pl.lit("ab" * 32),
        part=pl.lit(1, pl.Int32),
        format=pl.lit("csv"),
        sample_period_s=pl.lit(None, pl.Float64),
    )
    with conn.transaction():
        logs.claim_parts(conn, part)
    assert fleet.redecode().replaced.n_files == 4
    assert logs.fetch_log_files(conn).filter(pl.col("part") == 1)["redecoded_at"].to_list() == [None]


def test_damage_in_the_archive_stops_all_of_it(fleet: Fleet, conn: psycopg.Connection, files: Any, wrong: Path) -> None:
    fleet.ingest_all(files, wrong)
    before = fleet.checksum()
    stored = sorted(Path(fleet.archive_address).glob("*/*.zst"))
    stored[0].write_bytes(stored[1].read_bytes())
    with pytest.raises(StoreError, match="archive .*: expected bytes of sha256|more than"):
        fleet.redecode()
    assert fleet.checksum() == before


def test_a_spool_that_may_not_grow_stops_all_of_it(fleet: Fleet, files: Any, wrong: Path) -> None:
    fleet.ingest_all(files, wrong)
    before = fleet.checksum()
    with pytest.raises(StoreError, match="spool .*: expected at most 1000 bytes, but got"):
        fleet.redecode(spool_limit_bytes=1000)
    assert fleet.checksum() == before
    assert not list(fleet.spool_root.glob("redecode-*"))


def test_several_processes_give_the_same(fleet: Fleet, fresh: Fleet, files: Any, wrong: Path) -> None:
    fleet.ingest_all(files, wrong)
    fresh.ingest_all(files, GOOD)
    with open_executor(2) as executor:
        fleet.redecode(executor=executor)
    assert fleet.checksum() == fresh.checksum()


def test_a_span_without_logs_changes_nothing(fleet: Fleet, files: Any, wrong: Path) -> None:
    fleet.ingest_all(files, wrong)
    before = fleet.checksum()
    early = datetime(2020, 1, 1, tzinfo=UTC)
    assert fleet.redecode(fleet.request(early, early + timedelta(days=1))).replaced.n_files == 0
    assert fleet.checksum() == before


def test_the_vin_stays_in_the_identity_table(
    fleet: Fleet, conn: psycopg.Connection, files: Any, wrong: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet.ingest_all(files, wrong)
    spooled: list[bytes] = []
    write = redecode_replacement._write

    def read_first(conn: Any, log: Any, plans: Any) -> Any:
        spooled.append(log.path.read_bytes())
        assert VIN not in repr(log)
        return write(conn, log, plans)

    monkeypatch.setattr(redecode_replacement, "_write", read_first)
    fleet.redecode()
    assert len(spooled) == 4
    assert not any(VIN.encode() in content for content in spooled)
    assert conn.execute("SELECT DISTINCT vin FROM pm.vehicle_identity").fetchall() == [(VIN,)]
