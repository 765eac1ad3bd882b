"""Trouble codes stored before DM2 was read keep their meaning in the table that holds both."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pm.store import faults
from pm.store.connection import connect
from pm.store.migrate import migrate
from pm.store.server_session import enable_timescaledb

MIGRATIONS = Path(__file__).resolve().parents[2] / "sql" / "migrations"
FIRST_WITH_DM2 = "0007"
T0 = datetime(2026, 3, 1, tzinfo=UTC)


def test_rows_from_before_are_active_codes_and_keep_their_spn(empty_database_url: str, tmp_path: Path) -> None:
    for file in sorted(MIGRATIONS.glob("*.sql")):
        if file.name < FIRST_WITH_DM2:
            shutil.copy(file, tmp_path)
    enable_timescaledb(empty_database_url)
    month = T0 + timedelta(days=31)
    with connect(empty_database_url) as conn:
        migrate(conn, tmp_path)
        conn.execute("INSERT INTO pm.vehicle VALUES (1, 'north', 'T1', NULL, NULL, NULL, NULL, NULL, %s)", [T0])
        conn.execute(
            "INSERT INTO pm.log_file VALUES (1, 'a', 1, 'a.log', 'candump', NULL, NULL, 1, 1, '{}', %s, '{}', '1', %s)",
            [T0, T0],
        )
        # Two chunks where the table is a hypertable; the second code has the conversion method bit set.
        old = "INSERT INTO pm.fault VALUES (1, %s, 'can0', 0, 84, 9, 8, %s, 1, 0, 0, 3, 1)"
        conn.execute(old, [T0, 0])
        conn.execute(old, [month, 1])
        conn.commit()
        assert migrate(conn, MIGRATIONS)[0].startswith(FIRST_WITH_DM2)
        found = faults.fetch_faults(conn, start=T0, end=month + timedelta(days=1))
        columns = ("time", "dm", "spn", "conversion_method", "lamp_mil", "flash_mil")
        assert found.select(columns).rows() == [(T0, 1, 84, 4, 1, None), (month, 1, 84, 3, 1, None)]
        # What is written from now on says by itself what it is.
        default = (
            "SELECT column_default FROM information_schema.columns WHERE table_name = 'fault' AND column_name = 'dm'"
        )
        assert conn.execute(default).fetchall() == [(None,)]
