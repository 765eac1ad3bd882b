"""The view of one telemetry table: readable column names, the vehicle's unit number, never a VIN.

What belongs here: the statement and the comments of such a view. When it is made is `pm.store.views`.
"""

from typing import Final

import psycopg
from psycopg import sql

from pm.store.queries import run
from pm.store.readable_names import readable_names

LEADING: Final = (
    ("time", "signals.time", "time of the frame"),
    ("fleet", "vehicle.fleet", "owner of the vehicle"),
    ("vehicle", "vehicle.vehicle_ref", "unit number, unique in a fleet"),
    ("model", "vehicle.model", "truck model"),
    ("source_address", "signals.source_address", "J1939 source address, 0 to 255; -1 on an 11-bit id"),
    ("destination_address", "signals.destination_address", "J1939 destination address; -1 where it has none"),
    ("channel", "signals.channel", "bus channel as the log names it"),
    ("known_at", "log_file.known_at", "when this could first be known here"),
)
"""Columns of every telemetry view: name, where from, meaning. The last one's name is asked for in signal.sql."""

VIN_SPN: Final = 237
"""Signals of this SPN are not shown."""

# Left joins: a question that asks nothing of the vehicle or the file does not read them.
_FROM: Final = sql.SQL(
    "FROM {} AS signals "
    "LEFT JOIN pm.vehicle ON vehicle.vehicle_id = signals.vehicle_id "
    "LEFT JOIN pm.log_file ON log_file.log_file_id = signals.log_file_id"
)


def make_telemetry_view(session: psycopg.Connection, view: str, table: str, *, standing: tuple[str, ...]) -> None:
    """Make view `readable.<view>` of `telemetry.<table>`, with comments as the table's columns have them.

    Args:
        standing: the columns of the view that stands there; none: there is no view. Where it only
            grows it is replaced, so that rights given on it stay; else it is taken down first.
    """
    shown = run(session, "view", "columns", table=table, vin_spn=VIN_SPN).fetchall()
    names = readable_names([(signal, unit) for signal, unit, _, _ in shown], [name for name, _, _ in LEADING])
    columns: list[tuple[str, sql.Composable, str]] = [(name, sql.SQL(source), said) for name, source, said in LEADING]
    columns += [
        (name, sql.Identifier("signals", column), meaning)
        for name, (_, _, column, meaning) in zip(names, shown, strict=True)
    ]
    target = sql.Identifier("readable", view)
    if standing != tuple(name for name, _, _ in columns)[: len(standing)]:
        session.execute(sql.SQL("DROP VIEW {}").format(target))
    picked = [sql.SQL("{} AS {}").format(value, sql.Identifier(name)) for name, value, _ in columns]
    statement = sql.SQL("CREATE OR REPLACE VIEW {} AS SELECT {} {}")
    source = _FROM.format(sql.Identifier("telemetry", table))
    session.execute(statement.format(target, sql.SQL(", ").join(picked), source))
    said = run(session, "view", "table_comment", table=table).fetchone()
    comment(session, sql.SQL("VIEW {}").format(target), str(said[0]) if said else "")
    for name, _, meaning in columns:
        comment(session, sql.SQL("COLUMN {}").format(sql.Identifier("readable", view, name)), meaning)


def comment(session: psycopg.Connection, on: sql.Composed, text: str) -> None:
    """Say `text` of a thing in the database."""
    # COMMENT is a utility statement and takes no bind parameter: psycopg quotes the text as a literal.
    session.execute(sql.SQL("COMMENT ON {} IS {}").format(on, sql.Literal(text)))
