"""`python -m benchmarks.audit`: how often a leak audit alarms on honest fleets, and how often on leaky ones.

What belongs here: the made fleets (those of the tests, by seed), the count of alarms, and what audits
cost. Exit codes: 0 done, 1 with `--check` when an honest fleet failed or a planted leak did not.
"""

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl

from benchmarks import table
from pm.backtest.audit_result import AuditResult
from pm.backtest.run import run_backtest
from tests.support.audit_fleet import (
    COMPONENT,
    END,
    POLICY,
    Fleet,
    audit_fleet,
    feature_set,
    make_fleet,
    positive_days,
    vectors_of,
    with_feature,
)

NAME: Final = "bench-audit"
SEEDS: Final = 20
LEAKS: Final = ("", "repair_orders", "same_day", "target_encoded", "early_labels")


@dataclass(frozen=True)
class Found:
    """One kind of fleet over all seeds."""

    leak: str
    seeds: int
    failed: int
    warned: int
    alarms: dict[str, int]
    """Seeds on which each check failed or warned."""
    audit_s: float
    """Processor seconds of an audit, the mean."""


def audited(leak: str, seed: int, *, quick: bool) -> AuditResult:
    """The audit of one made fleet."""
    fleet = make_fleet(seed)
    if leak == "target_encoded":
        vectors = with_feature(vectors_of(fleet), "vehicle_code", positive_days(fleet))
        return audit_fleet(fleet, vectors, feature_set("vehicle_code"), rebuilds=False, seed=seed, quick=quick)
    if leak == "early_labels":
        early = Fleet(
            fleet.vehicles, fleet.daily, fleet.failures.with_columns(known_at=pl.col("failed_at")), fleet.work_orders
        )
        return audit_fleet(early, vectors_of(early), feature_set(), seed=seed, quick=quick)
    more = ("n_repairs_28d",) if leak == "repair_orders" else ()
    return audit_fleet(fleet, vectors_of(fleet, leak=leak), feature_set(*more), leak=leak, seed=seed, quick=quick)


def measure(leak: str, seeds: int, *, quick: bool) -> Found:
    """Alarms over the seeds 1 to `seeds`."""
    alarms: Counter[str] = Counter()
    statuses: Counter[str] = Counter()
    began = time.process_time()
    for seed in range(1, seeds + 1):
        result = audited(leak, seed, quick=quick)
        statuses[result.status] += 1
        alarms.update(f"{check.name} {check.status}" for check in result.checks if check.status in ("fail", "warn"))
        print(f"  {leak or 'honest'} {seed}/{seeds}: {result.status}", file=sys.stderr)
    spent = (time.process_time() - began) / seeds
    return Found(leak or "honest", seeds, statuses["fail"], statuses["warn"], dict(alarms), spent)


def cost() -> dict[str, float]:
    """Processor seconds of a backtest, and of the two audits of it, on one honest fleet."""
    fleet = make_fleet(1)
    vectors = vectors_of(fleet)
    began = time.process_time()
    run_backtest(
        vectors=vectors, feature_set=feature_set(), vehicles=fleet.vehicles, failures=fleet.failures,
        components=(COMPONENT,), policy=POLICY, known_until=END, observed_until=END,
    )  # fmt: skip
    spent = {"backtest": time.process_time() - began}
    for name, quick in (("audit", False), ("quick audit", True)):
        began = time.process_time()
        audit_fleet(fleet, vectors, feature_set(), quick=quick)
        spent[name] = time.process_time() - began
    return spent


def lines(found: Sequence[Found]) -> Iterator[str]:
    """The table in Markdown."""
    yield "| fleet | seeds | failed | warned | which checks | audit, s |"
    yield "| --- | ---: | ---: | ---: | --- | ---: |"
    for one in found:
        which = ", ".join(f"{name} {n}" for name, n in sorted(one.alarms.items(), key=lambda item: -item[1]))
        yield f"| {one.leak} | {one.seeds} | {one.failed} | {one.warned} | {which} | {one.audit_s:.1f} |"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and say with `--check` whether every alarm is where it belongs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.audit", description=__doc__)
    parser.add_argument("--tenth", action="store_true", help="a tenth of the seeds")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="fleets of each kind (default %(default)s)")
    parser.add_argument("--quick", action="store_true", help="quick audits")
    parser.add_argument("--honest", action="store_true", help="honest fleets only")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--check", action="store_true", help="exit code 1 where an alarm is missing or false")
    given = parser.parse_args(arguments)
    seeds = max(1, given.seeds // 10) if given.tenth else given.seeds
    found = [measure(leak, seeds, quick=given.quick) for leak in (LEAKS[:1] if given.honest else LEAKS)]
    spent = cost()
    print("\n".join(lines(found)))
    print("; ".join(f"{name}: {seconds:.1f} s" for name, seconds in spent.items()))
    if given.json:
        document: dict[str, Any] = {
            "name": NAME, "machine": table.machine(), "found": [asdict(one) for one in found], "cost_s": spent,
        }  # fmt: skip
        given.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    right = all(one.failed == (0 if one.leak == "honest" else one.seeds) for one in found)
    return 1 if given.check and not right else 0


if __name__ == "__main__":
    sys.exit(main())
