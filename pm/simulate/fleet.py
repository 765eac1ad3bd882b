"""What a fleet is made of: its size and seed, truck models, duties, and the single trucks.

What belongs here: things that do not change while time runs. How a truck is used is
`pm.simulate.operation`, how its parts wear `pm.simulate.wear`. All names are invented.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

import numpy as np

from pm.errors import ConfigError
from pm.simulate.changes import FIRST_NEWCOMER, Change, newcomers

DAY_S: Final = 86_400
STREAMS: Final = ("identity", "operation", "wear", "signals", "sensors", "faults", "uploads", "workshop", "logger")
"""Random streams of one truck. New ones go to the end, so that the old ones keep their numbers."""
LOG_FORMATS: Final = ("candump", "blf", "mf4")
_SHARED_STREAM: Final = 2**31
_WMI: Final = "0PM"
"""No manufacturer has a world manufacturer identifier that starts with 0 (ISO 3780)."""
_VIN_LETTERS: Final = "ABCDEFGHJKLMNPRSTUVWXYZ0123456789"


@dataclass(frozen=True)
class FleetConfig:
    """Size, period and seed of a simulated fleet; equal configurations give equal bytes.

    Raises:
        ConfigError: a size that cannot be, or a fleet name that is no plain word.
    """

    n_vehicles: int = 48
    n_days: int = 180
    start: date = date(2026, 1, 5)
    seed: int = 20260105
    fleet: str = "demo"
    formats: tuple[str, ...] = ("candump", "blf", "mf4")
    """Log formats of the trucks' loggers, in turn; a format named twice is that of twice as many."""
    changes: tuple[Change, ...] = ()
    """What is different from a date on; `pm.simulate.changes` says what each does."""

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("n_vehicles", self.n_vehicles, 1, 10_000),
            ("n_days", self.n_days, 1, 3_660),
            ("seed", self.seed, 0, 2**63 - 1),
        ):
            if not low <= value <= high:
                raise ConfigError(f"fleet: expected {name} from {low} to {high}, but got {value}")
        if not date(2000, 1, 1) <= self.start <= date(2080, 1, 1):
            raise ConfigError(f"fleet: expected start from 2000 to 2080, but got {self.start}")
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,40}", self.fleet):
            raise ConfigError(f"fleet: expected a name of letters, digits, _ and -, but got {self.fleet!r}")
        if not 1 <= len(self.formats) <= 20 or not set(self.formats) <= set(LOG_FORMATS):
            raise ConfigError(f"fleet: expected formats of {', '.join(LOG_FORMATS)}, but got {list(self.formats)}")
        for change in self.changes:
            self._check(change)

    def _check(self, change: Change) -> None:
        if change.day >= self.n_days:
            raise ConfigError(f"change {change.kind}: expected a day below {self.n_days}, but got {change.day}")
        names = [model.name for model in (*MODELS, NEW_MODEL)]
        if change.kind == "firmware_rescale" and change.model not in names:
            raise ConfigError(f"change {change.kind}: expected a model of {', '.join(names)}, but got {change.model!r}")

    @property
    def truck_indexes(self) -> tuple[int, ...]:
        """Every truck of the fleet, those that join by a change last."""
        return (*range(self.n_vehicles), *(index for index, _ in newcomers(self)))

    @property
    def start_at(self) -> datetime:
        return datetime(self.start.year, self.start.month, self.start.day, tzinfo=UTC)

    @property
    def start_s(self) -> int:
        """Seconds of the Unix epoch at the first midnight; all simulated times count from here."""
        return int(self.start_at.timestamp())

    def instant(self, seconds: float) -> datetime:
        """The instant `seconds` after the start, whole seconds."""
        return self.start_at + timedelta(seconds=round(seconds))


@dataclass(frozen=True)
class Duty:
    """How a truck is used."""

    name: str
    weekday_shares: tuple[float, float, float]
    """Share of Mondays to Fridays, of Saturdays and of Sundays on which it drives."""
    drive_h: float
    n_sessions: float
    gap_min: float
    first_start_h: float
    cruise_kmh: float
    speed_spread_kmh: float
    load: float
    air_use: float
    """Share of driving time the air compressor pumps when all is well."""

    @property
    def driving_share(self) -> float:
        """Share of calendar days on which it drives."""
        weekday, saturday, sunday = self.weekday_shares
        return (5 * weekday + saturday + sunday) / 7


@dataclass(frozen=True)
class TruckModel:
    """What trucks of one model have in common; offsets are what a feature must not take for wear."""

    name: str
    duty_weights: tuple[float, float, float]
    coolant_c: float
    charging_v: float
    cut_out_kpa: float
    pump_up_kpa_s: float
    litres_100km: float


DUTIES: Final = (
    Duty("long_haul", (0.97, 0.50, 0.12), 8.6, 3.0, 50.0, 5.2, 81.0, 6.0, 0.46, 0.10),
    Duty("regional", (0.95, 0.28, 0.03), 7.6, 4.5, 35.0, 5.8, 64.0, 15.0, 0.42, 0.15),
    Duty("urban", (0.95, 0.16, 0.02), 6.9, 6.5, 25.0, 5.0, 31.0, 16.0, 0.36, 0.24),
)
MODELS: Final = (
    TruckModel("Borealis 480", (0.75, 0.25, 0.0), 86.0, 28.2, 930.0, 2.8, 27.0),
    TruckModel("Meridian 360", (0.2, 0.6, 0.2), 88.5, 28.0, 900.0, 2.5, 24.0),
    TruckModel("Vesper 260", (0.0, 0.3, 0.7), 84.5, 28.4, 870.0, 2.3, 21.0),
)
NEW_MODEL: Final = TruckModel("Auriga 520", (0.7, 0.3, 0.0), 95.0, 27.4, 1010.0, 3.4, 29.0)
"""Its trucks join by the change `new_model` alone, bought used; each of its levels lies outside the others'."""


@dataclass(frozen=True)
class Vehicle:
    """One truck. Days count from the fleet's start; `left_day` is the first day without it."""

    index: int
    vehicle_ref: str
    vin: str
    model: TruckModel
    model_year: int
    duty: Duty
    in_service_on: date
    joined_day: int
    left_day: int
    leaves: bool
    odometer_km: float
    engine_h: float
    region: int
    coolant_c: float
    """Offset of its coolant temperature from its model's."""
    charging_v: float
    pump_up: float
    """Its compressor's speed, 1 = as the model."""
    exertion: float
    """How hard its drivers are on it: multiplies every wear rate."""


def streams(config: FleetConfig, index: int) -> dict[str, np.random.Generator]:
    """Independent random streams of truck `index`, the same whatever other trucks exist."""
    spawned = np.random.SeedSequence(config.seed, spawn_key=(index,)).spawn(len(STREAMS))
    return {name: np.random.default_rng(child) for name, child in zip(STREAMS, spawned, strict=True)}


def shared_stream(config: FleetConfig) -> np.random.Generator:
    """The stream of what all trucks share: the weather."""
    return np.random.default_rng(np.random.SeedSequence(config.seed, spawn_key=(_SHARED_STREAM,)))


def make_vehicle(config: FleetConfig, index: int, rng: np.random.Generator) -> Vehicle:
    """Truck `index` of the fleet, drawn from its identity stream."""
    model = MODELS[int(rng.choice(len(MODELS), p=(0.4, 0.35, 0.25)))]
    is_new = index >= FIRST_NEWCOMER
    model = NEW_MODEL if is_new else model
    duty = DUTIES[int(rng.choice(len(DUTIES), p=model.duty_weights))]
    age_d = int(rng.integers(200, 2600))
    joins_late, leaves = rng.random() < 0.04, bool(rng.random() < 0.045)
    joined = int(rng.integers(10, 90)) if joins_late else 0
    joined_day = min(joined, config.n_days // 2)
    if is_new:
        joins_late, leaves = False, False
        joined_day = min(dict(newcomers(config))[index] + int(rng.integers(0, 14)), config.n_days - 1)
    left = int(rng.integers(95, 170))
    driving_d = age_d * duty.driving_share
    in_service_on = config.start + timedelta(days=joined_day - (0 if joins_late else age_d))
    return Vehicle(
        index=index,
        vehicle_ref=f"T-{index + 1:03d}",
        vin=_vin(rng, in_service_on.year, index),
        model=model,
        model_year=in_service_on.year,
        duty=duty,
        in_service_on=in_service_on,
        joined_day=joined_day,
        left_day=left if leaves and left < config.n_days else config.n_days,
        leaves=leaves and left < config.n_days,
        odometer_km=float(driving_d * duty.drive_h * duty.cruise_kmh * 0.8 * rng.uniform(0.85, 1.15)),
        engine_h=float(driving_d * duty.drive_h * rng.uniform(0.95, 1.2)),
        region=int(rng.integers(0, 3)),
        coolant_c=float(rng.normal(0, 1.2)),
        charging_v=float(rng.normal(0, 0.10)),
        pump_up=float(rng.lognormal(0, 0.08)),
        exertion=float(rng.lognormal(0, 0.22)),
    )


def _vin(rng: np.random.Generator, year: int, index: int) -> str:
    """A made-up VIN of 17 characters with a right check digit (49 CFR 565.15)."""
    letters = "".join(_VIN_LETTERS[int(at)] for at in rng.integers(0, 23, 5))
    year_code = "ABCDEFGHJKLMNPRSTVWXY123456789"[(year - 2010) % 30]
    body = f"{_WMI}{letters}0{year_code}S{index + 1:06d}"
    return f"{body[:8]}{_check_digit(body)}{body[9:]}"


def _check_digit(vin: str) -> str:
    values = dict(zip("ABCDEFGHJKLMNPRSTUVWXYZ", [*range(1, 9), *range(1, 6), 7, 9, *range(2, 10)], strict=True))
    weights = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)
    total = sum(weight * (int(c) if c.isdigit() else values[c]) for weight, c in zip(weights, vin, strict=True))
    return "X" if total % 11 == 10 else str(total % 11)
