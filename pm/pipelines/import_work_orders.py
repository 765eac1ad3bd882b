"""`pm import work-orders`: a CSV file of work order lines into `work_order`, every version kept."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import polars as pl

from pm.pipelines.tabular import RejectedRow, read_rows
from pm.schema import UTC_INSTANT, Column
from pm.store import vehicles, work_orders
from pm.store.connection import Connection
from pm.tables import WORK_ORDER

_FILLED_HERE: Final = frozenset({"vehicle_id", "known_at", "withdrawn"})
COLUMNS: Final = (
    *(column for column in WORK_ORDER.columns if column.name not in _FILLED_HERE),
    Column("vehicle_ref", pl.String(), "unit number"),
    Column("recorded_at", UTC_INSTANT, "when the row entered the shop system", nullable=True),
    Column("withdrawn", pl.Boolean(), "this version takes the line back", nullable=True),
)


@dataclass(frozen=True)
class WorkOrderImport:
    """Versions in the file, versions that were new, and the rows that were refused."""

    n_versions: int
    n_new: int
    rejected: tuple[RejectedRow, ...]


def import_work_orders(conn: Connection, path: Path, *, imported_at: datetime) -> WorkOrderImport:
    """Store each version of each line once.

    `recorded_at` is the knowledge time; a row without it was known when it was imported, never
    when the work was completed. A row of an unknown vehicle, or recorded after the import, is
    refused with its reason.

    Raises:
        DataError: the file or its header cannot be used.
    """
    rows = read_rows(path, COLUMNS)
    known = vehicles.fetch_vehicles(conn).select("vehicle_ref", "vehicle_id")
    joined = rows.frame.join(known, on="vehicle_ref", how="left", maintain_order="left")
    ambiguous = joined["line"].is_duplicated()
    late = joined["recorded_at"] > imported_at
    reasons = joined.select(
        pl.when(pl.col("vehicle_id").is_null())
        .then(pl.format("vehicle_ref: expected a known vehicle, but got '{}'", "vehicle_ref"))
        .when(pl.lit(ambiguous))
        .then(pl.format("vehicle_ref: expected one vehicle, but '{}' is in several fleets", "vehicle_ref"))
        .when(pl.lit(late).fill_null(value=False))
        .then(pl.lit("recorded_at: expected an instant before the import"))
        .alias("reason")
    )["reason"]
    fit = joined.filter(reasons.is_null()).with_columns(
        known_at=pl.coalesce("recorded_at", pl.lit(imported_at)),
        withdrawn=pl.col("withdrawn").fill_null(value=False),
    )
    versions = fit.sort("known_at").unique(list(WORK_ORDER.key), keep="last", maintain_order=True)
    with conn.transaction():
        n_new = work_orders.insert_versions(conn, WORK_ORDER.check(versions))
    refused = joined.with_columns(reason=reasons).filter(reasons.is_not_null()).unique("line", maintain_order=True)
    unknown = tuple(RejectedRow(line, reason) for line, reason in refused.select("line", "reason").iter_rows())
    return WorkOrderImport(versions.height, n_new, rows.rejected + unknown)
