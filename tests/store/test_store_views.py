"""Views of schema `readable` on real databases."""

import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from readable_fleet import ET1, KNOWN, SECOND, T0, VI, VIN, add_file, add_truck, message, rows, signal, store

from pm.errors import StoreError
from pm.settings import Settings
from pm.store import views
from pm.store.connection import connect, migrate_database
from pm.store.migrate import migrate
from pm.store.telemetry_tables import ensure_table

LEADING = ["time", "fleet", "vehicle", "model", "source_address", "destination_address", "channel", "known_at"]
FIXED = {"event", "fault", "log_file", "log_reject", "prediction", "signal", "work_order"}


def columns_of(conn: psycopg.Connection, view: str) -> list[str]:
    found = conn.execute(
        "SELECT attname::text FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 ORDER BY attnum",
        (f"readable.{view}",),
    )
    return [str(row[0]) for row in found]


def all_views(conn: psycopg.Connection) -> set[str]:
    return {str(row[0]) for row in conn.execute("SELECT viewname::text FROM pg_views WHERE schemaname = 'readable'")}


def one(conn: psycopg.Connection, query: str, params: Sequence[object] = ()) -> tuple[object, ...]:
    row = conn.execute(query.encode(), params).fetchone()
    assert row is not None
    return row


class TestTelemetry:
    def test_a_new_table_has_its_view_at_once(self, conn: psycopg.Connection) -> None:
        truck = add_truck(conn, "T-1")
        store(conn, ET1, rows(ET1, T0), truck, add_file(conn, truck, "one"))
        assert columns_of(conn, "et1") == [*LEADING, "eng_coolant_temp_c", "eng_oil_temp1_c"]
        assert one(conn, "SELECT * FROM readable.et1") == (
            T0, "north", "T-1", "Hauler", 0, 255, "can0", KNOWN, 80.0, 80.0,
        )  # fmt: skip

    def test_comments_say_what_the_dbc_says(self, conn: psycopg.Connection) -> None:
        ensure_table(conn, ET1)
        query = "SELECT col_description('readable.et1'::regclass, 9), obj_description('readable.et1'::regclass)"
        column, view = one(conn, query)
        assert column == "EngCoolantTemp [degC], SPN 110, 0.0 to 250.0. what EngCoolantTemp is"
        assert str(view).startswith("ET1 (PGN 65262). what ET1 holds [definition ")
        silent = "SELECT count(*) FROM pg_attribute WHERE attrelid = 'readable.et1'::regclass AND attnum > 0 "
        assert one(conn, silent + "AND col_description(attrelid, attnum) IS NULL") == (0,)

    def test_a_dbc_that_gains_signals_adds_columns_and_takes_no_right_away(self, conn: psycopg.Connection) -> None:
        ensure_table(conn, ET1)
        conn.execute("GRANT SELECT ON readable.et1 TO pm_identity")
        ensure_table(conn, replace(ET1, signals=(signal("EngFuelTemp1", "degC"), *ET1.signals)))
        assert columns_of(conn, "et1")[8:] == ["eng_coolant_temp_c", "eng_oil_temp1_c", "eng_fuel_temp1_c"]
        assert one(conn, "SELECT has_table_privilege('pm_identity', 'readable.et1', 'SELECT')") == (True,)

    def test_a_dbc_that_changes_a_unit_renames_the_column(self, conn: psycopg.Connection) -> None:
        ensure_table(conn, ET1)
        changed = (signal("EngCoolantTemp", "degF"), ET1.signals[1])
        ensure_table(conn, replace(ET1, signals=changed, dbc_sha256="cd" * 32))
        assert columns_of(conn, "et1")[8:] == ["eng_coolant_temp_f", "eng_oil_temp1_c"]

    def test_a_column_under_a_view_can_be_widened(self, conn: psycopg.Connection) -> None:
        ensure_table(conn, ET1)
        ensure_table(conn, replace(ET1, signals=(signal("EngCoolantTemp", "degC", length=32), ET1.signals[1])))
        query = "SELECT format_type(atttypid, NULL) FROM pg_attribute WHERE attrelid = 'readable.et1'::regclass "
        assert one(conn, query + "AND attname = 'eng_coolant_temp_c'") == ("double precision",)

    def test_names_that_fall_together_are_kept_apart(self, conn: psycopg.Connection) -> None:
        plan = message(
            "X", signal("Time"), signal("KnownAt"), signal("Temp", "degC"), signal("temp_c"), signal("S" * 90)
        )
        ensure_table(conn, plan)
        assert columns_of(conn, "x")[8:] == ["time_2", "known_at_2", "temp_c", "temp_c_2", "s" * 63]

    def test_a_message_named_as_a_fixed_view_does_not_replace_it(self, conn: psycopg.Connection) -> None:
        for name in ("FAULT", "EVENT"):
            ensure_table(conn, message(name, signal("Level", "%")))
        views.refresh_views(conn)
        assert "malfunction_lamp" in columns_of(conn, "fault")
        assert "kind" in columns_of(conn, "event")
        shown = conn.execute("SELECT DISTINCT readable_view, readable_column FROM readable.signal").fetchall()
        assert all(column == "level_percent" and columns_of(conn, view)[8:] == [column] for view, column in shown)
        assert len(shown) == 2

    def test_a_vin_is_in_no_view(self, conn: psycopg.Connection) -> None:
        truck = add_truck(conn, "T-1", vin=VIN)
        store(conn, VI, rows(VI, T0), truck, add_file(conn, truck, "one"))
        views.refresh_views(conn)
        assert columns_of(conn, "vi")[8:] == ["known_percent"]
        for view in all_views(conn):
            query = sql.SQL("SELECT shown::text FROM {} AS shown").format(sql.Identifier("readable", view))
            assert VIN not in str(conn.execute(query).fetchall())

    def test_no_view_reads_the_identities(self, conn: psycopg.Connection) -> None:
        ensure_table(conn, ET1)
        views.refresh_views(conn)
        query = """
            SELECT DISTINCT source.relnamespace::regnamespace || '.' || source.relname
            FROM pg_depend AS read JOIN pg_rewrite AS rule ON rule.oid = read.objid
            JOIN pg_class AS view ON view.oid = rule.ev_class
            JOIN pg_class AS source ON source.oid = read.refobjid
            WHERE read.classid = 'pg_rewrite'::regclass AND read.refclassid = 'pg_class'::regclass
              AND view.relnamespace = 'readable'::regnamespace AND read.refobjid <> view.oid"""
        assert {str(row[0]) for row in conn.execute(query.encode())} == {
            "pm.event", "pm.fault", "pm.log_file", "pm.log_signal", "pm.prediction", "pm.signal", "pm.vehicle",
            "pm.work_order", "telemetry.et1",
        }  # fmt: skip


class TestPlans:
    """A question through a view reads what the same question of the table would."""

    QUERY = "SELECT time, eng_coolant_temp_c FROM readable.et1 WHERE vehicle = 'T-3' AND time > %s AND time <= %s"

    @pytest.fixture
    def weeks(self, conn: psycopg.Connection) -> None:
        """Ten trucks, six weeks, a row a minute in one hour a day."""
        trucks = [add_truck(conn, f"T-{number}") for number in range(10)]
        files = [add_file(conn, truck, f"f{truck}") for truck in trucks]
        times = [T0 + timedelta(days=day, minutes=minute) for day in range(42) for minute in range(60)]
        for truck, file in zip(trucks, files, strict=True):
            store(conn, ET1, rows(ET1, *times), truck, file)
        views.refresh_views(conn)
        conn.execute("ANALYZE")

    def plan(self, conn: psycopg.Connection, query: str) -> str:
        params = (T0 + timedelta(days=20), T0 + timedelta(days=21))
        found = psycopg.ClientCursor(conn).execute("EXPLAIN (ANALYZE, TIMING OFF) " + query, params)
        return "\n".join(str(row[0]) for row in found)

    @pytest.mark.usefixtures("weeks")
    def test_one_vehicle_and_a_span_use_the_key_and_the_chunks_of_the_span(self, conn: psycopg.Connection) -> None:
        said = self.plan(conn, self.QUERY)
        assert said.count("et1_pkey") == 1, said  # one chunk
        assert 'Index Cond: ((vehicle_id = vehicle.vehicle_id) AND ("time" >' in said, said
        assert "Seq Scan on et1" not in said, said
        assert "Seq Scan on _hyper" not in said, said
        assert conn.execute(self.QUERY.encode(), (T0 + timedelta(days=20), T0 + timedelta(days=21))).rowcount == 60

    @pytest.mark.usefixtures("weeks")
    def test_what_is_not_asked_for_is_not_read(self, conn: psycopg.Connection) -> None:
        assert "log_file" not in self.plan(conn, self.QUERY)
        said = self.plan(conn, "SELECT time FROM readable.et1 WHERE time > %s AND time <= %s")
        assert "log_file" not in said
        assert "on vehicle" not in said


class TestRefresh:
    def test_a_migrated_database_has_the_fixed_views_and_a_second_run_does_nothing(
        self, conn: psycopg.Connection
    ) -> None:
        assert all_views(conn) == FIXED == set(views.fixed_views())
        assert views.refresh_views(conn) == ()

    def test_every_fixed_view_and_column_says_what_it_is(self, conn: psycopg.Connection) -> None:
        silent = conn.execute(
            "SELECT relname, attname FROM pg_class AS view JOIN pg_attribute ON attrelid = view.oid AND attnum > 0 "
            "WHERE view.relnamespace = 'readable'::regnamespace AND (col_description(view.oid, attnum) IS NULL "
            "OR obj_description(view.oid) !~ '^.{20,} \\[definition')"
        ).fetchall()
        assert silent == []

    def test_a_database_from_before_gets_its_views(self, conn: psycopg.Connection, settings: Settings) -> None:
        ensure_table(conn, ET1)
        for name in all_views(conn):
            conn.execute(f"DROP VIEW readable.{name}".encode())
        assert settings.database_url is not None
        migrate_database(settings, settings.database_url)
        assert all_views(conn) == FIXED | {"et1"}

    def test_what_somebody_changed_is_made_anew_and_what_is_left_over_goes(self, conn: psycopg.Connection) -> None:
        ensure_table(conn, ET1)
        views.refresh_views(conn)
        conn.execute("COMMENT ON VIEW readable.event IS 'mine'")
        conn.execute("CREATE VIEW readable.own AS SELECT 1 AS x")
        conn.execute("DROP VIEW readable.et1; DELETE FROM pm.signal; DROP TABLE telemetry.et1")
        conn.execute(
            "CREATE VIEW readable.et1 AS SELECT 1 AS x; COMMENT ON VIEW readable.et1 IS '[definition 0123456789ab]'"
        )
        assert views.refresh_views(conn) == ("event",)
        assert all_views(conn) == FIXED | {"own"}

    def test_a_migration_may_change_what_stands_under_a_view(self, conn: psycopg.Connection, tmp_path: Path) -> None:
        _project_migrations(tmp_path)
        (tmp_path / "9001_widen_fault.sql").write_text("ALTER TABLE pm.fault ALTER COLUMN fmi TYPE integer;")
        assert migrate(conn, tmp_path) == ("9001_widen_fault.sql",)
        assert "fault" not in all_views(conn)
        assert set(views.refresh_views(conn)) == FIXED

    def test_a_migration_that_fails_leaves_the_views(self, conn: psycopg.Connection, tmp_path: Path) -> None:
        _project_migrations(tmp_path)
        (tmp_path / "9001_do_wrong.sql").write_text("SELECT nothing;")
        with pytest.raises(StoreError, match="9001_do_wrong"):
            migrate(conn, tmp_path)
        assert all_views(conn) == FIXED

    def test_a_view_of_somebody_elses_on_top_is_named_and_stays(self, conn: psycopg.Connection, tmp_path: Path) -> None:
        conn.execute("CREATE VIEW public.mine AS SELECT fmi FROM readable.fault")
        _project_migrations(tmp_path)
        (tmp_path / "9001_add_column.sql").write_text("ALTER TABLE pm.event ADD COLUMN x integer;")
        assert migrate(conn, tmp_path) == ("9001_add_column.sql",)
        assert all_views(conn) == {"fault"}
        assert set(views.refresh_views(conn)) == FIXED - {"fault"}
        (tmp_path / "9002_widen_fault.sql").write_text("ALTER TABLE pm.fault ALTER COLUMN fmi TYPE integer;")
        with pytest.raises(StoreError, match="9002_widen_fault"):
            migrate(conn, tmp_path)
        conn.execute("COMMENT ON VIEW readable.fault IS 'older'")
        with pytest.raises(StoreError, match="view mine depends on view readable.fault"):
            views.refresh_views(conn)
        assert one(conn, "SELECT count(*) FROM public.mine") == (0,)

    def test_workers_may_refresh_at_once(self, conn: psycopg.Connection, database_url: str) -> None:
        for name in all_views(conn):
            conn.execute(f"DROP VIEW readable.{name}".encode())
        gate, done = threading.Barrier(3), list[tuple[str, ...]]()

        def work() -> None:
            with connect(database_url) as own:
                gate.wait(10)
                done.append(views.refresh_views(own))

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert sorted(map(len, done)) == [0, 0, len(FIXED)]

    def test_a_database_without_the_schema_has_no_views(self, empty_database_url: str) -> None:
        with connect(empty_database_url) as conn:
            assert views.refresh_views(conn) == ()
            views.drop_views(conn)

    def test_a_reader_in_the_middle_holds_nobody_up_where_nothing_changed(
        self, conn: psycopg.Connection, database_url: str
    ) -> None:
        ensure_table(conn, ET1)
        with connect(database_url) as reader, reader.transaction():
            reader.execute("SELECT count(*) FROM readable.et1")
            conn.execute("SET lock_timeout = '2s'")
            assert views.refresh_views(conn) == ()
            truck = add_truck(conn, "T-1")
            store(conn, ET1, rows(ET1, T0, T0 + SECOND), truck, add_file(conn, truck, "one"))


def _project_migrations(folder: Path) -> None:
    for file in (Path(__file__).resolve().parents[2] / "sql" / "migrations").glob("*.sql"):
        (folder / file.name).write_bytes(file.read_bytes())
