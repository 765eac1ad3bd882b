"""The components that wear, as numbers.

What belongs here: for each component its life, the steepness of its hazard, its failure modes and the
trouble codes they set. How wear runs is `pm.simulate.wear`; what a mode does to the signals is
`pm.simulate.signals`. A new component is one more entry here, its modes there and their words in
`pm.simulate.wording`.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

ENGINE, BRAKES, BODY, EXHAUST = 0x00, 0x0B, 0x31, 0x3D
"""Source addresses (SAE J1939-81): engine no. 1, brakes, cab controller, exhaust emission controller."""
NOX_IN, NOX_OUT = 0x51, 0x52
"""NOx sensors are nodes of their own, before and behind the catalyst; they send no trouble codes here."""
N_CYLINDERS: Final = 6


@dataclass(frozen=True)
class Code:
    """A diagnostic trouble code and the controller that sends it."""

    source_address: int
    spn: int
    fmi: int
    is_per_cylinder: bool = False
    """Stands for as many SPNs in a row as there are cylinders; a part's codes are about one of them."""

    def of_cylinder(self, number: int) -> "Code":
        """The code of cylinder `number` (0 is the first); a code that is of no cylinder stays itself."""
        return Code(self.source_address, self.spn + number, self.fmi) if self.is_per_cylinder else self

    @property
    def is_red(self) -> bool:
        """The most severe levels light the red stop lamp (J1939-73 appendix A: FMI 0 and 1)."""
        return self.fmi in (0, 1)


@dataclass(frozen=True)
class Mode:
    """A way to fail: how often, and the codes it sets as it grows (mild first)."""

    name: str
    share: float
    codes: tuple[Code, ...]


@dataclass(frozen=True)
class Component:
    """A component class and how it fails.

    Wear runs from 0 (new) to about 1 (worn out); the hazard of a driving day is
    `shock + hazard_at_1 * exp(steepness * (wear - 1))`, a Gompertz hazard in wear with a constant
    (Makeham's) part for failures without warning.
    """

    name: str
    life_days: float
    """Driving days from wear 0 to 1 for a median part on a median truck. Far shorter than a real
    part's: time is pressed together so that half a year holds enough failures to learn from."""
    life_spread: float
    steepness: float
    hazard_at_1: float
    shock: float
    heat_wear: float
    """Relative wear for each degC of daily mean temperature above 20."""
    cold_wear: float
    """Relative wear for each degC below 5."""
    start_wear: float
    """Relative wear for each engine start above the duty's mean."""
    modes: tuple[Mode, ...]

    def hazard(self, wear: NDArray[np.float64] | float) -> NDArray[np.float64]:
        """Hazard of a driving day at `wear`, 1/d; shape of `wear`."""
        return np.asarray(self.shock + self.hazard_at_1 * np.exp(self.steepness * (np.asarray(wear) - 1.0)))

    @property
    def share_without_warning(self) -> float:
        """Share of failures that are shocks, were every part run to failure at unit speed."""
        step = 1.0 / self.life_days
        wear = np.arange(0.0, 1.6, step)
        alive = np.exp(-np.cumsum(self.hazard(wear)))
        return float(self.shock * alive.sum() / -math.expm1(-float(self.hazard(wear).sum())))


COMPONENTS: Final = (
    Component(
        "cooling", 162.0, 0.30, 24.0, 0.13, 0.0012, 0.012, 0.0, 0.0,
        (
            Mode("leak", 0.5, (Code(ENGINE, 111, 17), Code(ENGINE, 111, 18), Code(ENGINE, 111, 1))),
            Mode("flow", 0.5, (Code(ENGINE, 110, 15), Code(ENGINE, 110, 16), Code(ENGINE, 110, 0))),
        ),
    ),
    Component(
        "brakes_air", 158.0, 0.30, 24.0, 0.13, 0.0011, 0.0, 0.006, 0.02,
        (
            Mode("compressor", 0.55, (Code(BRAKES, 46, 17), Code(BRAKES, 1087, 18), Code(BRAKES, 46, 1))),
            Mode("dryer", 0.45, (Code(BRAKES, 46, 18), Code(BRAKES, 1088, 18), Code(BRAKES, 1088, 1))),
        ),
    ),
    Component(
        "charging_starting", 150.0, 0.30, 24.0, 0.13, 0.0013, 0.008, 0.012, 0.03,
        (
            Mode("alternator", 0.5, (Code(ENGINE, 167, 17), Code(ENGINE, 167, 18), Code(BODY, 158, 18))),
            Mode("battery", 0.5, (Code(ENGINE, 168, 17), Code(BODY, 158, 17), Code(ENGINE, 168, 1))),
        ),
    ),
    Component(
        "aftertreatment", 146.0, 0.30, 24.0, 0.13, 0.0012, 0.002, 0.010, 0.0,
        (
            Mode("filter", 0.5, (Code(EXHAUST, 3719, 15), Code(EXHAUST, 3251, 16), Code(EXHAUST, 3719, 0))),
            Mode("scr", 0.5, (Code(EXHAUST, 4364, 17), Code(EXHAUST, 4364, 18), Code(EXHAUST, 4334, 18))),
        ),
    ),
    Component(
        "turbo", 160.0, 0.30, 24.0, 0.13, 0.0014, 0.006, 0.0, 0.012,
        (
            Mode("vanes", 0.5, (Code(ENGINE, 641, 10), Code(ENGINE, 641, 7), Code(ENGINE, 102, 18))),
            Mode("rotor", 0.5, (Code(ENGINE, 102, 17), Code(ENGINE, 103, 18), Code(ENGINE, 102, 1))),
        ),
    ),
    Component(
        "fuel_injection", 152.0, 0.30, 24.0, 0.13, 0.0012, 0.0, 0.004, 0.008,
        (
            Mode("rail", 0.5, (Code(ENGINE, 157, 17), Code(ENGINE, 157, 18), Code(ENGINE, 157, 1))),
            Mode(
                "injector", 0.5,
                (Code(ENGINE, 1323, 31, True), Code(ENGINE, 651, 7, True), Code(ENGINE, 1322, 31)),
            ),
        ),
    ),
)  # fmt: skip

NUISANCE_CODES: Final = (
    Code(ENGINE, 96, 3), Code(ENGINE, 174, 4), Code(ENGINE, 639, 9), Code(ENGINE, 1761, 18),
    Code(BRAKES, 789, 8), Code(BRAKES, 1043, 5), Code(BODY, 520243, 31), Code(BODY, 2622, 19),
)  # fmt: skip
"""Codes that have nothing to do with a modelled component; one SPN is above 0xFFFF, as real ones are."""
