"""Another unit than the declared one.

What belongs here: a signal's level and extremes against three references (the truck's own days before,
trucks of the same model, the training profile), and which mistaken unit explains the difference. A
unit is named only where the values as declared fit badly and the values converted back fit well: a
part that wears moves a signal, it does not multiply it by 1.8 and add 32.

Compared are three figures of a day: mean, lowest and highest value, each as the median of the days, in
spreads of the reference. Counters have no level: they are in `pm.features.checks.counters`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from pm.features.checks.conversions import Conversion, conversions_of
from pm.features.checks.days import Flags, Numbers, SubjectDays, median
from pm.features.checks.finding import Checked, Finding, number, of_subject
from pm.policy import Assumptions

_MAD_TO_STD: Final = 1.4826
"""Of a normal distribution; Rousseeuw and Croux, J. Am. Stat. Assoc. 88 (1993) 1273-1283."""
_FLOOR: Final = 0.02
"""A spread is at least this share of the reference's largest value: nothing is known more exactly."""
_WITHIN: Final = 0.1
"""...and at least this share of the spread within a day."""
_AT_MOST: Final = 10.0
"""One figure that is far off (a glitch makes an extreme) must not outvote the other two."""


_CLEARLY: Final = 4.0
"""The other unit must fit so many times better than the declared one."""
_FEW: Final = 10
"""Trucks of a model up to which one outlier says little about their spread."""
_AS_DECLARED: Final = Conversion("as declared", 1.0)


class Reference(NamedTuple):
    """What [figure, subject] should be: mean, lowest, highest; NaN centre: nothing is known."""

    words: str
    centre: Numbers
    spread: Numbers


@dataclass(frozen=True)
class _Levels:
    recent: Numbers
    within: Numbers
    n_rows: npt.NDArray[np.int64]


def check_units(
    subject_days: SubjectDays,
    units: Sequence[str],
    is_counter: Flags,
    policy: Assumptions,
    profile: Reference | None = None,
) -> Checked:
    """Subjects whose values fit another unit than `units` [subject], with the conversion that fits best."""
    levels = _levels(subject_days, policy.recent_d)
    references = [own_past(subject_days, policy), peers(subject_days, levels.recent, policy)]
    references += [] if profile is None else [profile]
    convertible = np.array([bool(conversions_of(unit)) for unit in units], dtype=np.bool_) & ~is_counter
    checkable = convertible & np.isfinite(levels.recent[0])
    known = np.any([np.isfinite(reference.centre[0]) for reference in references], axis=0)
    found: dict[int, Finding] = {}
    for reference in references:
        declared = _distance(levels, reference, _AS_DECLARED)
        suspect = checkable & (declared >= policy.unit_misfit)
        for at in np.flatnonzero(suspect).tolist():
            best, distance = _best(levels, reference, at, conversions_of(units[at]))
            if distance <= min(policy.unit_fit, declared[at] / _CLEARLY) and at not in found:
                words = _words(levels, reference, at, units[at], best)
                found[at] = _finding(subject_days, at, levels, reference, words)
    why_not = f"less than {policy.minimum_past_d} days of past, and no {policy.minimum_peers} other trucks of the model"
    n_rows = int(levels.n_rows[checkable & known].sum())
    n_checked, n_not = int((checkable & known).sum()), int((checkable & ~known).sum())
    return Checked(tuple(found[at] for at in sorted(found)), n_checked, n_rows, n_not, why_not)


def own_past(subject_days: SubjectDays, policy: Assumptions) -> Reference:
    """The truck's own days before the last ones, where there are enough."""
    past = _figures(subject_days)[:, policy.recent_d :]
    enough = np.isfinite(past[0]).sum(axis=0) >= policy.minimum_past_d
    centre = np.stack([median(figure) for figure in past])
    apart = np.stack([median(np.abs(figure - middle)) for figure, middle in zip(past, centre, strict=True)])
    return Reference("its own days before", np.where(enough, centre, np.nan), _MAD_TO_STD * apart)


def peers(subject_days: SubjectDays, recent: Numbers, policy: Assumptions) -> Reference:
    """The median truck of the same model; a truck without a model has no peers.

    The spread is that between trucks. Of a few it is known badly: there it is at least half the range of
    the others.
    """
    centre, spread = np.full_like(recent, np.nan), np.full_like(recent, np.nan)
    keys = ("model", "message", "signal", "source_address")
    groups = subject_days.subjects.select(keys).with_row_index("at").filter(subject_days.subjects["model"] != "")
    for members in groups.group_by(keys).agg("at")["at"]:
        at = members.to_numpy()
        at = at[np.isfinite(recent[0, at])]
        if at.size > policy.minimum_peers:
            values = recent[:, at]
            middle = np.median(values, axis=1)[:, None]
            between = np.median(np.abs(values - middle), axis=1)[:, None] * _MAD_TO_STD
            centre[:, at] = middle
            spread[:, at] = np.maximum(between, _half_ranges(values)) if at.size <= _FEW else between
    return Reference("trucks of its model", centre, spread)


def _half_ranges(values: Numbers) -> Numbers:
    """For each column half the range of the other columns' values, by row."""
    others = [np.delete(values, column, axis=1) for column in range(values.shape[1])]
    return np.stack([np.ptp(each, axis=1) / 2 for each in others], axis=1)


def _figures(subject_days: SubjectDays) -> Numbers:
    return np.stack([subject_days.mean, subject_days.minimum, subject_days.maximum])


def _levels(subject_days: SubjectDays, recent_d: int) -> _Levels:
    figures = _figures(subject_days)[:, :recent_d]
    n = np.maximum(subject_days.n[:recent_d], 1.0)
    within = median(np.sqrt(np.maximum(subject_days.m2[:recent_d], 0.0) / n))
    counted = (subject_days.n[:recent_d] > 0).sum(axis=0)
    return _Levels(np.stack([median(figure) for figure in figures]), within, counted)


def _best(levels: _Levels, reference: Reference, at: int, candidates: Sequence[Conversion]) -> tuple[Conversion, float]:
    """The conversion that explains subject `at` best, and how far off it still is."""
    one = _Levels(levels.recent[:, [at]], levels.within[[at]], levels.n_rows[[at]])
    its = Reference(reference.words, reference.centre[:, [at]], reference.spread[:, [at]])
    distances = [float(_distance(one, its, each)[0]) for each in candidates]
    best = int(np.argmin(distances))
    return candidates[best], distances[best]


def _distance(levels: _Levels, reference: Reference, read_as: Conversion) -> Numbers:
    """Mean over the three figures of how many spreads they are off when read in the other unit; 0: not known."""
    known = np.isfinite(reference.centre)
    largest = np.where(known, np.abs(reference.centre), 0.0).max(axis=0)
    floor = np.maximum(_FLOOR * largest, _WITHIN * np.nan_to_num(levels.within) / read_as.scale)
    spread = np.maximum(np.nan_to_num(reference.spread), floor)
    off = np.abs((levels.recent - read_as.offset) / read_as.scale - reference.centre)
    steps = off / np.where(spread > 0, spread, np.where(off > 0, off / _AT_MOST, 1.0))
    return np.asarray(np.nan_to_num(np.minimum(steps, _AT_MOST).mean(axis=0), nan=0.0), dtype=np.float64)


class _Words(NamedTuple):
    reason: str
    unit: str
    conversion: str


def _words(levels: _Levels, reference: Reference, at: int, unit: str, conversion: Conversion) -> _Words:
    mean, usual, low, high = (float(value) for value in (levels.recent[0, at], *reference.centre[:, at]))
    reason = (
        f"mean {number(mean)} {unit}; {reference.words}: {number(usual)} ({number(low)} to {number(high)}); "
        f"read as {conversion.words} it is {number((mean - conversion.offset) / conversion.scale)}"
    )
    return _Words(reason, unit, conversion.words)


def _finding(subject_days: SubjectDays, at: int, levels: _Levels, reference: Reference, words: _Words) -> Finding:
    return Finding(
        **of_subject(subject_days.subjects, at),
        reason=words.reason,
        n_rows=int(levels.n_rows[at]),
        value=float(levels.recent[0, at]),
        expected_low=float(reference.centre[1, at]),
        expected_high=float(reference.centre[2, at]),
        unit=words.unit,
        conversion=words.conversion,
    )
