"""Work orders: what the workshop did, what it wrote, and when that reached the system.

What belongs here: orders and their versions, made from the truth of `pm.simulate.wear`. The texts
are in `pm.simulate.wording`. The columns are those of `reference/work_orders.md`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from pm.simulate.changes import is_coding_silent
from pm.simulate.components import COMPONENTS, N_CYLINDERS
from pm.simulate.fleet import DAY_S, FleetConfig, Vehicle
from pm.simulate.operation import Sessions
from pm.simulate.wear import Failure, Life, Replacement
from pm.simulate.wording import (
    FAILURE_TEXTS,
    NO_TROUBLE_TEXTS,
    OTHER_TEXTS,
    PLANNED_TEXTS,
    SERVICE_TEXTS,
    UNINFORMATIVE_TEXTS,
)

SOURCE_SYSTEM: Final = "demo-shop"
WORST_LAG_D: Final = 35.0
MISCODED: Final = {"other_component": 0.03, "miscellaneous": 0.06}
"""Share of orders about a modelled component that end up saying something else: work on another component,
or nothing that tells."""
_UNINFORMATIVE: Final = 0.05
"""Share of the other orders (services, repairs of what is not modelled) that say nothing."""
_REVISED: Final = 0.10
_WITHDRAWN: Final = 0.02
_NO_TROUBLE_A_DAY: Final = 0.0006
_NO_TROUBLE_WHEN_WORN: Final = 0.012
_OTHER_A_DAY: Final = 0.010
_REASONS: Final = {"failure": "01", "service": "08", "planned": "08", "other": "99", "no_trouble": "99"}
_MODES: Final = {component.name: tuple(mode.name for mode in component.modes) for component in COMPONENTS}
_NAMES: Final = tuple(_MODES)

Miscoding = Literal["other_component", "miscellaneous", "silent"]


@dataclass(frozen=True)
class OrderLine:
    """One version of one line; seconds count from the fleet's start, None is unknown."""

    order: int
    """Number of the order among this truck's; the system's own number comes when all are sorted."""
    line_no: int
    kind: str
    opened_s: float
    completed_s: float
    recorded_s: float
    description: str
    component: str | None = None
    """What the work was really about; the system does not see it."""
    miscoded: Miscoding | None = None
    """In what way the line's last version does not say so."""
    said_component: str | None = None
    """The component that its last version speaks of."""
    reported_s: float | None = None
    out_of_service_s: float | None = None
    returned_s: float | None = None
    roadside: bool = False
    withdrawn: bool = False

    @property
    def planned(self) -> bool:
        return self.kind in ("service", "planned")


@dataclass(frozen=True)
class Meters:
    """Odometer and engine hours over time, for what the workshop reads off."""

    time_s: NDArray[np.float64]
    odometer_km: NDArray[np.float64]
    engine_h: NDArray[np.float64]

    def read(self, at_s: float, vehicle: Vehicle) -> tuple[float, float]:
        """Whole kilometres and hours at `at_s`."""
        if len(self.time_s) == 0:
            return float(round(vehicle.odometer_km)), float(round(vehicle.engine_h))
        km, hours = (float(np.interp(at_s, self.time_s, each)) for each in (self.odometer_km, self.engine_h))
        return float(round(km)), float(round(hours))


def write_orders(config: FleetConfig, vehicle: Vehicle, life: Life, meters: Meters,
                 rng: np.random.Generator) -> list[OrderLine]:  # fmt: skip
    """All order lines of one truck with all their versions."""
    shop = _Shop(config, vehicle, meters, rng)
    for failure in life.failures:
        shop.failure(failure)
    for replacement in life.replacements:
        shop.planned(replacement)
    for component, wear in life.wear.items():
        shop.no_trouble(component, wear, life)
    shop.services(life.sessions)
    shop.others(life.sessions)
    return shop.lines


def as_row(config: FleetConfig, vehicle: Vehicle, meters: Meters, line: OrderLine) -> dict[str, object]:
    """A row of `work_orders.csv` but for the order's number, with what is not in it: its truth.

    `true_kind`, `true_component`, `said_component` and `miscoded` are for `truth/` alone.
    """
    odometer_km, engine_h = meters.read(line.opened_s, vehicle)
    return {
        "order": line.order,
        "line_no": line.line_no,
        "vehicle_ref": vehicle.vehicle_ref,
        "opened_at": config.instant(line.opened_s),
        "completed_at": config.instant(line.completed_s),
        "reported_at": None if line.reported_s is None else config.instant(line.reported_s),
        "out_of_service_at": None if line.out_of_service_s is None else config.instant(line.out_of_service_s),
        "returned_to_service_at": None if line.returned_s is None else config.instant(line.returned_s),
        "recorded_at": config.instant(line.recorded_s),
        "planned": line.planned,
        "roadside": line.roadside,
        "odometer_km": odometer_km,
        "engine_h": engine_h,
        "reason_for_repair": "99" if line.miscoded == "silent" else _REASONS[line.kind],
        "work_accomplished": None,
        "failure_code": None,
        "vmrs": None,
        "description": line.description,
        "withdrawn": line.withdrawn,
        "true_kind": line.kind,
        "true_component": line.component,
        "said_component": line.said_component,
        "miscoded": line.miscoded,
    }


class _Shop:
    def __init__(self, config: FleetConfig, vehicle: Vehicle, meters: Meters, rng: np.random.Generator) -> None:
        self.config, self.vehicle, self.meters, self.rng = config, vehicle, meters, rng
        self.lines: list[OrderLine] = []
        self.n_orders = 0

    def failure(self, failure: Failure) -> None:
        rng = self.rng
        opened_s = failure.failed_s + 3600 * float(rng.uniform(0.4, 3.0))
        completed_s = max(failure.returned_s - 3600 * float(rng.uniform(0.5, 3.0)), opened_s + 1800)
        # A driver may have seen it coming, the evening before or the same day.
        seen_s = failure.failed_s - 3600 * float(rng.uniform(0.1, 20.0))
        line = self._about("failure", failure.component, failure.mode, (opened_s, completed_s))
        self._book(
            replace(
                line,
                reported_s=seen_s if rng.random() < 0.4 and not failure.is_shock else None,
                out_of_service_s=failure.failed_s,
                returned_s=max(failure.returned_s, completed_s),
                roadside=bool(rng.random() < 0.55),
            )
        )
        if rng.random() < 0.12:
            extra = replace(self.lines[-1], line_no=2, kind="other", description=self._text(OTHER_TEXTS))
            self.lines.append(replace(extra, component=None, said_component=None, miscoded=None, withdrawn=False))

    def planned(self, replacement: Replacement) -> None:
        opened_s = replacement.day * DAY_S + 3600 * float(self.rng.uniform(6.0, 8.0))
        completed_s = opened_s + 3600 * float(self.rng.uniform(4.0, 8.0))
        line = self._about("planned", replacement.component, None, (opened_s, completed_s))
        self._book(replace(line, out_of_service_s=opened_s, returned_s=completed_s + 1800))

    def no_trouble(self, component: str, wear: NDArray[np.float64], life: Life) -> None:
        """Visits that find nothing: some for no reason, more while a symptom is there."""
        draws = self.rng.random(len(wear))
        shows = np.max([life.symptoms[mode] for mode in _MODES[component]], axis=0)
        chance = _NO_TROUBLE_A_DAY + _NO_TROUBLE_WHEN_WORN * np.clip(shows, 0, 1)
        driven = np.bincount(life.sessions.day, minlength=len(wear)) > 0
        for day in np.flatnonzero((draws < chance) & driven & np.isfinite(wear)):
            opened_s = self._evening(int(day), life.sessions)
            if any(abs(failure.failed_s - opened_s) < DAY_S for failure in life.failures):
                continue
            completed_s = opened_s + 3600 * float(self.rng.uniform(1, 3))
            line = self._about("no_trouble", component, None, (opened_s, completed_s))
            self._book(replace(line, reported_s=opened_s - 5400))

    def services(self, sessions: Sessions) -> None:
        days = np.unique(sessions.day)
        at = int(self.rng.integers(0, 60))
        while at < len(days):
            opened_s = self._evening(int(days[at]), sessions)
            done_s = opened_s + 3600 * float(self.rng.uniform(1.0, 2.5))
            self._book(self._line("service", opened_s, done_s, self._text(SERVICE_TEXTS)))
            at += int(self.rng.integers(45, 75))

    def others(self, sessions: Sessions) -> None:
        days = np.unique(sessions.day)
        for day in days[self.rng.random(len(days)) < _OTHER_A_DAY]:
            opened_s = self._evening(int(day), sessions)
            text = self._text(OTHER_TEXTS)
            self._book(self._line("other", opened_s, opened_s + 3600 * float(self.rng.uniform(0.5, 2.5)), text))

    def _about(self, kind: str, component: str, mode: str | None, between: tuple[float, float]) -> OrderLine:
        """A line about a modelled component, as well as this workshop codes it.

        The number of draws is the same whatever the line ends up saying, so that a workshop that falls
        silent one day changes nothing that was before.
        """
        opened_s, completed_s = between
        draw, elsewhere, text_at, cylinder = self.rng.random(4)
        another = [name for name in _NAMES if name != component][int(elsewhere * (len(_NAMES) - 1))]
        nothing = self._pick(UNINFORMATIVE_TEXTS)
        miscoded = self._miscoding(float(draw), opened_s)
        said = {None: component, "other_component": another}.get(miscoded)
        text = nothing
        if said is not None:
            texts = _texts(kind, said, mode if said == component else None)
            km = self.meters.read(opened_s, self.vehicle)[0]
            text = texts[int(text_at * len(texts))].format(km=km, cylinder=1 + int(cylinder * N_CYLINDERS))
        line = self._line(kind, opened_s, completed_s, text)
        return replace(line, component=component, said_component=said, miscoded=miscoded)

    def _miscoding(self, draw: float, opened_s: float) -> Miscoding | None:
        if is_coding_silent(self.config, int(opened_s // DAY_S)):
            return "silent"
        if draw < MISCODED["other_component"]:
            return "other_component"
        return "miscellaneous" if draw < sum(MISCODED.values()) else None

    def _line(self, kind: str, opened_s: float, completed_s: float, text: str) -> OrderLine:
        self.n_orders += 1
        return OrderLine(self.n_orders, 1, kind, opened_s, completed_s, self._recorded(completed_s), text)

    def _book(self, line: OrderLine) -> None:
        """Enter the line; some are corrected days later, some taken back as entered twice."""
        revised, withdrawn, wait_d = (
            self.rng.random() < _REVISED,
            self.rng.random() < _WITHDRAWN,
            self.rng.uniform(2, 12),
        )
        if revised:
            self.lines.append(replace(line, description=self._pick(UNINFORMATIVE_TEXTS)))
            line = replace(line, recorded_s=self._office(line.recorded_s + wait_d * DAY_S))
        self.lines.append(line)
        if withdrawn and not revised:
            self.n_orders += 1
            again_s = self._office(line.recorded_s + 3600)
            twice = replace(line, order=self.n_orders, recorded_s=again_s)
            back = replace(twice, recorded_s=self._office(again_s + wait_d * DAY_S), withdrawn=True)
            # The order itself stays last, so that a second line of it can follow.
            self.lines[-1:] = [twice, back, line]

    def _recorded(self, completed_s: float) -> float:
        """Log-normal days after the work (median 2.2), one in twenty-five two to five weeks; in office hours."""
        lag_d = float(self.rng.lognormal(np.log(2.2), 0.8))
        if self.rng.random() < 0.04:
            lag_d = float(self.rng.uniform(14, WORST_LAG_D - 3))
        return self._office(completed_s + min(lag_d, WORST_LAG_D - 3) * DAY_S)

    def _office(self, at_s: float) -> float:
        """The next moment somebody books: 07:00 to 17:00 on a weekday; a weekend's pile on Monday at 06:00."""
        day, hour = int(at_s // DAY_S), (at_s % DAY_S) / 3600
        if hour > 17:
            day, hour = day + 1, 7.0 + float(self.rng.uniform(0, 1))
        weekday = (self.config.start + timedelta(days=day)).weekday()
        if weekday >= 5:
            return (day + 7 - weekday) * DAY_S + 6.0 * 3600 + float(self.rng.integers(0, 1200))
        return day * DAY_S + 3600 * max(hour, 7.0 + float(self.rng.uniform(0, 1)))

    def _evening(self, day: int, sessions: Sessions) -> float:
        """After the day's last session."""
        return float(sessions.end_s[sessions.day == day].max()) + 900.0

    def _text(self, texts: Sequence[str]) -> str:
        chosen = self._pick(texts)
        return self._pick(UNINFORMATIVE_TEXTS) if self.rng.random() < _UNINFORMATIVE else chosen

    def _pick(self, texts: Sequence[str]) -> str:
        return texts[int(self.rng.integers(len(texts)))]


def _texts(kind: str, component: str, mode: str | None) -> Sequence[str]:
    if kind == "failure":
        modes = _MODES[component] if mode is None else (mode,)
        return [text for each in modes for text in FAILURE_TEXTS[each]]
    return (PLANNED_TEXTS if kind == "planned" else NO_TROUBLE_TEXTS)[component]
