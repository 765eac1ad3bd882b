"""What a login may see that was granted pm_reader or pm_identity."""

import re
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from readable_fleet import ET1, T0, VI, VIN, add_file, add_truck, message, rows, signal, store

from pm.settings import Settings
from pm.store import faults, views
from pm.store.connection import connect, migrate_database
from pm.store.telemetry_tables import ensure_table
from pm.tables import FAULT

_numbers = count(1)


@pytest.fixture
def fleet(conn: psycopg.Connection) -> int:
    """A truck whose VIN is known, with telemetry and a log file."""
    truck = add_truck(conn, "T-1", vin=VIN)
    file = add_file(conn, truck, "one", rejected_json='{"not_in_dbc": 5}')
    for plan in (ET1, VI):
        store(conn, plan, rows(plan, T0), truck, file)
    conn.execute("UPDATE telemetry.vi SET vehicleidentnumber = NULL")  # as ingesting leaves it
    views.refresh_views(conn)
    return truck


def _login(conn: psycopg.Connection, url: str, role: str) -> Iterator[psycopg.Connection]:
    name = f"person_{next(_numbers)}"
    password = url.split("@", maxsplit=1)[0].rsplit(":", 1)[1]
    conn.execute(
        sql.SQL("CREATE ROLE {} LOGIN PASSWORD {} IN ROLE {}").format(
            sql.Identifier(name), sql.Literal(password), sql.Identifier(role)
        )
    )
    with connect(url.replace("//pm:", f"//{name}:")) as opened:
        yield opened
    conn.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


@pytest.fixture
def reader(conn: psycopg.Connection, database_url: str) -> Iterator[psycopg.Connection]:
    """A login with pm_reader."""
    yield from _login(conn, database_url, "pm_reader")


@pytest.fixture
def clerk(conn: psycopg.Connection, database_url: str) -> Iterator[psycopg.Connection]:
    """A login with pm_identity."""
    yield from _login(conn, database_url, "pm_identity")


def relations(conn: psycopg.Connection) -> list[tuple[str, str]]:
    """Tables and views of the product's schemas."""
    query = (
        "SELECT nspname::text, relname::text FROM pg_class JOIN pg_namespace AS n ON n.oid = relnamespace "
        "WHERE nspname IN ('pm', 'telemetry', 'readable') AND relkind IN ('r', 'v', 'p') ORDER BY 1, 2"
    )
    return [(str(schema), str(name)) for schema, name in conn.execute(query)]


@pytest.mark.usefixtures("fleet")
class TestReader:
    def test_reads_everything_but_the_identities_and_sees_no_vin(self, reader: psycopg.Connection) -> None:
        seen = set()
        for schema, name in relations(reader):
            query = sql.SQL("SELECT shown::text FROM {} AS shown").format(sql.Identifier(schema, name))
            if (schema, name) == ("pm", "vehicle_identity"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    reader.execute(query)
                continue
            assert VIN not in str(reader.execute(query).fetchall()), name
            seen.add(f"{schema}.{name}")
        assert {"pm.vehicle", "pm.log_file", "telemetry.et1", "readable.et1", "readable.signal"} <= seen
        assert reader.execute("SELECT vehicle FROM readable.et1").fetchall() == [("T-1",)]

    def test_reads_tables_and_views_made_after_it_was_granted(
        self, reader: psycopg.Connection, conn: psycopg.Connection, fleet: int
    ) -> None:
        later = message("EEC1", signal("EngSpeed", "rpm"))
        store(conn, later, rows(later, T0, value=1200.0), fleet, 1)
        views.refresh_views(conn)
        assert reader.execute("SELECT engspeed FROM telemetry.eec1").fetchall() == [(1200.0,)]
        assert reader.execute("SELECT vehicle, eng_speed_rpm FROM readable.eec1").fetchall() == [("T-1", 1200.0)]

    def test_reads_views_that_were_made_anew(
        self, reader: psycopg.Connection, conn: psycopg.Connection, settings: Settings, database_url: str
    ) -> None:
        views.drop_views(conn)
        migrate_database(settings, database_url)
        views.refresh_views(conn)
        assert reader.execute("SELECT vehicle FROM readable.et1").fetchall() == [("T-1",)]
        assert reader.execute("SELECT n_rejected FROM readable.log_file").fetchall() == [(5,)]

    def test_changes_nothing(self, reader: psycopg.Connection) -> None:
        for statement in (
            "DELETE FROM pm.vehicle",
            "UPDATE telemetry.et1 SET engcoolanttemp = 0",
            "INSERT INTO pm.dirty_day VALUES (1, '2026-01-01', now())",
            "TRUNCATE pm.fault",
            "DROP VIEW readable.et1",
            "CREATE VIEW readable.mine AS SELECT 1",
            "CREATE TABLE pm.mine ()",
            "COPY pm.vehicle_identity TO STDOUT",
            "SELECT count(*) FROM pm.vehicle_identity",
            "SET ROLE pm_identity",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                reader.execute(statement.encode())


@pytest.mark.usefixtures("fleet")
class TestGuide:
    """The SQL of docs/grafana.md, with Grafana's macros as it writes them out."""

    @staticmethod
    def statements() -> list[str]:
        guide = (Path(__file__).resolve().parents[2] / "docs" / "grafana.md").read_text(encoding="utf-8")
        return re.findall(r"```sql\n(.*?)```", guide, re.DOTALL)

    def test_the_login_can_be_made(self, conn: psycopg.Connection) -> None:
        login = self.statements()[0]
        assert "CREATE ROLE grafana" in login
        with conn.transaction(force_rollback=True):
            conn.execute(login.encode())

    def test_its_questions_are_answered(self, conn: psycopg.Connection, reader: psycopg.Connection, fleet: int) -> None:
        row = {"vehicle_id": fleet, "time": T0, "channel": "can0", "source_address": 0, "spn": 110, "fmi": 0, "dm": 1,
               "conversion_method": 4, "lamp_mil": 0, "lamp_red": 1, "lamp_amber": 0, "lamp_protect": 0,
               "log_file_id": 1}  # fmt: skip
        faults.insert_faults(conn, FAULT.frame([row]))
        has_buckets = conn.execute("SELECT count(*) FROM pg_extension WHERE extname = 'timescaledb'").fetchone() == (1,)
        bucket = "time_bucket('60.000s',time)" if has_buckets else "floor(extract(epoch from time)/60)*60"
        macros = {
            "$__timeGroupAlias(time, $__interval)": f'{bucket} AS "time"',
            "$__timeFilter(time)": "time BETWEEN '2026-02-28T00:00:00Z' AND '2026-03-02T00:00:00Z'",
            "$vehicle": "'T-1','T-2'",
        }
        answers = []
        for statement in self.statements()[1:]:
            text = statement
            for macro, written in macros.items():
                text = text.replace(macro, written)
            answers.append(reader.execute(text.encode()).fetchall())
        vehicles, coolant, codes = answers
        assert vehicles == [("T-1",)]
        assert [tuple(line[1:]) for line in coolant] == [("T-1", 80.0)]
        assert codes == [("T-1", 110, 0, 1, T0, True)]


@pytest.mark.usefixtures("fleet")
class TestIdentity:
    def test_reads_and_writes_identities(self, clerk: psycopg.Connection) -> None:
        query = "SELECT vehicle_ref, vin FROM pm.vehicle_identity JOIN pm.vehicle USING (vehicle_id)"
        assert clerk.execute(query.encode()).fetchall() == [("T-1", VIN)]
        clerk.execute("UPDATE pm.vehicle_identity SET vin = 'other'")
        clerk.execute("DELETE FROM pm.vehicle_identity")
        clerk.execute("INSERT INTO pm.vehicle_identity SELECT vehicle_id, 'new', now() FROM pm.vehicle")
        assert clerk.execute(query.encode()).fetchall() == [("T-1", "new")]

    def test_reads_nothing_else(self, clerk: psycopg.Connection) -> None:
        for schema, name in relations(clerk):
            if name not in ("vehicle", "vehicle_identity"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    clerk.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(schema, name)))


def test_nobody_else_sees_anything(conn: psycopg.Connection, database_url: str) -> None:
    ensure_table(conn, ET1)
    conn.execute("CREATE ROLE pm_nobody NOLOGIN")
    try:
        for stranger in _login(conn, database_url, "pm_nobody"):
            for schema, name in relations(conn):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    stranger.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(schema, name)))
    finally:
        conn.execute("DROP ROLE pm_nobody")
