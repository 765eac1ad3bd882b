"""What the controllers send: which message when, from which source.

What belongs here: the logger's table of messages. Their values are functions of the drive and of the
symptoms in `pm.simulate.signals_engine`, `signals_exhaust` and `signals_chassis`. NaN means not
available, +inf the error indicator; `pm.simulate.encode` makes bytes of them.
"""

from collections.abc import Callable
from typing import Final

from pm.simulate import signals_chassis as chassis
from pm.simulate import signals_engine as engine
from pm.simulate import signals_exhaust as exhaust
from pm.simulate.components import BODY, BRAKES, ENGINE, EXHAUST, NOX_IN, NOX_OUT
from pm.simulate.moments import SETTLED_S, Floats, Moments, Samples, Truck

__all__ = ["MESSAGES", "SETTLED_S", "Samples", "Truck", "sample"]

START_ELECTRIC_S: Final = (0.1, 1.1, 2.1, 3.4, 20.0, 60.0, 120.0)
"""Before cranking, twice while cranking, just running, then settling."""
START_AIR_S: Final = tuple(10.0 + 15.0 * step for step in range(16))

_Values = Callable[[Truck, Moments], dict[str, Floats]]
_REGULAR: Final[tuple[tuple[str, int, float, float, _Values], ...]] = (
    ("EEC1", ENGINE, 300.0, SETTLED_S, engine.engine),
    ("CCVS1", ENGINE, 300.0, SETTLED_S + 3, chassis.speed),
    ("ET1", ENGINE, 240.0, 60.0, engine.temperatures),
    ("EFL_P1", ENGINE, 300.0, SETTLED_S + 6, engine.fluids),
    ("IC1", ENGINE, 300.0, SETTLED_S + 9, engine.intake),
    ("AMB", ENGINE, 600.0, SETTLED_S + 12, chassis.outside),
    ("VEP1", ENGINE, 240.0, SETTLED_S + 15, chassis.electric),
    ("AIR1", BRAKES, 240.0, SETTLED_S + 18, chassis.air),
    ("LFE1", ENGINE, 600.0, SETTLED_S + 21, engine.fuel),
    ("HOURS", ENGINE, 1200.0, SETTLED_S + 24, engine.hours),
    ("VDHR", BODY, 1800.0, SETTLED_S + 27, chassis.body_odometer),
    ("VDHR", ENGINE, 3600.0, SETTLED_S + 30, chassis.engine_odometer),
    ("VD", BODY, 3600.0, SETTLED_S + 33, chassis.coarse_odometer),
    ("EEC2", ENGINE, 300.0, SETTLED_S + 10, engine.pedal),
    ("TC", ENGINE, 900.0, SETTLED_S + 36, engine.turbocharger),
    ("EEC6", ENGINE, 900.0, SETTLED_S + 39, engine.turbo_geometry),
    ("EGF1", ENGINE, 900.0, SETTLED_S + 42, engine.air_flow),
    ("EFL_P2", ENGINE, 600.0, SETTLED_S + 45, engine.rail),
    ("EEC9", ENGINE, 600.0, SETTLED_S + 45, engine.wanted_rail),
    ("AT1IG2", EXHAUST, 1800.0, SETTLED_S + 48, exhaust.filter_intake),
    ("AT1OG2", EXHAUST, 900.0, SETTLED_S + 51, exhaust.filter_outlet),
    ("AT1IMG", EXHAUST, 900.0, SETTLED_S + 54, exhaust.filter_pressure),
    ("AT1S1", EXHAUST, 900.0, SETTLED_S + 57, exhaust.filter_service),
    ("DPFC1", EXHAUST, 600.0, SETTLED_S + 60, exhaust.filter_control),
    ("AT1IG1", NOX_IN, 900.0, SETTLED_S + 63, exhaust.nox_in),
    ("AT1OG1", NOX_OUT, 900.0, SETTLED_S + 63, exhaust.nox_out),
    ("A1SCRDSI1", EXHAUST, 900.0, SETTLED_S + 66, exhaust.dosing),
    ("AT1T1I", EXHAUST, 3600.0, SETTLED_S + 69, exhaust.reagent_tank),
)
"""Message, source address, period, first sending time in a session, values."""

_START_UP: Final[tuple[tuple[str, int, tuple[float, ...], _Values], ...]] = (
    ("VEP1", ENGINE, START_ELECTRIC_S, chassis.electric_start),
    ("EEC1", ENGINE, (1.3, 2.3, 4.0), engine.cranking),
    ("AIR1", BRAKES, START_AIR_S, chassis.air_start),
    ("EFL_P2", ENGINE, (1.3, 2.3, 4.0), engine.rail_start),
)
"""What is sent in the first minutes only, and when after the engine is switched on."""

MESSAGES: Final = tuple(dict.fromkeys(each[0] for each in _REGULAR))
"""Messages whose layout is taken from the DBC; those longer than a frame (DM1, VI) are made elsewhere."""


def sample(truck: Truck) -> list[Samples]:
    """All messages of one truck, in a fixed order."""
    made: list[Samples] = []
    for message, source, period_s, offset_s, values in _REGULAR:
        at = truck.regular(period_s, offset_s)
        made.append(Samples(message, source, at.time_s, values(truck, at)))
    for message, source, after_s, values in _START_UP:
        at = truck.start_up(after_s)
        made.append(Samples(message, source, at.time_s, values(truck, at)))
    return made
