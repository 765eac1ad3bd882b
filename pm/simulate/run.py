"""Simulating a whole fleet into a folder.

What belongs here: the one entry, `simulate`. What a single truck does is `pm.simulate.truck`.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pm.canbus.dbc import load_dbc
from pm.errors import ConfigError
from pm.progress import Track, silent
from pm.simulate.components import COMPONENTS
from pm.simulate.fleet import FleetConfig
from pm.simulate.logs import check_changes
from pm.simulate.output import made_from, read_counts, whole_or_nothing, write_manifest, write_tables
from pm.simulate.truck import MESSAGES, TruckFiles, write_truck


@dataclass(frozen=True)
class SimulationReport:
    """What a simulation left in `out`. `n_failures` has one pair a component, in their order."""

    out: Path
    reused: bool
    """True: the folder already held this very simulation and nothing was written."""
    n_vehicles: int
    n_days: int
    n_driving_days: int
    n_files: int
    n_frames: int
    n_bytes: int
    n_work_order_rows: int
    n_failures: tuple[tuple[str, int], ...]


def simulate(
    config: FleetConfig,
    out: Path,
    *,
    dbc: Sequence[Path],
    track: Track = silent,
    executor: Executor | None = None,
    replace: bool = False,
) -> SimulationReport:
    """Write a fleet with known truth into `out`; the same configuration and DBC files give the same bytes.

    Args:
        dbc: files that declare the messages of `pm.simulate.truck.MESSAGES`.
        track: told of each truck done.
        executor: runs the trucks; without one they run here. It does not change a byte.
        replace: put this simulation in the place of another one that stands in `out`.

    Raises:
        ConfigError: the DBC files lack a message, or `out` holds something else (another simulation,
            unless `replace`).
        DataError: `out` holds this simulation, but damaged.
    """
    database = load_dbc(dbc)
    plans = {name: database.message(name) for name in MESSAGES}
    check_changes(config, plans)
    made = made_from(config, database.sha256)
    if out.exists() and not _is_empty(out):
        counts = read_counts(out, made)
        if counts is not None:
            return _report(config, out, counts, reused=True)
        if not replace:
            raise ConfigError(f"simulation {out}: expected one made with these settings, but got one made with others")
    with whole_or_nothing(out) as folder:
        one = partial(write_truck, config, plans=plans, folder=folder)
        indexes = config.truck_indexes
        done: Iterable[TruckFiles] = map(one, indexes) if executor is None else executor.map(one, indexes)
        trucks = list(track(done, "simulating trucks", len(indexes)))
        write_tables(config, trucks, folder)
        counts = _count(trucks)
        write_manifest(folder, made, counts)
    return _report(config, out, counts, reused=False)


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())


def _count(trucks: Sequence[TruckFiles]) -> dict[str, Any]:
    failed = Counter(str(row["component"]) for truck in trucks for row in truck.failures)
    return {
        "n_driving_days": sum(truck.n_driving_days for truck in trucks),
        "n_files": sum(len(truck.logs) for truck in trucks),
        "n_frames": sum(log.n_frames for truck in trucks for log in truck.logs),
        "n_bytes": sum(log.n_bytes for truck in trucks for log in truck.logs),
        "n_work_order_rows": sum(len(truck.work_orders) for truck in trucks),
        "n_failures": [[component.name, failed[component.name]] for component in COMPONENTS],
    }


def _report(config: FleetConfig, out: Path, counts: dict[str, Any], *, reused: bool) -> SimulationReport:
    numbers = {**counts, "n_failures": tuple((str(name), int(n)) for name, n in counts["n_failures"])}
    return SimulationReport(
        out=out, reused=reused, n_vehicles=len(config.truck_indexes), n_days=config.n_days, **numbers
    )
