"""One truck's frames as candump, BLF and MF4 give the same tables, and files sent again change nothing."""

from itertools import pairwise
from pathlib import Path

import polars as pl
from psycopg import sql

from pm.pipelines.ingest import ingest_logs, jobs_for
from pm.policy import Policy
from pm.settings import read_settings
from pm.simulate import FleetConfig, simulate
from pm.simulate.fleet import LOG_FORMATS
from pm.store import vehicles

DBC = read_settings({}).dbc_files
# Truck T-001 of this seed has two buses, a gap, and two files that overlap by a day.
CONFIG = FleetConfig(n_vehicles=1, n_days=12, seed=94)


def ingest(conn, url, folder: Path, fleet: str) -> int:
    """Ingest a simulated fleet of one truck as vehicle T-001 of `fleet`; returns its vehicle_id."""
    uploads = pl.read_csv(folder / "uploads.csv", try_parse_dates=True)
    vehicle_id = vehicles.add_vehicle(
        conn, fleet=fleet, vehicle_ref=f"{fleet}-1", known_at=uploads["uploaded_at"].min()
    )
    conn.commit()
    files = [(folder / name, f"{fleet}-1", at) for name, at in uploads.select("file", "uploaded_at").iter_rows()]
    reports = ingest_logs(url, jobs_for(conn, files), dbc=DBC, policy=Policy())
    assert [report.refused for report in reports if report.refused] == []
    return vehicle_id


def content(conn, vehicle_id: int) -> dict[str, list[tuple[object, ...]]]:
    """Every telemetry row and fault of the vehicle, in order; buses numbered from 0."""
    found = {}
    tables = conn.execute(
        "SELECT table_schema, table_name FROM information_schema.tables"
        " WHERE table_schema = 'telemetry' OR (table_schema = 'pm' AND table_name = 'fault') ORDER BY 1, 2"
    ).fetchall()
    for schema, table in tables:
        columns = [
            name
            for (name,) in conn.execute(
                "SELECT column_name FROM information_schema.columns WHERE table_schema = %s AND table_name = %s"
                " AND column_name NOT IN ('vehicle_id', 'log_file_id', 'channel') ORDER BY 1",
                (schema, table),
            )
        ]
        # candump counts from can0, the others from 1.
        bus = sql.SQL("CASE WHEN channel LIKE 'can%%' THEN substr(channel, 4)::int ELSE channel::int - 1 END")
        query = sql.SQL("SELECT {bus}, {columns} FROM {table} WHERE vehicle_id = %s ORDER BY {columns}, 1").format(
            bus=bus, columns=sql.SQL(", ").join(map(sql.Identifier, columns)), table=sql.Identifier(schema, table)
        )
        rows = conn.execute(query, (vehicle_id,)).fetchall()
        if rows:
            found[f"{schema}.{table}"] = rows
    return found


def test_the_same_frames_in_every_format_give_the_same_tables(conn, database_url, tmp_path) -> None:
    found = {}
    for name in LOG_FORMATS:
        simulate(FleetConfig(**{**vars(CONFIG), "formats": (name,)}), tmp_path / name, dbc=DBC)
        found[name] = content(conn, ingest(conn, database_url, tmp_path / name, name))
    assert len(found["candump"]) >= 12
    spans = conn.execute("SELECT first_at, last_at FROM pm.log_file WHERE format = 'mf4' ORDER BY 1").fetchall()
    assert any(later[0] < earlier[1] for earlier, later in pairwise(spans))
    assert {row[0] for rows in found["candump"].values() for row in rows} == {0, 1}
    assert found["blf"] == found["candump"]
    assert found["mf4"] == found["candump"]


def test_a_file_sent_again_under_another_name_changes_no_table(conn, database_url, tmp_path) -> None:
    name = "blf"
    simulate(FleetConfig(**{**vars(CONFIG), "formats": (name,)}), tmp_path / name, dbc=DBC)
    vehicle_id = ingest(conn, database_url, tmp_path / name, name)
    before, n_files = content(conn, vehicle_id), conn.execute("SELECT count(*) FROM pm.log_file").fetchone()
    uploads = pl.read_csv(tmp_path / name / "uploads.csv", try_parse_dates=True)
    again = tmp_path / name / "logs" / "T-001" / "again.blf"
    again.write_bytes((tmp_path / name / uploads["file"][0]).read_bytes())
    jobs = jobs_for(conn, [(again, f"{name}-1", uploads["uploaded_at"].max())])
    (report,) = ingest_logs(database_url, jobs, dbc=DBC, policy=Policy())
    assert (report.log_file_id, report.refused) == (None, None)
    assert content(conn, vehicle_id) == before
    assert conn.execute("SELECT count(*) FROM pm.log_file").fetchone() == n_files
