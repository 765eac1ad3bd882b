"""Class histograms of rFMS: {from, to, seconds, meters, milliLitres} into one number a class and measure.

What belongs here: naming the signals. `engine_speed_rpm_400_to_800_s` counts seconds with an engine speed
from 400 to 800 rpm; a class without a bound is `below_` or `from_`, and `m0p9` is -0.9. Classes with a label
(gears, power take-off) have that in the name.
"""

import re
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

from pm.canbus.dbc import SignalPlan
from pm.pipelines.rfms.mapping import MEASURES, Classes, own_signal
from pm.pipelines.rfms.response import read_number, read_text

MAXIMUM_CLASSES: Final = 200
"""Classes of one histogram that are read; the longest of the standard has 40."""
_NO_NAME: Final = re.compile(r"[^a-z0-9]+")
_LONGEST_LABEL: Final = 30
_LARGEST_BOUND: Final = 1e6


def read_classes(classes: Classes, value: Any, left_out: Counter[str]) -> Iterator[tuple[str, SignalPlan, float]]:
    """`message.signal`, its plan and its number, of each class and measure of one histogram.

    A class without usable bounds or label, and what is no number from 0, is counted in `left_out`.
    """
    if not isinstance(value, list):
        if value is not None:
            left_out[f"{classes.field}: no list"] += 1
        return
    if len(value) > MAXIMUM_CLASSES:
        left_out[f"{classes.field}: more than {MAXIMUM_CLASSES} classes"] += len(value) - MAXIMUM_CLASSES
    for item in value[:MAXIMUM_CLASSES]:
        name = class_name(item)
        if name is None:
            left_out[f"{classes.field}: a class without bounds or label"] += 1
            continue
        for measure in MEASURES:
            count = read_number(item.get(measure))
            if count is not None and count >= 0:
                yield *_signal(classes, name, measure), count
            elif item.get(measure) is not None:
                left_out[f"{classes.field}.{measure}: no number from 0"] += 1


@lru_cache(maxsize=4096)
def _signal(classes: Classes, name: str, measure: str) -> tuple[str, SignalPlan]:
    """`message.signal` and plan of one class and measure; the same few hundred come again in every record."""
    unit = MEASURES[measure]
    to = f"{classes.to}_{name}_{unit.lower()}"
    meaning = f"{classes.meaning}, class {name}"
    return to, own_signal(to.partition(".")[2], unit, meaning, wide=True, positive=True)


def class_name(item: Any) -> str | None:
    """How a class is called; None: it says neither its bounds nor its label."""
    if not isinstance(item, dict):
        return None
    low, high = _bound(item.get("from")), _bound(item.get("to"))
    if low is not None and high is not None:
        return f"{low}_to_{high}"
    if low is not None or high is not None:
        return f"from_{low}" if high is None else f"below_{high}"
    label = read_text(item.get("label"))
    plain = "" if label is None else _NO_NAME.sub("_", label.lower().replace("-", "m"))[:_LONGEST_LABEL].strip("_")
    return plain or None


def _bound(value: Any) -> str | None:
    number = read_number(value)
    return None if number is None or abs(number) > _LARGEST_BOUND else _bound_text(number)


@lru_cache(maxsize=4096)
def _bound_text(number: float) -> str:
    text = f"{abs(number):.3f}".rstrip("0").rstrip(".").replace(".", "p")
    return f"m{text}" if number < 0 and text != "0" else text
