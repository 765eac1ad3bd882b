"""What a database says is on, on each engine, and that the Community edition's statements are well formed."""

from datetime import UTC, datetime

import psycopg
import pytest
from psycopg import sql

from pm.store import server_session
from pm.store.connection import connect
from pm.store.edition import columnstore_hindrance, inspect_edition, table_sizes, telemetry_sizes
from pm.store.queries import named
from pm.store.timescale_hypertables import (
    extension_schema,
    fetch_hypertables,
    lift_decompression_limit,
    set_columnstore,
)
from pm.store.upkeep import note_dropped

ON_APACHE = pytest.mark.parametrize("running_server", ["timescaledb"], indirect=True)
"""The private TimescaleDB is Debian's, which is the Apache edition."""
ON_COMMUNITY = pytest.mark.parametrize("running_server", ["community"], indirect=True)


@pytest.fixture
def filled(conn: psycopg.Connection) -> psycopg.Connection:
    """A telemetry table with 40 days of rows, a hypertable where that can be had."""
    conn.execute(
        "CREATE TABLE telemetry.speed (vehicle_id integer NOT NULL, source_address smallint NOT NULL,"
        " destination_address smallint NOT NULL, channel text NOT NULL, time timestamptz NOT NULL, value real,"
        " PRIMARY KEY (vehicle_id, source_address, destination_address, channel, time))"
    )
    conn.execute("SELECT pm.make_hypertable('telemetry.speed', 'time', '7 days')")
    conn.execute(
        "INSERT INTO telemetry.speed SELECT 1, 0, 255, 'can0', time, 1 FROM"
        " generate_series(timestamptz '2026-01-01', timestamptz '2026-02-09', INTERVAL '1 minute') AS time"
    )
    return conn


def test_engine_and_edition_are_what_the_server_says(conn):
    now = inspect_edition(conn)
    versions = server_session.describe(conn)
    assert (now.server_version, now.timescaledb_version, now.edition) == (
        versions.server, versions.timescaledb, versions.edition,
    )  # fmt: skip
    assert now.engine == ("postgresql" if versions.timescaledb is None else "timescaledb")
    assert now.roles == {"pm_reader": True, "pm_identity": True}


def test_chunks_are_counted_where_there_are_any(filled):
    now = inspect_edition(filled)
    if now.engine == "postgresql":
        assert (now.n_hypertables, now.n_chunks, now.chunk_d) == (0, 0, ())
        assert now.columnstore_share is None
    else:
        # pm.fault, pm.event and this one; 2026-01-01 to 2026-02-09 lies in six spans of seven days.
        assert (now.n_hypertables, now.n_chunks, now.chunk_d) == (3, 6, (7.0,))
        assert now.columnstore_share == 0.0


def test_what_was_dropped_is_told(conn):
    assert inspect_edition(conn).dropped_before == {}
    at = datetime(2026, 1, 1, tzinfo=UTC)
    note_dropped(conn, "archive", at)
    assert inspect_edition(conn).dropped_before == {"archive": at}


def test_a_database_without_tables_can_be_looked_at(empty_database_url):
    with connect(empty_database_url) as conn:
        now = inspect_edition(conn)
    assert (now.n_hypertables, now.dropped_before, now.schema_bytes) == (0, {}, {})


def test_sizes_are_the_servers_own_and_count_every_chunk(filled):
    filled.execute("CHECKPOINT")
    (speed,) = telemetry_sizes(filled)
    assert (speed.schema, speed.name) == ("telemetry", "speed")
    parts = filled.execute(
        "SELECT sum(pg_total_relation_size(oid)), sum(pg_indexes_size(oid)) FROM pg_class WHERE oid IN"
        " (SELECT 'telemetry.speed'::regclass::oid UNION SELECT inhrelid FROM pg_inherits"
        "  WHERE inhparent = 'telemetry.speed'::regclass)"
    ).fetchone()
    assert parts is not None
    assert (speed.total_bytes, speed.index_bytes) == (int(parts[0]), int(parts[1]))
    n_values = 39 * 1440 + 1
    assert speed.heap_bytes > n_values * 24
    every = table_sizes(filled)
    assert inspect_edition(filled).schema_bytes["telemetry"] == speed.total_bytes
    assert {size.schema for size in every} == {"pm", "telemetry"}


def test_the_columnstore_is_hindered_where_the_edition_lacks_it(conn):
    edition = server_session.describe(conn).edition
    assert columnstore_hindrance(conn) == (None if edition == "Community" else "needs TimescaleDB Community")


COMMUNITY_STATEMENTS = ("enable_columnstore", "add_columnstore_policy", "remove_columnstore_policy")


@ON_APACHE
@pytest.mark.parametrize("name", COMMUNITY_STATEMENTS)
def test_the_apache_edition_knows_each_community_statement_and_refuses_it_by_its_licence(filled, name):
    assert server_session.describe(filled).edition == "Apache"
    statement = sql.SQL(named("hypertable", name)).format(
        table=sql.Identifier("telemetry", "speed"), extension=sql.Identifier(extension_schema(filled) or "")
    )
    with pytest.raises(psycopg.errors.FeatureNotSupported, match='under the current "apache" license'):
        filled.execute(statement, {"table": "telemetry.speed", "after": "30 days"})
    # Another option's name is refused for itself, before the licence: so the ones above exist.
    if name == "enable_columnstore":
        wrong = named("hypertable", name).replace("segmentby", "segmentbee")
        with pytest.raises(psycopg.errors.InvalidParameterValue, match="segmentbee"):
            filled.execute(sql.SQL(wrong).format(table=sql.Identifier("telemetry", "speed")))


@ON_APACHE
def test_the_limit_that_late_files_would_meet_can_be_lifted(filled):
    """The setting is known to every edition."""
    lift_decompression_limit(filled)
    with psycopg.connect(filled.info.dsn, password=filled.info.password or None) as new:
        assert new.execute("SHOW timescaledb.max_tuples_decompressed_per_dml_transaction").fetchone() == ("0",)


@ON_COMMUNITY
def test_on_community_old_chunks_become_columns_by_policy(filled):
    assert server_session.describe(filled).edition == "Community"
    (speed,) = (table for table in fetch_hypertables(filled) if table.name == "speed")
    set_columnstore(filled, speed, 14)
    (speed,) = (table for table in fetch_hypertables(filled) if table.name == "speed")
    assert speed.columnstore
    assert speed.columnstore_after is not None
    assert speed.columnstore_after.days == 14
    assert inspect_edition(filled).policies == {"compression": 1}
    before = telemetry_sizes(filled)[0].total_bytes
    job = filled.execute("SELECT job_id FROM timescaledb_information.jobs WHERE hypertable_name = 'speed'").fetchone()
    assert job is not None
    filled.execute(sql.SQL("CALL run_job({})").format(sql.Literal(job[0])))
    assert inspect_edition(filled).columnstore_share == 1.0
    assert telemetry_sizes(filled)[0].total_bytes < before / 2
    set_columnstore(filled, speed, 0)
    (speed,) = (table for table in fetch_hypertables(filled) if table.name == "speed")
    assert not speed.policy
