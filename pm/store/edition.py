"""What is on: engine, edition, chunks, columnstore, retention, roles, and the room that tables take.

What belongs here: looking, changing nothing; for `pm db status` and for measuring. Versions come from
`pm.store.server_session`; what shall be on is `pm.upkeep`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Literal

import psycopg
from psycopg import sql

from pm.store import server_session
from pm.store.queries import named, refusals, run
from pm.store.timescale_hypertables import COLUMNSTORE_SINCE, Hypertable, extension_schema, fetch_hypertables

ROLES: Final = ("pm_reader", "pm_identity")
SCHEMAS: Final = ("pm", "telemetry")
_DAY_S: Final = 86_400


@dataclass(frozen=True)
class TableSize:
    """Bytes that one table takes on the disk, all its chunks together."""

    schema: str
    name: str
    heap_bytes: int
    """Rows, with the maps of free space and visibility; the columnstore's rows too."""
    index_bytes: int
    toast_bytes: int
    """Long values, and all values of the columnstore, with the index that finds them."""

    @property
    def total_bytes(self) -> int:
        return self.heap_bytes + self.index_bytes + self.toast_bytes


@dataclass(frozen=True)
class Edition:
    """What a database offers and what of it is on."""

    engine: Literal["postgresql", "timescaledb"]
    server_version: str
    timescaledb_version: str | None
    edition: str | None
    """"Apache" or "Community"; None on plain PostgreSQL."""
    n_hypertables: int = 0
    n_chunks: int = 0
    chunk_d: tuple[float, ...] = ()
    """Lengths of new telemetry chunks in days, each once; more than one where upkeep was not run since a change."""
    n_columnstore_tables: int = 0
    """Tables whose old chunks the server puts into the columnstore."""
    columnstore_share: float | None = None
    """Share of the chunks that are there; None without chunks."""
    policies: Mapping[str, int] = field(default_factory=dict)
    """Jobs of the server on our tables, by what they do."""
    dropped_before: Mapping[str, datetime] = field(default_factory=dict)
    """By what was dropped for its age, telemetry or archive: what happened before is gone."""
    roles: Mapping[str, bool] = field(default_factory=dict)
    """Whether each role of `ROLES` is there."""
    schema_bytes: Mapping[str, int] = field(default_factory=dict)
    """Bytes by schema, indexes and chunks included."""


def inspect_edition(conn: psycopg.Connection) -> Edition:
    """What is on in the database behind `conn`, migrated or not; changes nothing.

    Raises:
        StoreError: the database could not do it.
    """
    with refusals("edition"):
        versions = server_session.describe(conn)
    hypertables = fetch_hypertables(conn)
    n_chunks, n_columnstore, policies = 0, 0, {}
    if versions.timescaledb is not None:
        n_chunks, n_columnstore = _numbers(conn, "chunks")
        policies = {str(name): int(number) for name, number in run(conn, "edition", "policies").fetchall()}
    roles = {str(name): bool(there) for name, there in run(conn, "edition", "roles", names=list(ROLES)).fetchall()}
    return Edition(
        "postgresql" if versions.timescaledb is None else "timescaledb",
        versions.server,
        versions.timescaledb,
        versions.edition,
        len(hypertables),
        n_chunks,
        _chunk_days(hypertables),
        sum(table.policy for table in hypertables),
        n_columnstore / n_chunks if n_chunks else None,
        policies,
        _dropped(conn),
        roles,
        _by_schema(table_sizes(conn)),
    )


def table_sizes(conn: psycopg.Connection, schemas: Sequence[str] = SCHEMAS) -> tuple[TableSize, ...]:
    """Bytes on the disk of every table in these schemas, by name; of a hypertable, all its chunks.

    For figures that do not move: after a CHECKPOINT, with no writer at work.

    Raises:
        StoreError: the database could not do it.
    """
    found = {row[:2]: row for row in run(conn, "edition", "plain_sizes", schemas=list(schemas)).fetchall()}
    extension = extension_schema(conn)
    if extension is not None:
        query = sql.SQL(named("edition", "hypertable_sizes")).format(extension=sql.Identifier(extension))
        with refusals("query edition.hypertable_sizes"):
            found |= {row[:2]: row for row in conn.execute(query, {"schemas": list(schemas)}).fetchall()}
    return tuple(
        TableSize(schema, name, *(int(value or 0) for value in found[schema, name][2:]))
        for schema, name in sorted(found)
    )


def telemetry_sizes(conn: psycopg.Connection) -> tuple[TableSize, ...]:
    """Bytes on the disk of each table of decoded signals; see `table_sizes`."""
    return table_sizes(conn, ("telemetry",))


def columnstore_hindrance(conn: psycopg.Connection) -> str | None:
    """Why this database has no columnstore, in a few words; None where it has."""
    with refusals("edition"):
        versions = server_session.describe(conn)
    if versions.edition != "Community":
        return "needs TimescaleDB Community"
    numbers = tuple(int(number) for number in re.findall(r"\d+", versions.timescaledb or "")[:2])
    return None if numbers >= COLUMNSTORE_SINCE else f"needs TimescaleDB {'.'.join(map(str, COLUMNSTORE_SINCE))}"


def _chunk_days(hypertables: Sequence[Hypertable]) -> tuple[float, ...]:
    return tuple(sorted({table.chunk.total_seconds() / _DAY_S for table in hypertables if table.schema == "telemetry"}))


def _numbers(conn: psycopg.Connection, query: str) -> tuple[int, int]:
    row = run(conn, "edition", query).fetchone()
    return (0, 0) if row is None else (int(row[0]), int(row[1]))


def _dropped(conn: psycopg.Connection) -> dict[str, datetime]:
    row = run(conn, "edition", "has_retention").fetchone()
    if row is None or not row[0]:
        return {}
    return {str(what): at.astimezone(UTC) for what, at, _ in run(conn, "retention", "all").fetchall()}


def _by_schema(sizes: Sequence[TableSize]) -> dict[str, int]:
    total: dict[str, int] = {}
    for size in sizes:
        total[size.schema] = total.get(size.schema, 0) + size.total_bytes
    return total
