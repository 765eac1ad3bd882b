"""Why a work order was read as it was, version by version."""

from dataclasses import dataclass

import polars as pl

from pm.errors import DataError
from pm.labels.explain import VersionExplanation, explain
from pm.labels.failures import FailureRules
from pm.store import vehicles, work_orders
from pm.store.connection import Connection


@dataclass(frozen=True)
class OrderExplanation:
    """Every version of every line of the orders with one number."""

    work_order_id: str
    vehicle_refs: tuple[str, ...]
    versions: tuple[VersionExplanation, ...]


def explain_order(
    conn: Connection, rules: FailureRules, work_order_id: str, *, source_system: str | None = None
) -> OrderExplanation:
    """The stored versions of the order, read by `rules` as they stand now; nothing is written.

    Args:
        source_system: the shop system, where two of them use the number.

    Raises:
        DataError: no order has that number, or several systems use it and none is named.
    """
    found = work_orders.fetch_orders(conn, pl.Series([work_order_id]))
    if source_system is not None:
        found = found.filter(pl.col("source_system") == source_system)
    systems = found["source_system"].unique().sort().to_list()
    if not systems:
        where = "" if source_system is None else f" of {source_system}"
        raise DataError(f"work order {work_order_id}{where}: expected a stored order, but got none of that number")
    if len(systems) > 1:
        raise DataError(f"work order {work_order_id}: expected one shop system, but got {systems}: name one")
    names = dict(vehicles.fetch_vehicles(conn).select("vehicle_id", "vehicle_ref").iter_rows())
    refs = sorted({names[vehicle_id] for vehicle_id in found["vehicle_id"].unique()})
    return OrderExplanation(work_order_id, tuple(refs), explain(found, rules))
