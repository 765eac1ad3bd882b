"""Features in words: a statistic of a quantity or component, with its name, unit and meaning.

What belongs here: one function a kind of recipe, so that the shipped sets and feature files name the same thing
the same way. Which features a set has is `pm.features.featureset`.
"""

import re
from collections.abc import Mapping
from typing import Final

from pm.errors import ConfigError
from pm.features.definition import BEFORE_D, Component, Feature, Recipe
from pm.features.quantities import Quantity
from pm.features.ranges import BY_QUANTITY, STARTED, Ranges

_WINDOW_WORDS: Final = {
    "mean": "mean {}",
    "min": "lowest {}",
    "max": "highest {}",
    "std": "spread (standard deviation) of {}",
    "transitions": "how often {} changed its value",
}
_CODE_WORDS: Final = {
    "codes": ("n_dtc{}_{}d", "1", "trouble codes{}, each counted once a day, {}"),
    "code_days": ("n_dtc_days{}_{}d", "d", "days with a trouble code{} {}"),
    "different_codes": ("n_dtc_different{}_{}d", "1", "different trouble codes{} {}"),
    "new_codes": ("n_dtc_new{}_{}d", "1", "trouble codes{} {} not seen before in 28 days"),
    "newest_code": ("dtc_first_seen{}_d", "d", "days since the newest trouble code{} {} was first seen"),
    "red_days": ("n_red_lamp_days{}_{}d", "d", "days with the red stop lamp on{} {}"),
    "amber_days": ("n_amber_lamp_days{}_{}d", "d", "days with the amber warning lamp on{} {}"),
    "code_streak": ("dtc_streak{}_{}d", "d", "longest run of days with data that all had a trouble code{} {}"),
    "code_day_share": ("dtc_day_share{}_{}d", "1", "share of the days with data that had a trouble code{} {}"),
}
_EVENT_WORDS: Final = {
    "events": ("n_events{}_{}d", "1", "events{} {}"),
    "event_days": ("n_event_days{}_{}d", "d", "days with an event{} {}"),
    "days_since_event": ("days_since_event{}_{}d", "d", "days since the last event{} {}"),
}


def last(days: int) -> str:
    """`over the last 7 days`."""
    return "over the last day" if days == 1 else f"over the last {days} days"


def slug(text: str) -> str:
    """`text` as part of a feature's name: lower case letters, digits and underscores."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_") or "other"


def window(statistic: str, of: Quantity, days: int) -> Feature:
    """Mean, lowest, highest, spread or transitions over the last days."""
    meaning = f"{_WINDOW_WORDS[statistic].format(of.meaning)} {last(days)}"
    unit = "1" if statistic == "transitions" else of.unit
    return Feature(f"{of.name}_{statistic}_{days}d", unit, meaning, of.sources, Recipe(statistic, of.name, days))


def quantile(of: Quantity, at: float, days: int) -> Feature:
    """A quantile of all values over the last days; `at` from 0 to 1."""
    percent = f"{100 * at:g}"
    meaning = f"{of.meaning} that {percent} % of the values {last(days)} stay below"
    name = f"{of.name}_p{percent.replace('.', '_')}_{days}d"
    return Feature(name, of.unit, meaning, of.sources, Recipe("quantile", of.name, days, at))


def share(of: Quantity, number: int, days: int, declared: Mapping[str, Ranges] = BY_QUANTITY) -> Feature:
    """Share of time that the quantity spent in one of its ranges (by name in `declared`), numbered from 0.

    Raises:
        ConfigError: the quantity has no such range.
    """
    ranges = declared.get(of.name)
    if ranges is None or number >= len(ranges.words):
        known = {name: len(one.words) for name, one in sorted(declared.items())}
        raise ConfigError(f"ranges of {of.name}: expected one of so many ranges {known}, but got number {number}")
    meaning = f"share of time with {of.meaning} {ranges.words[number]} {last(days)}"
    name = f"{of.name}_range_{number}_{days}d"
    return Feature(name, "1", meaning, of.sources, Recipe("share", of.name, days, float(number)))


def trend(of: Quantity, days: int) -> Feature:
    """Slope of the daily means."""
    meaning = f"change a day of the {of.meaning} {last(days)} (slope of the daily means)"
    return Feature(f"{of.name}_slope_{days}d", f"{of.unit}/d", meaning, of.sources, Recipe("slope", of.name, days))


def change(of: Quantity, days: int) -> Feature:
    """The last days against the vehicle's own 28 days before them."""
    meaning = f"mean {of.meaning} of the last {days} days minus that of this truck's {BEFORE_D} days before"
    return Feature(f"{of.name}_change_{days}d", of.unit, meaning, of.sources, Recipe("change", of.name, days))


def against_peers(of: Quantity, days: int) -> Feature:
    """The last days against other vehicles of the same model and duty."""
    meaning = (
        f"mean {of.meaning} {last(days)} minus the median of other trucks of the same model and duty "
        "(of the same model where there are fewer than 3)"
    )
    sources = (*of.sources, "vehicle")
    return Feature(f"{of.name}_peers_{days}d", of.unit, meaning, sources, Recipe("peers", of.name, days))


def excess(of: Quantity, over: Quantity, days: int) -> Feature:
    """Mean of one quantity minus that of another."""
    meaning = f"mean {of.meaning} minus mean {over.meaning} {last(days)}"
    recipe = Recipe("excess", f"{of.name}-{over.name}", days)
    return Feature(f"{of.name}_above_{over.name}_{days}d", of.unit, meaning, of.sources + over.sources, recipe)


def latest(of: Quantity, days: int, *, name: str | None = None) -> Feature:
    """Last value of the last days."""
    recipe = Recipe("latest", of.name, days)
    return Feature(name or f"{of.name}_latest_{days}d", of.unit, f"latest {of.meaning}", of.sources, recipe)


def gain(of: Quantity, days: int, *, name: str | None = None, words: str | None = None) -> Feature:
    """What a counter gained over the last days."""
    recipe = Recipe("gain", of.name, days)
    meaning = f"{words or 'gain of the ' + of.meaning} {last(days)}"
    return Feature(name or f"{of.name}_gain_{days}d", of.unit, meaning, of.sources, recipe)


def red_above(of: Quantity, days: int) -> Feature:
    """Days on which the red lamp and a raised quantity came together."""
    meaning = f"days {last(days)} with the red stop lamp on and a mean {of.meaning} above that of {BEFORE_D} days"
    sources = (*of.sources, "daily_fault")
    return Feature(f"n_red_lamp_{of.name}_high_{days}d", "d", meaning, sources, Recipe("red_above", of.name, days))


def codes(kind: str, component: Component | None, days: int) -> Feature:
    """A count of trouble codes, of one component or of any."""
    name, unit, meaning = _CODE_WORDS[kind]
    part, about = ("", "") if component is None else (f"_{component.name}", f" about {component.words}")
    of = component.name if component else ""
    return Feature(name.format(part, days), unit, meaning.format(about, last(days)), ("daily_fault",),
                   Recipe(kind, of, days))  # fmt: skip


def component_days(days: int) -> Feature:
    """Days on which trouble codes spoke of more than one component."""
    meaning = f"days with trouble codes about two or more components {last(days)}"
    recipe = Recipe("component_days", "", days)
    return Feature(f"n_dtc_days_together_{days}d", "d", meaning, ("daily_fault",), recipe)


def events(kind: str, of: str, about: str, days: int) -> Feature:
    """A count of events, or days since the last one; `of` as in the recipe, `about` in words."""
    name, unit, meaning = _EVENT_WORDS[kind]
    part = f"_{slug(of.partition(':')[2])}" if of else ""
    words = f" {about}" if about else ""
    return Feature(name.format(part, days), unit, meaning.format(words, last(days)), ("event",), Recipe(kind, of, days))


def days_since_repair(component: Component) -> Feature:
    """Days since the last repair that was known."""
    meaning = f"days since {component.words} was last repaired or renewed (at most 365)"
    recipe = Recipe("days_since_repair", component.name)
    return Feature(f"days_since_repair_{component.name}", "d", meaning, ("failure",), recipe)


def gain_since_repair(of: Quantity, component: Component) -> Feature:
    """What a counter gained since the last repair that was known."""
    meaning = f"gain of the {of.meaning} since {component.words} was last repaired or renewed"
    recipe = Recipe("gain_since_repair", f"{of.name}-{component.name}", BEFORE_D)
    sources = (*of.sources, "failure")
    return Feature(f"{of.name}_since_repair_{component.name}", of.unit, meaning, sources, recipe)


def failures(component: Component | None, days: int) -> Feature:
    """Known failures before; 0 days: ever."""
    of = component.name if component else ""
    about = f"of {component.words}" if component else "of any component"
    name = "_".join(("n_failures", *filter(None, (of, f"{days}d" if days else ""))))
    meaning = f"known failures {about} {last(days) if days else 'before'}"
    return Feature(name, "1", meaning, ("failure",), Recipe("failures", of, days))


def no_trouble_found(component: Component, days: int) -> Feature:
    """Visits that found nothing."""
    meaning = f"visits for {component.words} where no trouble was found, {last(days)}"
    recipe = Recipe("no_trouble_found", component.name, days)
    return Feature(f"n_no_trouble_found_{component.name}_{days}d", "1", meaning, ("failure",), recipe)


def days_with_data(days: int) -> Feature:
    """Coverage."""
    recipe = Recipe("days_with_data", "", days)
    return Feature(f"n_days_with_data_{days}d", "d", f"days with data {last(days)}", ("daily_signal",), recipe)


def starts(of: Quantity, days: int, declared: Mapping[str, Ranges] = BY_QUANTITY) -> Feature:
    """How often the vehicle was started, by a quantity whose ranges (by name in `declared`) say when it runs.

    Raises:
        ConfigError: those of the quantity do not.
    """
    ranges = declared.get(of.name)
    if ranges is None or ranges.start is None:
        known = [name for name, one in sorted(declared.items()) if one.start]
        raise ConfigError(f"starts of {of.name}: expected one of {known}, whose ranges have start limits")
    meaning = f"starts by {of.meaning} {last(days)}"
    name = f"n_starts_{days}d" if of.name == STARTED else f"n_starts_{of.name}_{days}d"
    return Feature(name, "1", meaning, of.sources, Recipe("starts", of.name, days))


def age() -> Feature:
    """Age by model year."""
    return Feature("age_a", "a", "age of the truck by its model year", ("vehicle",), Recipe("age"))


def is_model(name: str) -> Feature:
    """Whether the unit is of this model."""
    recipe = Recipe("is_model", name)
    return Feature(f"is_model_{slug(name)}", "1", f"1 where the model is {name}, else 0", ("vehicle",), recipe)
