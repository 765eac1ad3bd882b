"""Named queries from `sql/queries/<group>.sql`, and what the database refuses in this product's words.

What belongs here: finding a query's text, running one with bind parameters, and turning psycopg's
errors into `pm.errors`. Frames in and out are `pm.store.frames`.

A file holds queries one after the other, each after a line `-- name: <name>`; values stand as
`%(name)s`, and a per cent sign of the query itself is doubled.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final

import psycopg

from pm.errors import ConfigError, DataError, StoreError

_FOLDER: Final = Path(__file__).resolve().parents[2] / "sql" / "queries"
_NAME: Final = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


@cache
def load_queries(group: str, folder: Path = _FOLDER) -> dict[str, str]:
    """The queries of `<folder>/<group>.sql` by name.

    Raises:
        ConfigError: the file cannot be read, or names a query twice.
    """
    file = folder / f"{group}.sql"
    try:
        parts = _NAME.split(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as reason:
        raise ConfigError(f"queries {file}: expected a readable file, but got: {reason}") from None
    names, texts = parts[1::2], [text.strip().rstrip(";") for text in parts[2::2]]
    if len(set(names)) != len(names):
        raise ConfigError(f"queries {file}: expected each name once, but got {sorted(names)}")
    return dict(zip(names, texts, strict=True))


def named(group: str, name: str) -> str:
    """The text of one query.

    Raises:
        ConfigError: `sql/queries/<group>.sql` has none of that name.
    """
    queries = load_queries(group)
    if name not in queries:
        raise ConfigError(f"queries {group}.sql: expected one of {sorted(queries)}, but got {name}")
    return queries[name]


def run(conn: psycopg.Connection, group: str, name: str, **params: object) -> psycopg.Cursor[tuple[Any, ...]]:
    """The cursor of one named query, run with bind parameters.

    Raises:
        DataError: the rows break a rule of the table.
        StoreError: the database refused or could not be reached.
    """
    with refusals(f"query {group}.{name}"):
        return conn.execute(named(group, name).encode(), params)


@contextmanager
def refusals(what: str) -> Iterator[None]:
    """Turns psycopg's errors inside the block into this product's.

    Raises:
        DataError: the values break a constraint or do not fit their columns.
        StoreError: anything else: no connection, a lock not had in time, a missing table.
    """
    try:
        yield
    except (psycopg.IntegrityError, psycopg.DataError) as error:
        raise DataError(f"{what}: expected rows that the table takes, but got: {_reason(error)}") from None
    except psycopg.Error as error:
        raise StoreError(f"{what}: expected the database to do it, but got: {_reason(error)}") from None


def _reason(error: psycopg.Error) -> str:
    told = " ".join(part for part in (error.diag.message_primary, error.diag.message_detail) if part)
    return told or " ".join(str(error).split()) or type(error).__name__
