"""The folder a simulation leaves: its tables, its manifest, and writing it whole or not at all.

What belongs here: files other than logs, and the question whether a folder already holds this very
simulation.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import polars as pl

from pm.errors import ConfigError, DataError
from pm.simulate.changes import as_text
from pm.simulate.components import COMPONENTS
from pm.simulate.fleet import FleetConfig
from pm.simulate.truck import TruckFiles
from pm.simulate.workshop import SOURCE_SYSTEM

SIMULATOR_VERSION: Final = 2
"""Counts up whenever the same configuration gives other bytes."""
MANIFEST: Final = "manifest.json"
TABLES: Final = (
    "vehicles.csv",
    "uploads.csv",
    "work_orders.csv",
    "truth/failures.parquet",
    "truth/replacements.parquet",
    "truth/hazards.parquet",
    "truth/changes.parquet",
    "truth/miscoded.parquet",
)
_INSTANT: Final = "%Y-%m-%dT%H:%M:%SZ"
_UTC: Final = pl.Datetime("us", "UTC")
_Schema = dict[str, pl.DataType | type[pl.DataType]]
_VEHICLES: Final[_Schema] = {
    "fleet": pl.String, "vehicle_ref": pl.String, "model": pl.String, "model_year": pl.Int16, "duty": pl.String,
    "in_service_at": pl.String, "left_at": _UTC, "vin": pl.String,
}  # fmt: skip
_UPLOADS: Final[_Schema] = {"file": pl.String, "vehicle_ref": pl.String, "uploaded_at": _UTC}
_ORDERS: Final[_Schema] = {
    "order": pl.Int64, "line_no": pl.Int32, "vehicle_ref": pl.String, "opened_at": _UTC, "completed_at": _UTC,
    "reported_at": _UTC, "out_of_service_at": _UTC, "returned_to_service_at": _UTC, "recorded_at": _UTC,
    "planned": pl.Boolean, "roadside": pl.Boolean, "odometer_km": pl.Float64, "engine_h": pl.Float64,
    "reason_for_repair": pl.String, "work_accomplished": pl.String, "failure_code": pl.String, "vmrs": pl.String,
    "description": pl.String, "withdrawn": pl.Boolean,
}  # fmt: skip
_FAILURES: Final[_Schema] = {
    "vehicle_ref": pl.String, "component": pl.String, "mode": pl.String, "failed_at": _UTC, "returned_at": _UTC,
    "is_shock": pl.Boolean, "wear": pl.Float64,
}  # fmt: skip
_MISCODED: Final[_Schema] = {
    "order": pl.Int64, "line_no": pl.Int32, "vehicle_ref": pl.String, "opened_at": _UTC, "miscoded": pl.String,
    "true_kind": pl.String, "true_component": pl.String, "said_component": pl.String,
}  # fmt: skip
_CHANGES: Final[_Schema] = {"kind": pl.String, "day": pl.Int32, "what": pl.String}
_REPLACEMENTS: Final[_Schema] = {"vehicle_ref": pl.String, "component": pl.String, "day": pl.Int32, "wear": pl.Float64}


def write_tables(config: FleetConfig, trucks: Sequence[TruckFiles], folder: Path) -> None:
    """Write every table of `TABLES` into `folder`, rows in an order that depends on nothing but content."""
    (folder / "truth").mkdir()
    vehicles = pl.DataFrame([truck.vehicle for truck in trucks], schema=_VEHICLES)
    _write_csv(vehicles, folder / "vehicles.csv")
    logs = [(log.file, log.vehicle_ref, log.uploaded_at) for truck in trucks for log in truck.logs]
    uploads = pl.DataFrame(logs, schema=_UPLOADS, orient="row")
    _write_csv(uploads.sort("uploaded_at", "file"), folder / "uploads.csv")
    orders = pl.DataFrame([row for truck in trucks for row in truck.work_orders], schema=_ORDERS)
    numbers = _order_numbers(orders)
    _write_csv(_number_orders(orders, numbers), folder / "work_orders.csv")
    lines = pl.DataFrame([row for truck in trucks for row in truck.work_orders], schema=_MISCODED)
    miscoded = lines.filter(pl.col("miscoded").is_not_null()).unique(["vehicle_ref", "order", "line_no"])
    coded_as = miscoded.join(numbers, on=["vehicle_ref", "order"], how="left").drop("order")
    coded_as.sort("work_order_id", "line_no").write_parquet(folder / "truth" / "miscoded.parquet")
    failures = pl.DataFrame([row for truck in trucks for row in truck.failures], schema=_FAILURES)
    failures.sort("failed_at", "vehicle_ref").write_parquet(folder / "truth" / "failures.parquet")
    replacements = pl.DataFrame([row for truck in trucks for row in truck.replacements], schema=_REPLACEMENTS)
    _dated(config, replacements).sort("day", "vehicle_ref").write_parquet(folder / "truth" / "replacements.parquet")
    hazards = pl.concat([_hazard_frame(truck) for truck in trucks])
    _dated(config, hazards).write_parquet(folder / "truth" / "hazards.parquet")
    changes = [(change.kind, change.day, as_text(change)) for change in config.changes]
    changed = pl.DataFrame(changes, schema=_CHANGES, orient="row")
    _dated(config, changed).sort("day", "kind", "what").write_parquet(folder / "truth" / "changes.parquet")


def _write_csv(frame: pl.DataFrame, path: Path) -> None:
    frame.write_csv(path, datetime_format=_INSTANT)


def _order_numbers(orders: pl.DataFrame) -> pl.DataFrame:
    """The shop system's order numbers: in the order in which the orders were opened over the whole fleet."""
    key = ["vehicle_ref", "order"]
    opened = orders.group_by(key).agg(pl.col("opened_at").min()).sort("opened_at", *key)
    return opened.with_row_index("number", offset=20_001).select(
        *key, ("WO-" + pl.col("number").cast(pl.String)).alias("work_order_id")
    )


def _number_orders(orders: pl.DataFrame, numbers: pl.DataFrame) -> pl.DataFrame:
    numbered = orders.join(numbers, on=["vehicle_ref", "order"], how="left").with_columns(
        pl.lit(SOURCE_SYSTEM).alias("source_system")
    )
    first = ["source_system", "work_order_id"]
    return numbered.select(*first, pl.exclude(*first, "order")).sort("recorded_at", "work_order_id", "line_no")


def _hazard_frame(truck: TruckFiles) -> pl.DataFrame:
    parts = []
    for component in COMPONENTS:
        columns = {
            name: truck.hazards[f"{component.name}/{name}"] for name in ("wear", "p_failure_day", "p_failure_14d")
        }
        part = pl.DataFrame(columns).with_row_index("day").fill_nan(None)
        parts.append(
            part.select(
                pl.lit(truck.vehicle["vehicle_ref"]).alias("vehicle_ref"),
                pl.lit(component.name).alias("component"),
                pl.col("day").cast(pl.Int32),
                *columns,
            )
        )
    return pl.concat(parts)


def _dated(config: FleetConfig, frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.lit(config.start).dt.offset_by(pl.format("{}d", "day")).alias("day"))


def made_from(config: FleetConfig, dbc_sha256: Sequence[str]) -> dict[str, Any]:
    """What decides every byte of the output."""
    return {
        "simulator_version": SIMULATOR_VERSION,
        "config": {
            **asdict(config),
            "start": config.start.isoformat(),
            "formats": list(config.formats),
            "changes": [as_text(change) for change in config.changes],
        },
        "dbc_sha256": list(dbc_sha256),
    }


def write_manifest(folder: Path, made: Mapping[str, Any], counts: Mapping[str, Any]) -> None:
    """Write the manifest: what it was made from, counts, and the sha256 of each table."""
    content = {"made_from": made, "counts": counts, "sha256": {name: _sha256(folder / name) for name in TABLES}}
    (folder / MANIFEST).write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def read_counts(folder: Path, made: Mapping[str, Any]) -> dict[str, Any] | None:
    """The counts of a complete simulation in `folder` made from `made`; None where there is another one.

    Tables are checked by hash, logs by number and size.

    Raises:
        ConfigError: `folder` is no folder, or holds something that is no simulation.
        DataError: it is this simulation, but files are missing or changed.
    """
    if not folder.is_dir():
        raise ConfigError(f"simulation {folder}: expected a folder or nothing, but got a file")
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        found, counts, hashes = manifest["made_from"], dict(manifest["counts"]), manifest["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        raise ConfigError(
            f"simulation {folder}: expected an empty place or a simulation, but got other files"
        ) from None
    if found != made:
        return None
    damaged = [name for name in TABLES if not (folder / name).is_file() or _sha256(folder / name) != hashes.get(name)]
    sizes = [path.stat().st_size for path in (folder / "logs").rglob("*") if path.is_file()]
    if damaged or (len(sizes), sum(sizes)) != (counts["n_files"], counts["n_bytes"]):
        raise DataError(
            f"simulation {folder}: expected it complete, but got changed files ({damaged or 'logs'}); remove it"
        )
    return counts


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@contextmanager
def whole_or_nothing(out: Path) -> Iterator[Path]:
    """A folder beside `out` that takes its name when all went well, and vanishes when not.

    Raises:
        ConfigError: the place cannot be written (no right, no space).
    """
    partial: Path | None = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{out.name}.partial-", dir=out.parent))
        # mkdtemp makes a folder for its owner alone; the output is an ordinary folder.
        work = partial / out.name
        work.mkdir()
        yield work
        if out.exists():
            out.rename(partial / "replaced")
        work.rename(out)
    except OSError as reason:
        raise ConfigError(f"simulation {out}: expected a place to write, but got: {reason.strerror}") from None
    finally:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)
