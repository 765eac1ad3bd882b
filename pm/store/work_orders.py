"""Work orders and what they mean: `pm.work_order`, `pm.failure`.

What belongs here: keeping every version of a work order line once, and the failures that
`pm.labels.failures` makes of them.
"""

from datetime import datetime

import polars as pl
import psycopg

from pm.errors import DataError
from pm.store import frames
from pm.store.queries import refusals, run
from pm.tables import FAILURE, WORK_ORDER

_LINE = ["source_system", "work_order_id", "line_no"]
_CONTENT = [name for name in WORK_ORDER.column_names if name not in WORK_ORDER.key]


def insert_versions(conn: psycopg.Connection, versions: pl.DataFrame) -> int:
    """Write versions of work order lines (WORK_ORDER); returns how many were new.

    A version that says the same as the one known just before it is not stored: importing a file
    again changes nothing, whatever instant the import gives it.

    Raises:
        DataError: the frame does not fit the declaration, names an unknown vehicle, or says
            something else of a line than what is stored of the same instant.
    """
    given = WORK_ORDER.check(versions)
    if given.height == 0:
        return 0
    with refusals("table pm.work_order"), frames.atomic(conn):
        run(conn, "work_order", "lock")
        orders = given["work_order_id"].unique().to_list()
        stored = frames.fetch(conn, WORK_ORDER, "of_orders", orders=orders)
        return frames.insert(conn, WORK_ORDER, new_versions(stored, given))


def fetch_orders(conn: psycopg.Connection, orders: pl.Series) -> pl.DataFrame:
    """Stored versions of the orders with these numbers, of whatever source system: WORK_ORDER."""
    return frames.fetch(conn, WORK_ORDER, "of_orders", orders=orders.to_list())


def new_versions(stored: pl.DataFrame, given: pl.DataFrame) -> pl.DataFrame:
    """The rows of `given` (WORK_ORDER) that say something else than the version known just before.

    Raises:
        DataError: a line has two contents of one instant.
    """
    marked = pl.concat([stored.with_columns(new=pl.lit(False)), given.with_columns(new=pl.lit(True))])
    ordered = marked.sort([*WORK_ORDER.key, "new"])
    same = pl.all_horizontal(pl.col(name).eq_missing(pl.col(name).shift(1).over(_LINE)) for name in _CONTENT)
    follows = pl.col("known_at").shift(1).over(_LINE)
    judged = ordered.with_columns(same=same & follows.is_not_null(), clash=pl.col("known_at") == follows)
    clashes = judged.filter("clash", ~pl.col("same"))
    if clashes.height:
        raise DataError(
            f"work order {clashes.select(_LINE).row(0)}: expected one content known at "
            f"{clashes['known_at'][0].isoformat()}, but got another than the stored one"
        )
    return judged.filter("new", ~pl.col("same")).select(WORK_ORDER.column_names)


def fetch_work_orders(conn: psycopg.Connection, *, known_by: datetime | None = None) -> pl.DataFrame:
    """Versions: WORK_ORDER, by key; with `known_by`, those known by then."""
    return frames.fetch(conn, WORK_ORDER, "all", known_by=known_by)


def replace_failures(conn: psycopg.Connection, failures: pl.DataFrame) -> int:
    """Write all failures (FAILURE) in place of those stored: they follow from the work orders and the rules.

    Raises:
        DataError: the frame does not fit the declaration, or names an unknown vehicle.
    """
    checked = FAILURE.check(failures)
    with refusals("table pm.failure"), frames.atomic(conn):
        run(conn, "failure", "lock")
        run(conn, "failure", "delete_all")
        return frames.insert(conn, FAILURE, checked)


def fetch_failures(conn: psycopg.Connection, *, known_by: datetime | None = None) -> pl.DataFrame:
    """Failures: FAILURE, by key; with `known_by`, versions known by then."""
    return frames.fetch(conn, FAILURE, "all", known_by=known_by)
