"""Schema `readable`: views for people and Grafana, over telemetry tables and over what `sql/views` names.

What belongs here: when a view is made, made again because what it shows has changed, or taken down
for a migration. What a telemetry view shows is `pm.store.telemetry_views`.

A view ends its comment with a digest of all that it was made from: the dictionary, the columns, the
file in `sql/views`, the code that makes telemetry views. Equal digests: nothing to do. A view runs
with its owner's rights, so none may read `pm.vehicle_identity`; signals that are a VIN are left out.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import psycopg
from psycopg import sql

from pm.store import frames, readable_names, telemetry_views
from pm.store.queries import named, refusals, run
from pm.store.telemetry_views import comment, make_telemetry_view

_FOLDER: Final = Path(__file__).resolve().parents[2] / "sql" / "views"
_DIGEST_DIGITS: Final = 12


@dataclass(frozen=True)
class _Made:
    """A view that stands."""

    digest: str | None
    """None: nobody of this product made it."""
    columns: tuple[str, ...]


@dataclass(frozen=True)
class _Comparison:
    """What stands beside what should."""

    made: Mapping[str, _Made]
    stale: Mapping[str, tuple[str | None, str]]
    """Views to make: their telemetry table (None: a file of `sql/views`) and digest."""
    left_over: tuple[str, ...]
    """Views made here whose table or file is gone."""

    @property
    def fits(self) -> bool:
        return not self.stale and not self.left_over


def refresh_views(conn: psycopg.Connection) -> tuple[str, ...]:
    """Make every view that is missing or shows something older; returns their names.

    Costs three look-ups in the catalogue where nothing has changed. Safe from several processes at once.

    Raises:
        StoreError: the database could not do it; a view of somebody else's on top of one of these is named.
    """
    with refusals("views of schema readable"):
        if not _has_schema(conn) or _compare(conn).fits:
            return ()
        with frames.atomic(conn):
            run(conn, "signal", "lock")
            return _renew(conn, _compare(conn))


def refresh_view(session: psycopg.Connection, table_name: str) -> None:
    """Make the view of one table of schema `telemetry` where it is missing or shows something older.

    In the caller's transaction, which holds the lock of `pm.signal`.

    Raises:
        StoreError: see `refresh_views`.
    """
    with refusals(f"view of telemetry.{table_name}"):
        if _has_schema(session):
            _renew(session, _compare(session, table_name))


def drop_view(session: psycopg.Connection, table_name: str) -> None:
    """Take down the view of one telemetry table: a column's type cannot change while a view shows it.

    Raises:
        StoreError: a view of somebody else's stands on top of it.
    """
    name = view_name(table_name)
    with refusals(f"view readable.{name}"):
        if name in _made(session):
            _drop(session, [name])


def drop_views(conn: psycopg.Connection) -> None:
    """Take down the views, so that a migration may change what stands under them; in the caller's transaction.

    One that has a view of somebody else's on top stays: the migration says so itself if that is in its way.
    """
    with refusals("views of schema readable"):
        if not _has_schema(conn):
            return
        run(conn, "signal", "lock")
        for name, made in _made(conn).items():
            if made.digest is not None:
                with _unless_needed(conn):
                    _drop(conn, [name])


def view_name(table_name: str) -> str:
    """The view of a telemetry table: its own name, with `_message` where a view of `sql/views` has that."""
    return f"{table_name}_message" if table_name in fixed_views() else table_name


@cache
def fixed_views(folder: Path = _FOLDER) -> Mapping[str, str]:
    """The views of `sql/views` by name: the text of each file."""
    return {file.stem: file.read_text(encoding="utf-8") for file in sorted(folder.glob("*.sql"))}


@cache
def _rules() -> str:
    """Digest of the code that makes telemetry views: where that changes, they are made anew."""
    sources = (Path(readable_names.__file__), Path(telemetry_views.__file__))
    return _digest("".join(source.read_text(encoding="utf-8") for source in sources) + named("view", "columns"))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_DIGITS]


def _has_schema(conn: psycopg.Connection) -> bool:
    row = run(conn, "view", "has_schema").fetchone()
    return row is not None and bool(row[0])


def _made(conn: psycopg.Connection) -> dict[str, _Made]:
    return {str(name): _Made(digest, tuple(columns)) for name, digest, columns in run(conn, "view", "made")}


def _compare(conn: psycopg.Connection, table: str | None = None) -> _Comparison:
    """What stands beside what should: of one telemetry table, or of everything."""
    tables = run(conn, "view", "wanted", table=table, rules=_rules()).fetchall()
    wanted = {view_name(name): (name, digest) for name, digest in tables}
    if table is None:
        wanted |= {name: (None, _digest(text)) for name, text in fixed_views().items()}
    made = _made(conn)
    ours = {name: view.digest for name, view in made.items() if view.digest is not None}
    return _Comparison(
        made=made,
        stale={name: want for name, want in wanted.items() if ours.get(name) != want[1]},
        left_over=tuple(name for name in ours if name not in wanted) if table is None else (),
    )


def _renew(conn: psycopg.Connection, found: _Comparison) -> tuple[str, ...]:
    _drop(conn, found.left_over)
    for name, (table, digest) in found.stale.items():
        standing = found.made[name].columns if name in found.made else ()
        if table is not None:
            make_telemetry_view(conn, name, table, standing=standing)
        else:
            _drop(conn, [name] if standing else [])
            conn.execute(fixed_views()[name].encode())
        _sign(conn, name, digest)
    return tuple(found.stale)


def _sign(conn: psycopg.Connection, name: str, digest: str) -> None:
    said = run(conn, "view", "view_comment", view=name).fetchone()
    text = f"{said[0] if said else ''} [definition {digest}]".strip()
    comment(conn, sql.SQL("VIEW {}").format(sql.Identifier("readable", name)), text)


def _drop(conn: psycopg.Connection, names: Iterable[str]) -> None:
    for name in names:
        conn.execute(sql.SQL("DROP VIEW {}").format(sql.Identifier("readable", name)))


@contextmanager
def _unless_needed(conn: psycopg.Connection) -> Iterator[None]:
    try:
        with conn.transaction():
            yield
    except psycopg.errors.DependentObjectsStillExist:
        pass
