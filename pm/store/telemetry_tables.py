"""Tables of decoded telemetry: one a DBC message, made on first use, and the dictionary `pm.signal`.

What belongs here: names, columns, creating and widening. Rows are `pm.store.telemetry`.

Names are in lower case, so that SQL typed by hand needs no quotes; the dictionary says which signal
stands in which column. A table is made in the session beside the caller's, which commits at once: a
worker in the middle of a long file neither holds up others that need a new table nor takes it back
when its file fails. An empty table does no harm.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final
from weakref import WeakKeyDictionary

import polars as pl
import psycopg
from psycopg import sql

from pm.canbus.dbc import MessagePlan, SignalDatabase, SignalPlan
from pm.errors import ConfigError
from pm.store import frames
from pm.store.copy_binary import postgres_type
from pm.store.queries import refusals, run
from pm.store.side_session import beside
from pm.store.views import drop_view, fixed_views, refresh_view
from pm.tables import SIGNAL

KEY: Final = ("vehicle_id", "time", "source_address", "destination_address", "channel")
"""Time second: a day of one truck is one stretch of the index, and rows that come in order of time all go to its end
(docs/architecture.md has the measurement). Tables made before this order keep theirs, which works the same."""
KEY_COLUMNS: Final = (
    ("vehicle_id", "integer", "random vehicle number; never the VIN"),
    ("source_address", "smallint", "J1939 source address, 0 to 255; -1 on an 11-bit id"),
    ("destination_address", "smallint", "J1939 destination address; -1 where it has none"),
    ("channel", "text", "bus channel as the log names it"),
    ("time", "timestamptz", "time of the frame"),
    ("log_file_id", "bigint", "the log file it came from (pm.log_file)"),
)
"""Columns before the signals: name, type, meaning."""

_RESERVED: Final = frozenset(name for name, _, _ in KEY_COLUMNS) | {
    "tableoid", "xmin", "cmin", "xmax", "cmax", "ctid",
}  # fmt: skip
_FRAME_COLUMNS: Final = frozenset({"vehicle_id", "log_file_id", "known_at"})
_NAME_BYTES: Final = 63
_REAL_BITS: Final = 24
"""Raw numbers up to this width stand exactly in a real's significand."""
CHUNK: Final = "7 days"
"""Length of a new telemetry table's chunks; `pm db upkeep` sets another."""


@dataclass(frozen=True)
class TelemetryTable:
    """Where a message's rows stand."""

    message: str
    name: str
    columns: Mapping[str, str]
    """Column by signal, in the table's order."""
    dtypes: Mapping[str, pl.DataType]
    """Stored type by signal: Float32, Float64 or String."""

    @property
    def target(self) -> frames.Target:
        return frames.Target("telemetry", self.name, KEY)


_known: WeakKeyDictionary[psycopg.Connection, dict[str, tuple[MessagePlan, TelemetryTable]]] = WeakKeyDictionary()
"""Tables this connection has made sure of, with the plan they fit."""


def ensure_tables(conn: psycopg.Connection, database: SignalDatabase) -> tuple[TelemetryTable, ...]:
    """Make sure of the table of every message that has signals; see `ensure_table`."""
    return tuple(ensure_table(conn, message) for message in database.messages if message.signals)


def ensure_table(conn: psycopg.Connection, message: MessagePlan) -> TelemetryTable:
    """The message's table, made or widened where it has no column for a signal; the dictionary is kept up.

    Commits by itself, in the session beside `conn`. Safe from several processes at once. After the
    first time on a connection this costs nothing.

    Raises:
        ConfigError: a signal has the name of a column of every frame, or was a number and is a
            text now (or the other way round).
        StoreError: the database could not do it, or a long transaction held the table.
    """
    cached = _known.setdefault(conn, {})
    plan, table = cached.get(message.name, (None, None))
    if table is None or (plan is not message and plan != message):
        _require_names(message)
        with refusals(f"message {message.name}"):
            table = _fitting(conn, message)
            if table is None:
                with beside(conn) as session:
                    run(session, "signal", "lock")
                    table = _make(session, message)
        cached[message.name] = (message, table)
    return table


def _fitting(conn: psycopg.Connection, message: MessagePlan) -> TelemetryTable | None:
    """The stored table where it already is what this plan asks for.

    Looked up without a lock: a worker that has written a new chunk holds its table until it
    commits, and whoever comments on that table would wait for it while holding back everybody
    who needs a new one.
    """
    table = stored_table(conn, message.name)
    if table is None:
        return None
    described = frames.fetch(conn, SIGNAL, "of_message", message=message.name)
    current = set(described.filter(pl.col("dbc_sha256") == message.dbc_sha256)["signal"])
    fits = all(
        signal.column in current and table.dtypes[signal.column] in (dtype_of(signal), _WIDER.get(dtype_of(signal)))
        for signal in message.signals
    )
    return table if fits else None


def fetch_dictionary(conn: psycopg.Connection) -> pl.DataFrame:
    """The dictionary of signals: SIGNAL, by message and signal."""
    return frames.fetch(conn, SIGNAL, "all")


def stored_messages(conn: psycopg.Connection) -> tuple[str, ...]:
    """Names of the messages that have a table, sorted."""
    return tuple(str(row[0]) for row in run(conn, "signal", "messages").fetchall())


def stored_table(conn: psycopg.Connection, message: str) -> TelemetryTable | None:
    """The table of a stored message by its DBC name; None where nothing of it was ever stored."""
    rows = run(conn, "signal", "columns_of_message", message=message).fetchall()
    if not rows:
        return None
    columns = {str(signal): str(column) for _, signal, column, _ in rows}
    return TelemetryTable(message, str(rows[0][0]), columns, {str(row[1]): _DTYPES[str(row[3])] for row in rows})


_WIDER: Final[dict[pl.DataType, pl.DataType]] = {pl.Float32(): pl.Float64()}
_DTYPES: Final[dict[str, pl.DataType]] = {
    postgres_type(dtype).sql: dtype for dtype in (pl.Float32(), pl.Float64(), pl.String())
}


def _require_names(message: MessagePlan) -> None:
    columns = [signal.column for signal in message.signals]
    taken = sorted(set(columns) & _FRAME_COLUMNS) + sorted({name for name in columns if columns.count(name) > 1})
    if taken:
        raise ConfigError(f"message {message.name}: expected signal names of its own, but got {taken}")


def _make(session: psycopg.Connection, message: MessagePlan) -> TelemetryTable:
    before = stored_table(session, message.name)
    if before is None:
        before = TelemetryTable(
            message.name, _free_name(message.name, _table_names(session) | set(fixed_views())), {}, {}
        )
        _create(session, before.name, message)
    columns, dtypes = dict(before.columns), dict(before.dtypes)
    for signal in message.signals:
        name, dtype = signal.column, dtype_of(signal)
        stored = dtypes.get(name)
        if stored is None:
            columns[name], dtypes[name] = _free_name(name, _RESERVED | set(columns.values())), dtype
            _alter(session, before.name, "ADD COLUMN {} {}", columns[name], dtype)
        elif _WIDER.get(stored) == dtype:
            dtypes[name] = dtype
            drop_view(session, before.name)  # a column that a view shows keeps its type
            _alter(session, before.name, "ALTER COLUMN {} TYPE {}", columns[name], dtype)
        elif (stored == pl.String()) != signal.is_text:
            raise ConfigError(
                f"message {message.name}, signal {signal.name}: expected {stored} as stored, but got {dtype}: "
                "a text and a number cannot share a column"
            )
    _describe(session, before.name, columns, message)
    refresh_view(session, before.name)
    return TelemetryTable(message.name, before.name, columns, dtypes)


def dtype_of(signal: SignalPlan) -> pl.DataType:
    """How the signal's values are stored."""
    if signal.is_text:
        return pl.String()
    return pl.Float64() if signal.length > _REAL_BITS else pl.Float32()


def _table_names(session: psycopg.Connection) -> set[str]:
    return {str(row[0]) for row in run(session, "signal", "table_names").fetchall()}


def _free_name(name: str, taken: Collection[str]) -> str:
    """`name` in lower case, at most 63 bytes; with _2, _3, ... where that is taken."""
    plain = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in name.lower()) or "_"
    plain = plain if not plain[0].isdigit() else f"_{plain}"
    candidate, number = plain[:_NAME_BYTES], 1
    while candidate in taken:
        number += 1
        candidate = f"{plain[: _NAME_BYTES - len(str(number)) - 1]}_{number}"
    return candidate


def _create(session: psycopg.Connection, name: str, message: MessagePlan) -> None:
    table = sql.Identifier("telemetry", name)
    columns = [
        sql.SQL("{} {} NOT NULL").format(sql.Identifier(column), sql.SQL(kind)) for column, kind, _ in KEY_COLUMNS
    ]
    key = sql.SQL(", ").join(map(sql.Identifier, KEY))
    session.execute(sql.SQL("CREATE TABLE {} ({}, PRIMARY KEY ({}))").format(table, sql.SQL(", ").join(columns), key))
    run(session, "signal", "make_hypertable", table=table.as_string(session), chunk=CHUNK)
    _comment(session, sql.SQL("TABLE {}").format(table), f"{message.name}{_number(message)}. {message.comment}".strip())
    for column, _, meaning in KEY_COLUMNS:
        _comment(session, sql.SQL("COLUMN {}").format(sql.Identifier("telemetry", name, column)), meaning)


def _number(message: MessagePlan) -> str:
    """How the bus knows the message; nothing where it is no CAN message but columns of an import."""
    if message.pgn is not None:
        return f" (PGN {message.pgn})"
    return f" (id {message.frame_id:X}h)" if message.frame_id else ""


def _alter(session: psycopg.Connection, name: str, action: str, column: str, dtype: pl.DataType) -> None:
    done = sql.SQL(action).format(sql.Identifier(column), sql.SQL(postgres_type(dtype).sql))
    session.execute(sql.SQL("ALTER TABLE {} {}").format(sql.Identifier("telemetry", name), done))


def _describe(session: psycopg.Connection, table: str, columns: Mapping[str, str], message: MessagePlan) -> None:
    """The rows of the dictionary, and comments on the columns whose rows say something new.

    On those only: a comment waits for the end of every file that is being written to the table.
    """
    rows = [_dictionary_row(table, columns[signal.column], signal, message) for signal in message.signals]
    wanted = SIGNAL.frame(rows)
    stored = frames.fetch(session, SIGNAL, "of_message", message=message.name)
    said = [name for name in SIGNAL.column_names if name != "dbc_sha256"]
    new = set(wanted.join(stored, on=said, how="anti", nulls_equal=True)["signal"])
    for signal in message.signals:
        if signal.column in new:
            column = sql.Identifier("telemetry", table, columns[signal.column])
            _comment(session, sql.SQL("COLUMN {}").format(column), _meaning(signal))
    changed = wanted.join(stored, on=SIGNAL.column_names, how="anti", nulls_equal=True)
    frames.insert(session, SIGNAL, changed, on_conflict="replace")


def _meaning(signal: SignalPlan) -> str:
    spn = f"SPN {signal.spn}" if signal.spn is not None else ""
    span = f"{signal.minimum} to {signal.maximum}" if None not in (signal.minimum, signal.maximum) else ""
    facts = ", ".join(fact for fact in (f"[{signal.unit}]" if signal.unit else "", spn, span) if fact)
    return ". ".join(part for part in (f"{signal.name} {facts}".strip(), signal.comment) if part)


def _dictionary_row(table: str, column: str, signal: SignalPlan, message: MessagePlan) -> dict[str, object]:
    return {
        "message": message.name,
        "signal": signal.column,
        "table_name": table,
        "column_name": column,
        "pgn": message.pgn,
        "spn": signal.spn,
        "unit": signal.unit,
        "minimum": signal.minimum,
        "maximum": signal.maximum,
        "description": signal.comment,
        "dbc_sha256": message.dbc_sha256,
    }


def _comment(session: psycopg.Connection, on: sql.Composed, text: str) -> None:
    # COMMENT is a utility statement and takes no bind parameter: psycopg quotes the text as a literal.
    session.execute(sql.SQL("COMMENT ON {} IS {}").format(on, sql.Literal(text.replace("\0", ""))))
