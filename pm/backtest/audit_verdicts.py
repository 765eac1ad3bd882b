"""From figures to a status and a sentence: where an alarm begins.

What belongs here: thresholds (`policy.audit`, reasons in docs/audit.md) and words of each check.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from pm.backtest.audit_features import Identity
from pm.backtest.audit_result import Check, Status, number_text
from pm.backtest.figures import Figure
from pm.policy import Policy

N_SHOWN: Final = 5
NEARLY_UNIQUE: Final = 0.9
"""Different values a vehicle from which on a feature names the vehicle."""
_RARE: Final = 0.5
"""At a higher base rate a high PR-AUC is no surprise."""
_LEAKY_GAP: Final = 0.1
"""A random split this far above the honest figure, intervals apart, is called leaky."""


def not_possible(component: str, why: str) -> Check:
    """The one check of a component that cannot be audited."""
    return Check("honest", component, "not_possible", f"{_name(component)} cannot be audited: {why}.")


def honest_check(
    component: str,
    pr_auc: Figure,
    base_rate: Figure,
    p_chance: float,
    *,
    dropped: Mapping[str, float],
    policy: Policy,
) -> Check:
    """Is the result too good, and which feature carries it?

    `dropped`: share of the gain that is lost when a feature is dealt out anew.
    """
    figures, details = {"pr_auc": pr_auc, "base_rate": base_rate}, {"p_chance": p_chance}
    told = f"a PR-AUC of {number_text(pr_auc)} at a base rate of {number_text(base_rate)}"
    lowest = pr_auc.low if pr_auc.low is not None else pr_auc.value
    if lowest is None or lowest < policy.audit.too_good_pr_auc or _value(base_rate) >= _RARE:
        above = "above" if p_chance <= policy.audit.alarm_level else "not clearly above"
        sentence = f"{_name(component)}: {told}, {above} chance (p = {p_chance:.3f}); not too good to be true."
        return Check("honest", component, "pass", sentence, figures, details=details)
    carrier = max(dropped, key=lambda name: dropped[name], default="")
    if dropped.get(carrier, 0.0) >= policy.audit.concentration:
        sentence = (
            f"{_name(component)}: {told} is too good, and {carrier} carries it: without it "
            f"{_share(dropped[carrier])} of the gain is lost. Look at what this feature knows."
        )
        return Check("honest", component, "fail", sentence, figures, (carrier,), details)
    sentence = (
        f"{_name(component)}: {told} is too good. Failures come partly without warning; look for what tells the "
        "model before trusting it."
    )
    return Check("honest", component, "warn", sentence, figures, details=details)


def random_check(
    component: str, random: Figure, honest: Figure, base_rate: Figure, *, near: float, honestly_near: float
) -> Check:
    """What a random row split would report, against the honest folds by the same booster.

    It is no alarm about the honest folds, but about that split.
    """
    apart = (random.low or 0.0) > (honest.high if honest.high is not None else honest.value or 0.0)
    leaky = random.value is not None and honest.value is not None and (
        apart and random.value - honest.value >= _LEAKY_GAP and near > honestly_near
    )  # fmt: skip
    overlap = f"{near:.0%} of its test rows have a training row of the same vehicle within the horizon"
    said = "is leaky" if leaky else "is not clearly leaky here"
    sentence = (
        f"{_name(component)}: a random row split {said}: it would report a PR-AUC of {number_text(random)}, against "
        f"{number_text(honest)} honestly; {overlap}, against {honestly_near:.0%} honestly."
    )
    details = {"leaky": leaky, "near_share": near, "honest_near_share": honestly_near}
    return Check(
        "random_split", component, "pass", sentence, {"random": random, "base_rate": base_rate, "honest": honest},
        details=details,
    )  # fmt: skip


def shuffled_check(
    component: str,
    figures: Mapping[str, Figure],
    p_values: Mapping[str, Sequence[float]],
    base_rate: Figure,
    policy: Policy,
) -> Check:
    """With shuffled labels the middle one of the repeated runs must be within what chance reaches."""
    shown = {**figures, "base_rate": base_rate}
    middle = {how: float(np.median(values)) for how, values in p_values.items() if values}
    details = {"p_values": {how: list(values) for how, values in p_values.items()}}
    if not middle:
        sentence = f"{_name(component)}: shuffled labels left one class only in the test rows."
        return Check("shuffled_labels", component, "not_possible", sentence, shown, details=details)
    highest = max((one.value or 0.0 for one in figures.values()), default=0.0)
    told = f"at most {highest:.3f} over {len(figures)} runs, at a base rate of {number_text(base_rate)}"
    alarmed = [how for how, p in middle.items() if p <= policy.audit.alarm_level]
    if alarmed:
        among = {"as_of": "among the vehicles of a day", "vehicle": "between whole vehicles"}
        sentence = (
            f"{_name(component)}: with labels shuffled {' and '.join(among[how] for how in alarmed)} the model still "
            f"ranks above chance ({told}): training rows tell the outcome of test rows."
        )
        return Check("shuffled_labels", component, "fail", sentence, shown, details=details)
    sentence = f"{_name(component)}: with shuffled labels the result falls to chance ({told})."
    return Check("shuffled_labels", component, "pass", sentence, shown, details=details)


def shift_not_possible(component: str) -> Check:
    """No row has vectors on all the shifted days."""
    sentence = f"{_name(component)}: too few rows have vectors on all the shifted days."
    return Check("time_shift", component, "not_possible", sentence)


def shift_check(
    component: str,
    by_shift: Mapping[int, Figure],
    base_rate: Figure,
    lost: Figure,
    *,
    is_result: bool,
    policy: Policy,
    arrivals_pass: bool,
) -> Check:
    """A result about the state of the vehicle fades smoothly as its features get older.

    `lost` is PR-AUC now less that with features one step older.
    """
    figures = {**{f"{shift:+d}d": one for shift, one in by_shift.items()}, "base_rate": base_rate, "lost": lost}
    older = sorted(shift for shift in by_shift if shift < 0)
    gain = _value(by_shift[0]) - _value(base_rate)
    if not is_result or gain <= 0:
        sentence = (
            f"{_name(component)}: the result is not clearly above chance, so features of other days tell nothing."
        )
        return Check("time_shift", component, "pass", sentence, figures)
    sudden = _value(lost) / gain
    kept = (_value(by_shift[older[0]]) - _value(base_rate)) / gain
    details = {"lost_share": sudden, "kept_share": kept, "one_step_d": -older[-1], "oldest_d": -older[0]}
    told = (
        f"of the gain over the base rate {_share(1 - sudden)} stays with features {-older[-1]} days older and "
        f"{_share(kept)} with features {-older[0]} days older"
    )
    sure = lost.low is not None and lost.low > 0
    if sudden >= policy.audit.sudden_loss and sure and -older[-1] * 4 <= policy.horizon.days:
        status: Status = "warn" if arrivals_pass else "fail"
        why = (
            "the features were made again and know nothing of later, so the last day really tells, or a source's "
            "known_at is wrong"
            if arrivals_pass
            else "the last day before the as-of carries it, as when a day is used before it is over"
        )
        sentence = f"{_name(component)}: {told}: a sudden loss; {why}."
        return Check("time_shift", component, status, sentence, figures, details=details)
    if kept >= policy.audit.unmoved_share and -older[0] >= policy.horizon.days:
        sentence = f"{_name(component)}: {told}: it does not react, so what carries it is not the vehicle's state now."
        return Check("time_shift", component, "warn", sentence, figures, details=details)
    return Check("time_shift", component, "pass", f"{_name(component)}: {told}.", figures, details=details)


def single_check(
    component: str,
    alone: Mapping[str, Figure],
    honest: Figure,
    base_rate: Figure,
    *,
    gain_share: Mapping[str, float],
    dropped: Mapping[str, float],
    is_result: bool,
    policy: Policy,
) -> Check:
    """One feature that is the answer, or that alone carries the model.

    `alone` best first; `dropped`: share of the gain that is lost when the feature is dealt out anew.
    """
    audit = policy.audit
    figures = {**{f"alone: {name}": one for name, one in alone.items()}, "model": honest, "base_rate": base_rate}
    details = {"split_gain_share": dict(gain_share), "lost_without": dict(dropped)}
    guilty = [
        name
        for name, one in alone.items()
        if (one.low if one.low is not None else 0.0) >= audit.single_feature_pr_auc and _value(base_rate) < _RARE
    ]
    if guilty:
        first = alone[guilty[0]]
        sentence = (
            f"{_name(component)}: {guilty[0]} alone reaches a PR-AUC of {number_text(first)} (the model "
            f"{number_text(honest)}, the base rate {number_text(base_rate)}): it holds the answer."
        )
        return Check("single_feature", component, "fail", sentence, figures, tuple(guilty), details)
    best = next(iter(alone))
    reached = _value(alone[best]) / max(_value(honest), 1e-9)
    concentrated = (
        gain_share.get(best, 0.0) >= audit.concentration and dropped.get(best, 0.0) >= audit.concentration
    )  # fmt: skip
    told = (
        f"{best} alone reaches a PR-AUC of {number_text(alone[best])}, the model {number_text(honest)}, the base rate "
        f"{number_text(base_rate)}; without it {_share(dropped.get(best, 0.0))} of the gain is lost"
    )
    if is_result and reached >= audit.single_feature_share and concentrated:
        sentence = f"{_name(component)}: {told}: this one feature carries the result; look at how it is made."
        return Check("single_feature", component, "warn", sentence, figures, (best,), details)
    return Check("single_feature", component, "pass", f"{_name(component)}: {told}.", figures, (), details)


def dropped_share(honest: Figure, base_rate: Figure, permuted: Figure) -> float:
    """Share of the gain over the base rate that is lost with one feature dealt out anew; at least 0."""
    gain = _value(honest) - _value(base_rate)
    return max(0.0, (_value(honest) - _value(permuted)) / gain) if gain > 0 else 0.0


def identity_check(
    component: str,
    constant: Mapping[str, Identity],
    dropped: Mapping[str, float],
    *,
    is_result: bool,
    policy: Policy,
) -> Check:
    """A feature constant a vehicle that follows its failures, or names it and carries the result."""
    audit = policy.audit
    encoded = sorted(
        (name for name, one in constant.items() if (one.correlation or 0.0) >= audit.identity_correlation),
        key=lambda name: -(constant[name].correlation or 0.0),
    )
    carrying = [name for name, share in dropped.items() if is_result and share >= audit.concentration]
    details = {
        "constant": {
            name: {"distinct": one.distinct_share, "correlation": one.correlation} for name, one in constant.items()
        },
        "lost_without": dict(dropped),
    }  # fmt: skip
    if encoded:
        one = constant[encoded[0]]
        sentence = (
            f"{_name(component)}: {encoded[0]} hardly changes a vehicle and follows each vehicle's share of failing "
            f"days (correlation {one.correlation:.2f} over {one.n_vehicles} vehicles): the vehicle is encoded by its "
            "outcome."
        )
        return Check("identity", component, "fail", sentence, {}, tuple(encoded), details)
    if carrying:
        sentence = (
            f"{_name(component)}: {carrying[0]} is constant a vehicle and different for nearly each, and without it "
            f"{_share(dropped[carrying[0]])} of the gain is lost: the model knows vehicles, not their state."
        )
        return Check("identity", component, "fail", sentence, {}, tuple(carrying), details)
    named = [name for name, one in constant.items() if one.distinct_share >= NEARLY_UNIQUE]
    sentence = (
        f"{_name(component)}: {len(constant)} features hardly change a vehicle"
        + (f", of which {', '.join(named[:N_SHOWN])} could name it" if named else "")
        + "; none follows its failures or carries the result."
    )
    return Check("identity", component, "pass", sentence, {}, (), details)


def new_vehicles_not_possible(component: str) -> Check:
    """A group of vehicles whose others hold no failure."""
    sentence = f"{_name(component)}: too few vehicles failed to leave some of them out."
    return Check("new_vehicles", component, "not_possible", sentence)


def new_vehicles_check(
    component: str,
    by_vehicle: Figure,
    honest: Figure,
    base_rate: Figure,
    lost: Figure,
    *,
    is_result: bool,
    policy: Policy,
) -> Check:
    """What stays of the gain where the model never saw the vehicle."""
    figures = {"by_vehicle": by_vehicle, "honest": honest, "base_rate": base_rate, "lost": lost}
    gain = _value(honest) - _value(base_rate)
    kept = (_value(by_vehicle) - _value(base_rate)) / gain if gain > 0 else 1.0
    told = (
        f"on vehicles that the model never saw the PR-AUC is {number_text(by_vehicle)}, against {number_text(honest)} "
        f"with their own past, at a base rate of {number_text(base_rate)}"
    )
    sure = lost.low is not None and lost.low > 0
    if is_result and sure and kept < policy.audit.new_vehicle_share:
        sentence = f"{_name(component)}: {told}: the result rests on knowing the vehicles."
        return Check("new_vehicles", component, "warn", sentence, figures, details={"kept_share": kept})
    return Check(
        "new_vehicles", component, "pass", f"{_name(component)}: {told}.", figures, details={"kept_share": kept}
    )


def _value(figure: Figure) -> float:
    return figure.value if figure.value is not None else 0.0


def _share(value: float) -> str:
    return f"{value:.0%}"


def _name(component: str) -> str:
    return component.replace("_", " ").capitalize()
