"""Frames in and out of the database, checked on both sides.

What belongs here: how any table is written and read: binary COPY, staging, conflict rules. Which
rows, and when, is said by the modules a group of tables (`pm.store.dailies`, ...).

Nothing here commits a caller's transaction: inside `with conn.transaction():` every write is part
of it, outside (the connection is in autocommit) each call is a transaction of its own.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final, Literal

import polars as pl
import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus

from pm.errors import DataError, StoreError
from pm.schema import Table
from pm.store import copy_binary, copy_out
from pm.store.queries import named, refusals

OnConflict = Literal["error", "ignore", "replace"]


class KeyStoredError(StoreError):
    """A row's key was stored already, where none was expected: the transaction is to be rolled back."""


_LAST: Final = (copy_binary.TRAILER, copy_binary.HEADER + copy_binary.TRAILER)
"""The last message of a binary COPY out: the trailer, which comes with the header where there are no rows."""
_STAGE: Final = sql.Identifier("pg_temp", "pm_stage")


@dataclass(frozen=True)
class Target:
    """A database table as a place to write to."""

    schema: str
    name: str
    key: tuple[str, ...]
    json: frozenset[str] = frozenset()

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name)

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


def target_of(table: Table) -> Target:
    """Where a declared table stands."""
    json = frozenset(column.name for column in table.columns if column.json)
    return Target("pm", table.name, table.key, json)


def insert(conn: psycopg.Connection, table: Table, frame: pl.DataFrame, *, on_conflict: OnConflict = "error") -> int:
    """Write `frame` into the table; returns the number of rows written.

    Args:
        on_conflict: what to do with a row whose key is stored: refuse all, leave the stored one
            ("ignore"), or write over it ("replace").

    Columns the database generates are not written. All rows are written, or none.

    Raises:
        DataError: the frame does not fit the declaration, or breaks a rule of the table.
        StoreError: the database could not do it.
    """
    written = tuple(column for column in table.columns if column.name not in table.generated)
    declared = replace(table, columns=written, key=tuple(name for name in table.key if name not in table.generated))
    checked = declared.check(frame)
    if on_conflict == "error" or not declared.key:
        return copy_in(conn, target_of(table), checked)
    if on_conflict == "ignore":
        return write_new(conn, target_of(table), checked)
    return write_over(conn, target_of(table), checked)


def fetch(conn: psycopg.Connection, table: Table, query: str, **params: object) -> pl.DataFrame:
    """The rows of the named query `query` of `sql/queries/<table>.sql`, checked against the declaration.

    Raises:
        DataError: the rows do not fit the declaration.
        StoreError: the database could not do it.
    """
    return table.check(select(conn, named(table.name, query), params, table))


def select(conn: psycopg.Connection, query: str, params: Mapping[str, object], table: Table) -> pl.DataFrame:
    """The columns of `table` out of the rows of any query, in its order, not checked."""
    schema = {column.name: column.dtype for column in table.columns}
    columns = [
        sql.SQL("{}::{}").format(sql.Identifier(name), sql.SQL(copy_binary.postgres_type(dtype).sql))
        for name, dtype in schema.items()
    ]
    statement = sql.SQL("SELECT {} FROM (\n{}\n) AS rows").format(sql.SQL(", ").join(columns), sql.SQL(query))
    return copy_query(conn, statement, params, schema, what=f"table {table.name}")


def copy_query(
    conn: psycopg.Connection,
    statement: sql.Composed,
    params: Mapping[str, object],
    schema: Mapping[str, pl.DataType],
    *,
    what: str,
) -> pl.DataFrame:
    """The rows of `statement`, whose columns have the database types of `schema`, through binary COPY.

    COPY takes no bind parameters. The values are put in by psycopg's `ClientCursor`, which writes
    each through its type's adapter as a quoted and escaped literal (libpq's own escaping for this
    connection's encoding): a value cannot end its literal. No value is ever formatted in here.
    """
    with refusals(what), conn.cursor() as cursor:
        filled = psycopg.ClientCursor(conn).mogrify(statement, params)
        command = sql.SQL("COPY ({}) TO STDOUT (FORMAT binary)").format(sql.SQL(filled))
        with cursor.copy(command) as copy:
            return copy_out.decode(_messages(conn, copy), schema)


def _messages(conn: psycopg.Connection, copy: psycopg.Copy) -> Iterator[bytes]:
    """The messages of a binary COPY out, as iterating over `copy` gives them.

    What libpq has received already is taken from it directly: psycopg's own way for each row costs ten times
    as much. The trailer ends it, so that psycopg itself meets the end of the COPY, or its error.
    """
    while True:
        size, message = conn.pgconn.get_copy_data(1)
        if size < 0:
            raise psycopg.OperationalError(_ended(conn))
        row = bytes(message) if size else bytes(copy.read())
        yield row
        if row in _LAST:
            copy.read()  # the end of the COPY
            return
        if not row:
            return


def _ended(conn: psycopg.Connection) -> str:
    """Why a COPY ended before its trailer; takes the results that wait, so that the connection can go on."""
    said = ""
    while (result := conn.pgconn.get_result()) is not None:
        said = said or result.get_error_message(conn.info.encoding)
    return said or "a COPY that ended before its trailer"


def copy_in(conn: psycopg.Connection, target: Target, frame: pl.DataFrame) -> int:
    """Write all rows of `frame` (columns named as the table's); a stored key is an error."""
    if frame.height == 0:
        return 0
    with refusals(f"table {target}"):
        _copy_rows(conn, target.identifier, plain_rows(target, frame))
    return frame.height


@dataclass(frozen=True)
class Rows:
    """Rows on their way into a table, no two with one key."""

    columns: tuple[str, ...]
    n_rows: int
    encode: Callable[[], Iterable[bytes | memoryview]]
    """Their binary COPY, made anew at each call."""


def rows_of(target: Target, frame: pl.DataFrame) -> Rows:
    """The rows of `frame`; of those with one key, the first."""
    return plain_rows(target, frame.unique(list(target.key), keep="first", maintain_order=True))


def plain_rows(target: Target, frame: pl.DataFrame) -> Rows:
    """The rows of `frame`, no two of which have one key."""
    return Rows(tuple(frame.columns), frame.height, lambda: copy_binary.encode(frame, json=target.json))


def write_new(conn: psycopg.Connection, target: Target, frame: pl.DataFrame) -> int:
    """Write the rows whose key is not stored; of rows with one key in the frame, the first."""
    return _write(conn, target, rows_of(target, frame), sql.SQL("NOTHING"))


def write_first_known(conn: psycopg.Connection, target: Target, rows: Rows, *, expect_new: bool = False) -> int:
    """Write rows that have a log_file_id; returns how many were written, anew or over others.

    Of two rows with one key, in the table or coming, that of the file known first stays, then that
    of the lower sha256, then of the lower part: so the order in which files arrive changes nothing.
    Within one file the row that came first stays.

    Args:
        expect_new: saves the savepoint that each write costs otherwise.

    Raises:
        KeyStoredError: with `expect_new`, a key is stored; the caller rolls back and begins again without.
    """
    if expect_new:
        return _write_new_only(conn, target, rows)
    return _write(conn, target, rows, _if_known_first(target, rows.columns))


def _write_new_only(conn: psycopg.Connection, target: Target, rows: Rows) -> int:
    with refusals(f"table {target}"):
        try:
            _copy_rows(conn, target.identifier, rows)
        except psycopg.errors.UniqueViolation:
            raise KeyStoredError(f"table {target}: expected new keys, but got one that is stored") from None
    return rows.n_rows


def _write(conn: psycopg.Connection, target: Target, rows: Rows, on_conflict: sql.Composable) -> int:
    """New data, the usual case, go straight into the table. Only where a key is stored already is
    that rolled back and done again through a staging table, which costs about twice the time."""
    if rows.n_rows == 0:
        return 0
    with refusals(f"table {target}"), atomic(conn):
        try:
            with conn.transaction():
                _copy_rows(conn, target.identifier, rows)
            return rows.n_rows
        except psycopg.errors.UniqueViolation:
            return _from_stage(conn, target, rows, on_conflict)


def _if_known_first(target: Target, columns: Sequence[str]) -> sql.Composed:
    return sql.SQL(
        "UPDATE SET {} WHERE EXISTS ("
        "SELECT FROM pm.log_file AS coming LEFT JOIN pm.log_file AS there ON there.log_file_id = stored.log_file_id"
        " WHERE coming.log_file_id = EXCLUDED.log_file_id AND (there.log_file_id IS NULL OR"
        ' (coming.known_at, coming.sha256 COLLATE "C", coming.part)'
        ' < (there.known_at, there.sha256 COLLATE "C", there.part)))'
    ).format(_assignments(target, columns))


def _assignments(target: Target, columns: Sequence[str]) -> sql.Composed:
    others = [name for name in columns if name not in target.key]
    return sql.SQL(", ").join(sql.SQL("{0} = EXCLUDED.{0}").format(sql.Identifier(name)) for name in others)


def write_over(conn: psycopg.Connection, target: Target, frame: pl.DataFrame) -> int:
    """Write all rows, over stored ones of the same key."""
    if frame.height == 0:
        return 0
    only_key = set(frame.columns) <= set(target.key)
    update = sql.SQL("NOTHING") if only_key else sql.SQL("UPDATE SET {}").format(_assignments(target, frame.columns))
    with refusals(f"table {target}"), atomic(conn):
        return _from_stage(conn, target, plain_rows(target, frame), update)


def _from_stage(conn: psycopg.Connection, target: Target, rows: Rows, on_conflict: sql.Composable) -> int:
    with _stage(conn, target, rows.columns):
        _copy_rows(conn, _STAGE, rows)
        statement = sql.SQL(
            "INSERT INTO {} AS stored ({columns}) SELECT {columns} FROM {} ON CONFLICT ({}) DO {}"
        ).format(target.identifier, _STAGE, _names(target.key), on_conflict, columns=_names(rows.columns))
        return conn.execute(statement).rowcount


@contextmanager
def staged(conn: psycopg.Connection, target: Target, frame: pl.DataFrame) -> Iterator[sql.Identifier]:
    """`frame` in a temporary table with the column types of `target`, for the length of the block.

    Inside a transaction only; one at a time on a connection.
    """
    with _stage(conn, target, frame.columns):
        _copy_rows(conn, _STAGE, plain_rows(target, frame))
        yield _STAGE


@contextmanager
def _stage(conn: psycopg.Connection, target: Target, columns: Iterable[str]) -> Iterator[None]:
    if conn.info.transaction_status == TransactionStatus.IDLE:
        raise DataError("staging: expected a transaction, but got a connection outside one")
    conn.execute(
        sql.SQL("CREATE TEMPORARY TABLE pm_stage ON COMMIT DROP AS SELECT {} FROM {} WITH NO DATA").format(
            _names(columns), target.identifier
        )
    )
    yield
    conn.execute(sql.SQL("DROP TABLE {}").format(_STAGE))


@contextmanager
def atomic(conn: psycopg.Connection) -> Iterator[None]:
    """All of the block or nothing; never commits a transaction that the caller began or will end."""
    if not conn.autocommit and conn.info.transaction_status == TransactionStatus.IDLE:
        conn.execute("SELECT 1")  # begins the caller's transaction, so that the block is a savepoint in it
    with conn.transaction():
        yield


def _copy_rows(conn: psycopg.Connection, table: sql.Identifier, rows: Rows) -> None:
    command = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(table, _names(rows.columns))
    with conn.cursor() as cursor, cursor.copy(command) as copy:
        for chunk in rows.encode():
            copy.write(chunk)


def _names(names: Iterable[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, names))
