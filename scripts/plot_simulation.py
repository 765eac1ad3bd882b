"""The figures and plots of `docs/simulation.md`, measured on a simulated fleet.

    .venv/bin/python scripts/plot_simulation.py                # the default fleet: tables to the screen, plots to docs/
    .venv/bin/python scripts/plot_simulation.py --trucks 6 --days 60 --out plots

What belongs here: measuring the signals and the truth of simulated trucks, before anything is encoded.
No log is written or read, so it takes seconds. Same arguments, same bytes.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

PROJECT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from pm.charts import STYLE, Series, line_chart  # noqa: E402
from pm.simulate import FleetConfig  # noqa: E402
from pm.simulate.components import COMPONENTS  # noqa: E402
from pm.simulate.fleet import DAY_S  # noqa: E402
from pm.simulate.operation import daily_mean_c  # noqa: E402
from pm.simulate.truck import TruckRun, run_truck  # noqa: E402
from pm.simulate.wear import HORIZON_D  # noqa: E402
from scripts.simulation_signals import OBSERVABLES, Signals  # noqa: E402

Floats = NDArray[np.float64]
MODES: Final = {mode.name: component for component in COMPONENTS for mode in component.modes}
MONTH_D: Final = 30.4375
PERIODS: Final = ("no symptom", "14 to 21 days before", "last 7 days")


def periods_of(run: TruckRun, mode: str, time_s: Floats) -> dict[str, NDArray[np.bool_]]:
    """Which times lie in which of `PERIODS` of a failure mode; shocks are left out."""
    life, component = run.life, MODES[mode]
    day = (time_s // DAY_S).astype(np.int64)
    shown = np.max([life.symptoms[each.name] for each in component.modes], axis=0)
    found = {PERIODS[0]: shown[day] == 0.0, PERIODS[1]: np.zeros(len(day), bool), PERIODS[2]: np.zeros(len(day), bool)}
    for failure in life.failures:
        if failure.mode == mode and not failure.is_shock:
            before_d = (failure.failed_s - time_s) / DAY_S
            found[PERIODS[1]] |= (before_d >= 14.0) & (before_d < 21.0)
            found[PERIODS[2]] |= (before_d >= 0.0) & (before_d < 7.0)
    return found


class Fleet:
    """What is kept of each truck's run; the samples themselves are too many."""

    def __init__(self, config: FleetConfig) -> None:
        self.config = config
        self.values: dict[tuple[str, str], list[Floats]] = {}
        self.boost: dict[str, list[tuple[Floats, Floats]]] = {name: [] for name in ("healthy", "vanes", "rotor")}
        self.monthly_c: dict[int, list[Floats]] = {}
        self.lives = []
        for index in config.truck_indexes:
            run, _ = run_truck(config, index)
            self.lives.append((run.vehicle, run.life))
            self._add(run)

    def _add(self, run: TruckRun) -> None:
        signals = Signals(run.recording.samples)
        for observable in OBSERVABLES:
            time_s, values = observable.measure(signals)
            for period, keep in periods_of(run, observable.mode, time_s).items():
                self.values.setdefault((observable.name, period), []).append(values[keep])
        self._add_boost(run, signals)
        time_s, coolant = signals.of("ET1", "EngCoolantTemp")
        warm = (time_s - run.life.sessions.start_s[np.searchsorted(run.life.sessions.start_s, time_s) - 1]) > 1800.0
        month = (time_s // (MONTH_D * DAY_S)).astype(int)
        warm &= periods_of(run, "flow", time_s)[PERIODS[0]]
        for number in np.unique(month).tolist():
            self.monthly_c.setdefault(number, []).append(coolant[warm & (month == number)])

    def _add_boost(self, run: TruckRun, signals: Signals) -> None:
        boost = signals.of("IC1", "EngIntakeManifold1Pressure")
        load = signals.beside(boost, "EEC2", "EngPercentLoadAtCurrentSpeed")
        for name, mode, period in (("healthy", "vanes", 0), ("vanes", "vanes", 2), ("rotor", "rotor", 2)):
            keep = periods_of(run, mode, boost[0])[PERIODS[period]]
            self.boost[name].append((load[keep], boost[1][keep]))

    def of(self, name: str, period: str) -> Floats:
        return np.concatenate(self.values[name, period])


def truth_rows(fleet: Fleet) -> Iterator[str]:
    """Failures by component; the ceiling that the true hazards set is `pm simulate oracle`'s."""
    last = fleet.config.n_days - HORIZON_D
    yield "| component | failures | of them shocks | days with a failure in the next 14 |"
    yield "|---|---|---|---|"
    for component in COMPONENTS:
        mine = [[each for each in life.failures if each.component == component.name] for _, life in fleet.lives]
        n, n_shocks = sum(map(len, mine)), sum(each.is_shock for failures in mine for each in failures)
        failed = []
        for failures, (_, life) in zip(mine, fleet.lives, strict=True):
            days = np.flatnonzero(np.isfinite(life.wear[component.name][:last]))
            at = np.array([each.failed_s for each in failures]) / DAY_S
            failed.append(((at > days[:, None]) & (at <= days[:, None] + HORIZON_D)).any(axis=1))
        share = np.concatenate(failed).mean()
        shocks = f"{100 * n_shocks / n:.0f} %" if n else "-"
        yield f"| {component.name} | {n} | {shocks} | {100 * share:.1f} % |"


def signal_rows(fleet: Fleet) -> Iterator[str]:
    yield "| signal (mean ± standard deviation) | " + " | ".join(PERIODS) + " |"
    yield "|---|---|---|---|"
    for observable in OBSERVABLES:
        cells = []
        for period in PERIODS:
            values = fleet.of(observable.name, period)
            cells.append(f"{_short(values.mean())} ± {_short(values.std())}" if len(values) else "-")
        unit = "" if observable.unit == "1" else f", {observable.unit}"
        yield f"| {observable.name}{unit} | " + " | ".join(cells) + " |"


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def use_rows(fleet: Fleet) -> Iterator[str]:
    n_in = sum(vehicle.left_day - vehicle.joined_day for vehicle, _ in fleet.lives)
    stopped = sum(
        int(np.isnan(next(iter(life.wear.values()))[vehicle.joined_day : vehicle.left_day]).sum())
        + len(life.replacements)
        for vehicle, life in fleet.lives
    )
    n_failures = sum(len(life.failures) for _, life in fleet.lives)
    yield f"{len(fleet.lives)} trucks, {fleet.config.n_days} days: {n_failures} failures, "
    yield f"{sum(len(life.replacements) for _, life in fleet.lives)} planned replacements, "
    yield f"{100 * stopped / n_in:.1f} % of truck days in the workshop."
    visible = np.array([days for _, life in fleet.lives for days in _visible_d(life)])
    low, middle, high = np.quantile(visible, [0.1, 0.5, 0.9])
    yield f"Symptoms (above .3) are there {low:.0f} / {middle:.0f} / {high:.0f} days before (10 %, median, 90 %)."


def _visible_d(life: object) -> Iterator[int]:
    for failure in life.failures:  # type: ignore[attr-defined]
        day = int(failure.failed_s // DAY_S)
        if not failure.is_shock:
            # Days in the workshop for another part show nothing and do not end a run of symptoms.
            shown = life.symptoms[failure.mode][: day + 1] > 0.3  # type: ignore[attr-defined]
            away = np.isnan(life.wear[failure.component][: day + 1])  # type: ignore[attr-defined]
            quiet = np.flatnonzero(~(shown | away))
            yield day - (int(quiet[-1]) if len(quiet) else 0)


def density(values: Floats, edges: Floats, *, cumulative: bool = False) -> list[tuple[float, float]]:
    """Percent of the values in each bin (at its middle), or up to its end."""
    share = 100.0 * np.histogram(values, edges)[0] / max(len(values), 1)
    at = edges[1:] if cumulative else (edges[1:] + edges[:-1]) / 2
    return list(zip(at.tolist(), (np.cumsum(share) if cumulative else share).tolist(), strict=True))


def compare(fleet: Fleet, name: str, edges: Floats, labels: tuple[str, str, str], *, healthy: str = PERIODS[0]) -> str:
    """Distribution of one observable without symptom and in the last week."""
    title, x_label, description = labels
    series = [
        Series(each, density(fleet.of(name, each), edges))
        for each in (healthy, *PERIODS[1:])
        if len(fleet.of(name, each))
    ]
    return line_chart(series, title=title, description=description, x_label=x_label, y_label="share of values, %")


def coolant_by_season(fleet: Fleet) -> str:
    """The coldest and the warmest month beside each other, and what a failing coolant pump does."""
    outside = daily_mean_c(fleet.config).mean(axis=0)
    month = (np.arange(fleet.config.n_days) // MONTH_D).astype(int)
    means = {number: float(outside[month == number].mean()) for number in fleet.monthly_c}
    edges = np.arange(70.0, 116.0, 1.0)
    series = [
        Series(f"healthy, {means[number]:.0f} °C outside", density(np.concatenate(fleet.monthly_c[number]), edges))
        for number in sorted({min(means, key=means.__getitem__), max(means, key=means.__getitem__)})
    ]
    failing = fleet.of(OBSERVABLES[0].name, PERIODS[2])
    if len(failing):
        series.append(Series("flow, last 7 days", density(failing[failing > edges[0]], edges)))
    return line_chart(
        series, title="Coolant by season", x_label="coolant temperature, °C", y_label="share of samples, %",
        description="Coolant temperature of warm engines in the coldest and the warmest month, and before failures.",
    )  # fmt: skip


def wear_at_failure(fleet: Fleet) -> str:
    edges = np.arange(0.0, 1.45, 0.05)
    worn, shocks = (
        np.array([f.wear for _, life in fleet.lives for f in life.failures if f.is_shock is shock])
        for shock in (False, True)
    )
    series = [Series("worn out", density(worn, edges)), Series("without warning", density(shocks, edges))]
    return line_chart(
        series, title="Wear at failure", x_label="wear (1 = worn out)", y_label="share of failures, %",
        description="Failures by wear: those of worn parts pile up near 1, shocks come at any wear.",
    )  # fmt: skip


def boost_by_load(fleet: Fleet) -> str:
    series = []
    for name, parts in fleet.boost.items():
        load, boost = (np.concatenate([part[column] for part in parts]) for column in (0, 1))
        points: list[tuple[float, float | None]] = []
        for low in range(5, 95, 10):
            inside = boost[(load >= low) & (load < low + 10)]
            points.append((low + 5.0, float(inside.mean()) if len(inside) >= 20 else None))
        series.append(Series(name if name == "healthy" else f"{name}, last 7 days", points, "both"))
    return line_chart(
        series, title="Boost by load", x_label="engine load, %", y_label="boost, kPa",
        description="Mean boost pressure by load: a worn turbocharger falls short the more, the more is asked.",
    )  # fmt: skip


def charts(fleet: Fleet) -> Mapping[str, str]:
    """SVG by file name."""
    return {
        "coolant_by_season": coolant_by_season(fleet),
        "wear_at_failure": wear_at_failure(fleet),
        "boost_by_load": boost_by_load(fleet),
        "pump_up_time": compare(
            fleet, "pump-up time from 586 to 690 kPa", np.arange(20.0, 151.0, 10.0),
            ("Pump-up time", "seconds from 586 to 690 kPa", "Pump-up time at starts with low tanks, compressor wear."),
        ),
        "regeneration_interval": compare(
            fleet, "engine hours between regenerations, filter", np.arange(0.0, 61.0, 3.0),
            ("Between regenerations", "engine hours", "Engine hours between active regenerations, filter full of ash."),
        ),
        "charging_voltage": compare(
            fleet, "charging voltage, alternator", np.arange(25.5, 29.6, 0.1),
            ("Charging voltage", "V", "Charging voltage, alternator wear."),
        ),
        "rail_deviation": compare(
            fleet, "rail pressure below commanded at load, rail", np.arange(-8.0, 31.0, 1.0),
            ("Rail pressure below commanded", "MPa", "Commanded minus actual rail pressure at load, pump wear."),
        ),
    }  # fmt: skip


def standalone(svg: str) -> str:
    """The chart as a file of its own: with its styles, on white, so that it can be read anywhere."""
    head, rest = svg.split(">", 1)
    light = STYLE.split("@media")[0] + ".chart{color:#1b1f24;background:#fff}"
    return f"{head}><style>{light}</style>{rest}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = FleetConfig()
    parser.add_argument("--trucks", type=int, default=default.n_vehicles, help="default: %(default)s")
    parser.add_argument("--days", type=int, default=default.n_days, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=default.seed, help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=PROJECT / "docs" / "simulation", help="folder of the plots")
    given = parser.parse_args()
    fleet = Fleet(FleetConfig(n_vehicles=given.trucks, n_days=given.days, seed=given.seed))
    for rows in (use_rows(fleet), truth_rows(fleet), signal_rows(fleet)):
        print("\n".join(rows), end="\n\n")
    given.out.mkdir(parents=True, exist_ok=True)
    for name, svg in charts(fleet).items():
        (given.out / f"{name}.svg").write_text(standalone(svg), encoding="utf-8")


if __name__ == "__main__":
    main()
