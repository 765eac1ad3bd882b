"""Signals that stopped saying anything: stuck, silent, sampled at another rate, or null more often.

What belongs here: checks of how a signal is sent, whatever it says. All of them look at driving days
only (`pm.features.checks.days`): a truck that stands is no broken sensor.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from pm.features.checks.days import Flags, Numbers, SubjectDays, median
from pm.features.checks.finding import Checked, Finding, days, number, of_subject
from pm.policy import Assumptions

_USUALLY: Final = 0.9
"""Share of past driving days on which a signal varied, or was there, for it to be missed."""
_DRIVEN_H: Final = 0.5
"""Engine hours of the last days below which no rate is said."""


def check_stuck(
    subject_days: SubjectDays, is_measured: Flags, policy: Assumptions, usually_varies: Flags | None = None
) -> Checked:
    """Subjects with one value only over the last `stuck_d` driving days or more, which varied before.

    Args:
        is_measured: [subject] it has a unit. A state (a switch, a lamp) may well stay as it is.
        usually_varies: [subject] from the training profile, for trucks with too little past.
    """
    k, n = policy.stuck_d, subject_days.n
    low, high = subject_days.minimum, subject_days.maximum
    enough = is_measured & (n[:k] > 0).all(axis=0) & (n[:k].sum(axis=0) >= policy.minimum_values)
    run = _run_length((n == 0) | ((low == low[0]) & (high == low[0])))
    before = (n > 0) & (np.arange(n.shape[0])[:, None] >= run)
    n_before = before.sum(axis=0)
    own = n_before >= policy.minimum_past_d
    varied = (before & (high > low)).sum(axis=0) >= _USUALLY * n_before
    otherwise = np.zeros_like(own) if usually_varies is None else usually_varies
    can_say = enough & (own | otherwise)
    stuck = can_say & (run >= k) & np.where(own, varied, otherwise)
    reason = "one value ({}) over the last {}, while the truck drove; before, it varied"
    found = [
        _finding(subject_days, at, reason.format(number(float(low[0, at])), days(_driven(run, n, at))), int(run[at]),
                 value=float(low[0, at]))
        for at in np.flatnonzero(stuck).tolist()
    ]  # fmt: skip
    n_not = int((is_measured & ~can_say).sum())
    return Checked(tuple(found), int(can_say.sum()), int((n[:k, can_say] > 0).sum()), n_not, _NO_PAST)


def check_silent(subject_days: SubjectDays, policy: Assumptions) -> Checked:
    """Subjects without any value over the last `silent_d` driving days or more, which were there before."""
    there = subject_days.n > 0
    run = np.minimum(_run_length(~there), subject_days.n_days)
    n_before = subject_days.n_days - run
    can_say = n_before >= policy.minimum_past_d
    used_to = there.sum(axis=0) >= _USUALLY * np.maximum(n_before, 1)
    reason = "no value over the last {}, while the truck drove; before, it was there on {} of {}"
    found = [
        _finding(subject_days, at, reason.format(days(int(run[at])), there[:, at].sum(), n_before[at]), 0, value=0.0)
        for at in np.flatnonzero(can_say & used_to & (run >= policy.silent_d)).tolist()
    ]
    return Checked(tuple(found), int(can_say.sum()), int(there[:, can_say].sum()), int((~can_say).sum()), _NO_PAST)


def _run_length(holds: Flags) -> npt.NDArray[np.int64]:
    """For how many days back from the latest `holds` [day, subject] holds without a break."""
    return np.asarray(np.where(holds.all(axis=0), holds.shape[0], np.argmin(holds, axis=0)))


def _driven(run: npt.NDArray[np.int64], n: Numbers, at: int) -> int:
    """Days of the run on which the subject had a value."""
    return int((n[: run[at], at] > 0).sum())


def check_sampling(subject_days: SubjectDays, policy: Assumptions, usual_rate: Numbers | None = None) -> Checked:
    """Messages with far more or fewer rows an engine hour than before.

    The rows of a message are those of its fullest signal, its hours those of the truck's hour meter.

    Args:
        usual_rate: [subject] rows an hour of its message in the training profile, NaN where unknown;
            for trucks with too little past.
    """
    messages, first = _messages(subject_days)
    rows, hours = _rows_of(subject_days, messages, first.size), subject_days.hours[:, first]
    recent = np.where((rows[: policy.recent_d] > 0) & (hours[: policy.recent_d] > 0), hours[: policy.recent_d], 0.0)
    recent_h = recent.sum(axis=0)
    rate = np.where(recent > 0, rows[: policy.recent_d], 0.0).sum(axis=0) / np.where(recent_h > 0, recent_h, np.nan)
    past_h = hours[policy.recent_d :]
    daily = np.where((past_h >= _DRIVEN_H) & (rows[policy.recent_d :] > 0), rows[policy.recent_d :], np.nan) / past_h
    own = np.where(np.isfinite(daily).sum(axis=0) >= policy.minimum_past_d, median(daily), np.nan)
    usual = own if usual_rate is None else np.where(np.isfinite(own), own, usual_rate[first])
    expected = usual * recent_h
    can_say = np.isfinite(rate) & (recent_h >= _DRIVEN_H) & (np.nan_to_num(expected) >= policy.minimum_values)
    with np.errstate(invalid="ignore"):
        off = can_say & ((rate > policy.rate_factor * usual) | (rate < usual / policy.rate_factor))
    found = [
        _rate_finding(subject_days, int(first[at]), float(rate[at]), float(usual[at]), policy)
        for at in np.flatnonzero(off).tolist()
    ]
    n_rows = int((rows[: policy.recent_d, can_say] > 0).sum())
    return Checked(tuple(found), int(can_say.sum()), n_rows, int((~can_say).sum()), _NO_RATE)


def check_nulls(subject_days: SubjectDays, policy: Assumptions, usual_share: Numbers | None) -> Checked:
    """Subjects whose share of null rose over that of the training profile.

    Args:
        usual_share: [subject] high share of null on a training day, NaN where unknown; None: there is no profile.
    """
    if usual_share is None:
        return Checked((), 0, 0, subject_days.subjects.height, "there is no training profile yet")
    messages, first = _messages(subject_days)
    k = policy.recent_d
    rows = _rows_of(subject_days, messages, first.size)[:k].sum(axis=0)[messages]
    share = 1.0 - subject_days.n[:k].sum(axis=0) / np.where(rows > 0, rows, np.nan)
    can_say = np.isfinite(usual_share) & (rows >= policy.minimum_values)
    with np.errstate(invalid="ignore"):
        over = can_say & (share > usual_share + policy.null_share_above)
    reason = "{:.0%} of the rows have no value over the last {}; in training it was at most {:.0%} of a day"
    found = [
        _finding(subject_days, at, reason.format(share[at], days(k), usual_share[at]), k,
                 value=float(share[at]), high=float(usual_share[at] + policy.null_share_above))
        for at in np.flatnonzero(over).tolist()
    ]  # fmt: skip
    n_rows = int((subject_days.n[:k, can_say] > 0).sum())
    why_not = "not in the training profile, or hardly any rows"
    return Checked(tuple(found), int(can_say.sum()), n_rows, int((~can_say).sum()), why_not)


_NO_PAST: Final = "too few driving days before the last ones, or hardly any values"
_NO_RATE: Final = "no hour meter, too few driving days before the last ones, or hardly any rows"


def _messages(subject_days: SubjectDays) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The number of each subject's message (of one vehicle and source address), and each message's first subject."""
    keys: Sequence[str] = ("vehicle_id", "message", "source_address")
    numbers = subject_days.subjects.select(pl.struct(keys).rank("dense").cast(pl.Int64) - 1).to_series().to_numpy()
    _, first = np.unique(numbers, return_index=True)
    return numbers, first


def _rows_of(subject_days: SubjectDays, messages: npt.NDArray[np.int64], n_messages: int) -> Numbers:
    """Rows [day, message]: those of the fullest signal."""
    order = np.argsort(messages, kind="stable")
    starts = np.searchsorted(messages[order], np.arange(n_messages))
    if not n_messages:
        return np.zeros((subject_days.n.shape[0], 0))
    return np.maximum.reduceat(subject_days.n[:, order], starts, axis=1)


def _least(values: Numbers) -> Numbers:
    return np.asarray(np.where(np.isfinite(values), values, np.inf).min(axis=0))


def _most(values: Numbers) -> Numbers:
    return np.asarray(np.where(np.isfinite(values), values, -np.inf).max(axis=0))


def _finding(
    subject_days: SubjectDays, at: int, reason: str, n_rows: int, *, value: float, high: float | None = None
) -> Finding:
    named = of_subject(subject_days.subjects, int(at))
    return Finding(**named, reason=reason, n_rows=n_rows, value=value, expected_high=high)


def _rate_finding(subject_days: SubjectDays, at: int, rate: float, usual: float, policy: Assumptions) -> Finding:
    named = of_subject(subject_days.subjects, at) | {"signal": ""}
    reason = f"{number(rate)} rows an engine hour over the last {days(policy.recent_d)}; usually {number(usual)}"
    return Finding(
        **named, reason=reason, n_rows=policy.recent_d, value=rate, expected_low=usual / policy.rate_factor,
        expected_high=usual * policy.rate_factor, unit="1/h",
    )  # fmt: skip
