"""`make bench-backtest`: the backtest against the bare LightGBM fits inside it, one worker against two, memory.

What belongs here: the made fleet, the order of the measurements and what a run prints. Vectors are made
here, not from logs: what is measured is the backtest. Exit codes: 0 done, 1 with `--check` when a floor is
missed.

The bare fits are those that the backtest does: of each fold and component one on all training rows, and
four on three quarters of the vehicles for calibration. The clock runs inside `lightgbm.train` and nowhere
else, one fit after the other in one process. Every figure is of a process of its own.

Of the 26 folds every eighth is run, back from the last (2, 10, 18, 26), in every measurement alike: a fold
depends on no other one, and all of them take an hour (`--every 1`). What a run does once, such as writing the
vectors, weighs six times as much as in a whole run. The panel classifier (`--panel`) is a run of its own,
because its time is sktime's.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import lightgbm
import numpy as np
import polars as pl

from benchmarks import table
from benchmarks.make_files import PROJECT
from pm.backtest import run as backtest_run
from pm.backtest.fold_run import training_rows
from pm.backtest.folds import Fold, plan_folds
from pm.backtest.run import FoldTask, run_backtest
from pm.backtest.vectors import make_vectors
from pm.errors import ModelError
from pm.features.featureset import FeatureSet, default_feature_set
from pm.models.baselines import LAST_SCORE, RULES
from pm.models.train import fit_rows
from pm.pipelines.executor import open_executor
from pm.policy import Labels, Policy
from pm.tables import FAILURE, FEATURE_VECTOR, VEHICLE

NAME: Final = "bench-backtest"
START: Final = datetime(2025, 1, 6, tzinfo=UTC)
DAY: Final = timedelta(days=1)
COMPONENTS: Final = ("cooling", "brakes_air", "charging_starting", "aftertreatment")
KINDS: Final = ("gbm", *RULES, LAST_SCORE)
OVERHEAD_AIM: Final = 1.3
SPEEDUP_AIM: Final = 1.7
MEMORY_AIM: Final = 1.15
"""Peak of a worker over all folds, against the peak over the last fold alone."""
AFTER_D: Final = 30
"""Days that the record goes on after the last as-of, so that every fold can be judged."""
MEGABYTE: Final = 1024 * 1024


@dataclass(frozen=True)
class Size:
    """How much is made, and how it is cut into folds."""

    vehicles: int
    days: int
    folds: int
    """Weekly cutoffs."""
    every: int
    """Run is every so manieth of them, back from the last."""
    step_d: int = 7


@dataclass(frozen=True)
class Case:
    """One measurement, in a process of its own."""

    name: str
    workers: int = 1
    panel: bool = False
    bare: bool = False
    last_alone: bool = False


def main() -> int:
    """Measure, print; returns the exit code."""
    arguments = _arguments()
    if arguments.case:
        print(json.dumps(_measure(Case(**json.loads(arguments.case)), Size(**json.loads(arguments.size)))))
        return 0
    size = Size(20 if arguments.tenth else 200, 365, 26, arguments.every)
    size = replace(size, vehicles=arguments.vehicles or size.vehicles, folds=arguments.folds or size.folds)
    cases = [
        Case("bare LightGBM fits", bare=True),
        Case("backtest, 1 worker"),
        Case("backtest, 2 workers", workers=2),
        Case("backtest of the last fold alone", last_alone=True),
        *([Case("backtest with the sktime panel, 2 workers", workers=2, panel=True)] if arguments.panel else []),
    ]
    found = {case.name: [_apart(case, size) for _ in range(arguments.rounds)] for case in cases}
    best = {name: min(runs, key=lambda run: run["seconds"]) for name, runs in found.items()}
    verdicts = _verdicts(best)
    about = {"date": f"{datetime.now(UTC):%Y-%m-%d}", **table.machine(), "LightGBM": lightgbm.__version__}
    _print(size, best, verdicts)
    if arguments.json:
        document = {"about": about, "size": asdict(size), "runs": found, "verdicts": verdicts}
        arguments.json.write_text(json.dumps(document, indent=2), encoding="utf-8")
    if arguments.markdown:
        table.put_into(PROJECT / "benchmarks" / "README.md", _markdown(size, best, verdicts, about), name=NAME)
    return int(arguments.check and not all(one["held"] for one in verdicts))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=NAME, description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--tenth", action="store_true", help="a tenth of the trucks")
    parser.add_argument("--vehicles", type=int, help="trucks")
    parser.add_argument("--folds", type=int, help="weekly folds")
    parser.add_argument("--every", type=int, default=8, help="run every so manieth fold; 1: all of them")
    parser.add_argument("--rounds", type=int, default=1, help="runs of each case; the fastest counts")
    parser.add_argument("--panel", action="store_true", help="one more run, with the panel classifier")
    parser.add_argument("--json", type=Path, help="write everything here")
    parser.add_argument("--markdown", action="store_true", help="put the tables into benchmarks/README.md")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a floor is missed")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    parser.add_argument("--size", help=argparse.SUPPRESS)
    return parser.parse_args()


def _apart(case: Case, size: Size) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.backtest", "--case", json.dumps(asdict(case))]
    command += ["--size", json.dumps(asdict(size))]
    print(f"  {case.name}", file=sys.stderr, flush=True)
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{case.name}: failed: {done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _measure(case: Case, size: Size) -> dict[str, Any]:
    inputs = make_inputs(size)
    if case.bare:
        seconds, n_fits = _bare(inputs, size)
        return {"seconds": seconds, "fits": n_fits}
    kinds = ("gbm", "panel", *KINDS[1:]) if case.panel else KINDS
    with ExitStack() as stack:
        executor = stack.enter_context(open_executor(case.workers))
        _warm(executor, case.workers)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pm-bench-")))
        stack.enter_context(
            patch.object(backtest_run, "plan_folds", partial(_chosen, size, last_alone=case.last_alone))
        )
        began = time.perf_counter()
        result = run_backtest(**inputs, kinds=kinds, executor=executor, folder=folder)
        seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    pooled = result.measures["pooled"]["kinds"]["gbm"]["figures"].get("pr_auc", {}).get("value")
    return {
        "seconds": seconds, "folds": len(result.folds), "worker_peak_bytes": peak, "own_peak_bytes": own,
        "pr_auc": pooled, "backtest_id": result.backtest_id,
    }  # fmt: skip


def _chosen(size: Size, as_ofs: Sequence[datetime], policy: Policy, *, last_alone: bool = False) -> tuple[Fold, ...]:
    """The folds that are run."""
    folds = plan_folds(as_ofs, policy)[:: -size.every][::-1]
    return folds[-1:] if last_alone else folds


def _warm(executor: Executor, workers: int) -> None:
    """Processes started and the product imported before the clock starts."""
    for future in [executor.submit(_imported) for _ in range(4 * workers)]:
        future.result()


def _imported() -> int:
    time.sleep(0.05)
    return len(sys.modules)


def make_inputs(size: Size) -> dict[str, Any]:
    """A fleet whose parts fail now and then, with features that show it, from a fixed seed."""
    rng = np.random.default_rng(7)
    policy = Policy()
    after_d = size.days - size.folds * size.step_d
    times = replace(policy.backtest, first_cutoff_after_d=after_d, step_d=size.step_d)
    policy = replace(policy, labels=Labels(lag_d=8.0), backtest=times)
    feature_set = default_feature_set(policy)
    failures = list(_failures(size, rng))
    ids = range(1, size.vehicles + 1)
    born = {"fleet": "bench", "in_service_at": START - 200 * DAY, "known_at": START - 200 * DAY}
    end = START + (size.days + AFTER_D) * DAY
    return {
        "vectors": _vectors(size, feature_set, failures, rng),
        "feature_set": feature_set,
        "vehicles": VEHICLE.frame(
            [{"vehicle_id": v, "vehicle_ref": f"T{v}", "model": f"M{v % 3}", **born} for v in ids]
        ),
        "failures": FAILURE.frame(failures),
        "components": COMPONENTS,
        "policy": policy,
        "known_until": end,
        "observed_until": end,
    }


def _failures(size: Size, rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    """About two failures a truck, component and year, known up to a week later."""
    for vehicle in range(1, size.vehicles + 1):
        for component in COMPONENTS:
            for number, at in enumerate(_instants(size, rng)):
                yield {
                    "source_system": "bench",
                    "work_order_id": f"{vehicle}-{component}-{number}",
                    "line_no": 1,
                    "known_at": START + float(at + rng.uniform(0, 7)) * DAY,
                    "vehicle_id": vehicle,
                    "component": component,
                    "kind": "failure",
                    "failed_at": START + float(at) * DAY,
                    "restored_at": START + float(at + 1) * DAY,
                    "rule": "bench",
                }


def _instants(size: Size, rng: np.random.Generator) -> np.ndarray:
    days = size.days + AFTER_D
    return np.sort(rng.uniform(0, days, rng.poisson(2 * days / 365)))


def _vectors(
    size: Size, feature_set: FeatureSet, failures: Sequence[dict[str, Any]], rng: np.random.Generator
) -> pl.DataFrame:
    n_features = len(feature_set.names)
    numbers = rng.normal(size=(size.days, size.vehicles, n_features)).astype(np.float32)
    numbers[rng.random(numbers.shape) < 0.1] = np.nan
    for row in failures:
        day, vehicle = int((row["failed_at"] - START) / DAY), row["vehicle_id"] - 1
        columns = np.arange(COMPONENTS.index(row["component"]), n_features, 3 * len(COMPONENTS))
        numbers[max(0, day - 12) : day + 1, vehicle, columns] += 1.0
    shape = (size.days * size.vehicles, n_features)
    as_of = pl.Series([START + day * DAY for day in range(size.days) for _ in range(size.vehicles)])
    return FEATURE_VECTOR.check(
        pl.DataFrame(
            {
                "feature_set_id": pl.repeat(feature_set.feature_set_id, shape[0], eager=True),
                "vehicle_id": pl.Series(np.tile(np.arange(1, size.vehicles + 1, dtype=np.int32), size.days)),
                "as_of": as_of.cast(FEATURE_VECTOR.schema["as_of"]),
                "data_until": as_of.cast(FEATURE_VECTOR.schema["as_of"]),
                "features": pl.Series(numbers.reshape(shape)).arr.to_list(),
                "inputs_hash": pl.repeat("bench", shape[0], eager=True),
            }
        )
    )


def _bare(inputs: dict[str, Any], size: Size) -> tuple[float, int]:
    """Seconds inside LightGBM, which makes the data set and the trees, and fits."""
    policy = inputs["policy"]
    vectors = make_vectors(inputs["vectors"], len(inputs["feature_set"].names))
    rest = {name: value for name, value in inputs.items() if name not in {"vectors", "components"}}
    spent: list[float] = []

    def timed(*given: Any, train: Any = lightgbm.train, **named: Any) -> lightgbm.Booster:
        began = time.perf_counter()
        booster: lightgbm.Booster = train(*given, **named)
        spent.append(time.perf_counter() - began)
        return booster

    for fold in _chosen(size, vectors.keys["as_of"].unique().to_list(), policy):
        task = FoldTask(fold, vectors, components=COMPONENTS, kinds=KINDS, **rest)
        for component, rows in training_rows(task):
            with patch.object(lightgbm, "train", timed), suppress(ModelError):
                fit_rows(
                    "gbm", component, rows, inputs["feature_set"], policy, fold.cutoff, policy.backtest.seed,
                    n_components=len(COMPONENTS),
                )  # fmt: skip
    return sum(spent), len(spent)


def _verdicts(best: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    bare, one = best["bare LightGBM fits"]["seconds"], best["backtest, 1 worker"]
    two, last = best["backtest, 2 workers"]["seconds"], best["backtest of the last fold alone"]
    grown = one["worker_peak_bytes"] / last["worker_peak_bytes"]
    made = [
        ("wall time against the bare fits, 1 worker", one["seconds"] / bare, OVERHEAD_AIM, True),
        ("2 workers against 1", one["seconds"] / two, SPEEDUP_AIM, False),
        ("worker's peak memory, all folds against the last alone", grown, MEMORY_AIM, True),
    ]
    return [
        {"figure": name, "measured": value, "aim": aim, "is_limit": limit,
         "held": value <= aim if limit else value >= aim}
        for name, value, aim, limit in made
    ]  # fmt: skip


def _cells(best: dict[str, dict[str, Any]]) -> table.Cells:
    cells: table.Cells = [("what", "", "s", "folds", "worker peak MB")]
    for name, run in best.items():
        peak = f"{run['worker_peak_bytes'] / MEGABYTE:,.0f}" if "worker_peak_bytes" in run else ""
        count = f"{run['fits']} fits" if "fits" in run else str(run["folds"])
        cells.append((name, "", f"{run['seconds']:,.1f}", count, peak))
    return cells


def _verdict_cells(verdicts: Sequence[dict[str, Any]]) -> table.Cells:
    cells: table.Cells = [("figure", "", "measured", "aim", "")]
    for one in verdicts:
        aim = f"{'at most' if one['is_limit'] else 'at least'} {one['aim']:g}"
        cells.append((one["figure"], "", f"{one['measured']:.2f}", aim, "held" if one["held"] else "missed"))
    return cells


def _task(size: Size) -> str:
    chosen = "" if size.every == 1 else f", one in {size.every} of them run"
    return f"{size.folds} weekly folds{chosen}, {size.vehicles} trucks x {size.days} days, {len(COMPONENTS)} components"


def _print(size: Size, best: dict[str, dict[str, Any]], verdicts: Sequence[dict[str, Any]]) -> None:
    print(_task(size), end="\n\n")
    print(table.plain(_cells(best)), table.plain(_verdict_cells(verdicts)), sep="\n\n")


def _markdown(
    size: Size, best: dict[str, dict[str, Any]], verdicts: Sequence[dict[str, Any]], about: dict[str, str]
) -> str:
    head = f"{_task(size)}. "
    head += ", ".join(f"{name}: {value}" for name, value in about.items())
    return "\n\n".join([head, table.markdown(_cells(best)), table.markdown(_verdict_cells(verdicts))])


if __name__ == "__main__":
    sys.exit(main())
