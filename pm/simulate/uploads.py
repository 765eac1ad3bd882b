"""How a telematics logger brings its frames home.

What belongs here: which days each uploaded file covers and when it arrives (regularly, late, out of
order, twice), and the weeks in which a logger is dead.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pm.simulate.fleet import DAY_S, FleetConfig, Vehicle

_SENT_AGAIN: Final = 0.02
_OVERLAPS: Final = 0.03


@dataclass(frozen=True)
class Upload:
    """A file: the days it covers (`until_day` not included) and when it arrived, seconds from the start."""

    from_day: int
    until_day: int
    uploaded_s: float
    again_s: float | None = None
    """When the same bytes arrived once more, under another name; None: never."""


def plan_uploads(vehicle: Vehicle, rng: np.random.Generator) -> list[Upload]:
    """Uploads of one truck in order of the days they cover; not all arrive in that order.

    Most loggers upload once a week, some every few days; about one file in sixteen is late by days, up
    to two weeks.
    """
    interval_d = int(rng.choice((7, 5, 3), p=(0.88, 0.08, 0.04)))
    edge = vehicle.joined_day + int(rng.integers(1, interval_d + 1))
    edges = [vehicle.joined_day, *range(edge, vehicle.left_day, interval_d), vehicle.left_day]
    uploads = []
    for from_day, until_day in pairwise(edges):
        delay_s = 3600 * float(rng.uniform(0.4, 6.0))
        late_d, is_late = float(np.clip(rng.lognormal(np.log(4.0), 0.7), 0.8, 14.0)), rng.random() < 0.065
        uploaded_s = until_day * DAY_S + delay_s + (late_d * DAY_S if is_late else 0.0)
        uploads.append(Upload(from_day, until_day, float(round(uploaded_s))))
    return uploads


def with_repeats(uploads: Sequence[Upload], rng: np.random.Generator) -> list[Upload]:
    """The same uploads, some sent again, some with the last day of the file before.

    A logger that got no receipt sends a file again, hours or days later (one in 50), or begins the
    next file where the last receipt ended (one in 33).
    """
    found = []
    for number, upload in enumerate(uploads):
        again, overlaps, wait_s = rng.random() < _SENT_AGAIN, rng.random() < _OVERLAPS, rng.uniform(1, 144) * 3600
        from_day = upload.from_day - (1 if overlaps and number else 0)
        again_s = float(round(upload.uploaded_s + wait_s)) if again else None
        found.append(replace(upload, from_day=from_day, again_s=again_s))
    return found


def dead_days(config: FleetConfig, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Days on which the logger records nothing: about one truck in six loses one to four weeks in half a year."""
    dead = np.zeros(config.n_days, np.bool_)
    for day in np.flatnonzero(rng.random(config.n_days) < 0.001):
        dead[day : day + int(rng.integers(7, 29))] = True
    return dead
