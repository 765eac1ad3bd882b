"""What tables stand in schemas pm and telemetry, as the database itself says.

What belongs here: reading the catalog, for work that must not forget a table that came later:
checksums, dumps, erasing a vehicle. What the tables mean is `pm.tables` and the migrations.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

import psycopg
from psycopg import sql

from pm.store.queries import run


@dataclass(frozen=True)
class StoredColumn:
    """A column and its type in PostgreSQL's words, for instance "timestamp with time zone"."""

    name: str
    type: str
    generated: bool = False
    """Computed by the database from other columns (GENERATED ALWAYS AS)."""


@dataclass(frozen=True)
class StoredTable:
    """A table as it stands: its columns in their physical order."""

    schema: str
    name: str
    columns: tuple[StoredColumn, ...]

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name)

    @cached_property
    def column_names(self) -> frozenset[str]:
        return frozenset(column.name for column in self.columns)

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


def stored_tables(conn: psycopg.Connection) -> tuple[StoredTable, ...]:
    """Every table of schemas pm and telemetry that has columns, by schema and name; no views, no chunks.

    Raises:
        StoreError: the database could not do it.
    """
    rows = run(conn, "catalog", "columns").fetchall()
    return tuple(
        StoredTable(schema, name, tuple(StoredColumn(*row[2:]) for row in group))
        for (schema, name), group in groupby(rows, key=lambda row: (str(row[0]), str(row[1])))
    )


def parents_first(conn: psycopg.Connection, tables: Sequence[StoredTable]) -> tuple[StoredTable, ...]:
    """The same tables, each behind those that its foreign keys refer to; otherwise by name."""
    refers: Mapping[str, set[str]] = {str(table): set() for table in tables}
    for child_schema, child, parent_schema, parent in run(conn, "catalog", "foreign_keys").fetchall():
        child_name, parent_name = f"{child_schema}.{child}", f"{parent_schema}.{parent}"
        if child_name in refers and parent_name in refers and child_name != parent_name:
            refers[child_name].add(parent_name)
    left, ordered = sorted(tables, key=str), list[StoredTable]()
    while left:
        placed = {str(table) for table in ordered}
        # A circle of foreign keys has no such order; the rest then goes by name.
        ready = [table for table in left if refers[str(table)] <= placed] or left
        ordered += ready
        left = [table for table in left if table not in ready]
    return tuple(ordered)
