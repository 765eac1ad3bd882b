"""Trouble codes that are reported again and again, unchanged.

What belongs here: saying which reports tell something new. A truck repeats its active codes every second
(SAE J1939-73, 5.7.1: DM1 once a second while a code is active, and on change), which would be a row a code
and second for as long as the fault lasts.
"""

from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pm.canbus.formats.block import I64
from pm.canbus.jit import kernel

_NEVER: Final = -1
_NO_COUNT: Final = 127
_NO_FLASH: Final = 3
_CODE: Final = (("spn", 19, 0), ("fmi", 5, 0), ("dm", 2, 0), ("source_address", 9, 0))
"""Columns that name a code, their bits, and what stands for null."""
_STATE: Final = (
    ("occurrence_count", 8, _NO_COUNT),
    ("conversion_method", 3, 0),
    *((f"lamp_{lamp}", 2, 0) for lamp in ("mil", "red", "amber", "protect")),
    *((f"flash_{lamp}", 2, _NO_FLASH) for lamp in ("mil", "red", "amber", "protect")),
)


class FaultRepeats:
    """Of one log's trouble codes, those that tell something new."""

    def __init__(self, period_s: float) -> None:
        """A code reported again unchanged tells something new once in `period_s`; 0: every report does."""
        self._period_us = round(period_s * 1e6)
        self._last: dict[tuple[str, int], tuple[int, int]] = {}

    def news(self, faults: pl.DataFrame) -> NDArray[np.bool_]:
        """Which rows of the next faults (`pm.canbus.faults.FAULT_SCHEMA`, in the order of the log) tell something new:

        the first of each channel, source, message (DM1 or DM2), SPN and FMI, one whose count, lamps or
        flashes differ from the report kept before it, one so much later, and one that is earlier.
        """
        news = np.ones(faults.height, np.bool_)
        if not self._period_us or not faults.height:
            return news
        for (channel,), rows in faults.with_row_index("_row").group_by("channel", maintain_order=True):
            news[rows["_row"].to_numpy()] = self._of_channel(str(channel), rows)
        return news

    def _of_channel(self, channel: str, faults: pl.DataFrame) -> NDArray[np.bool_]:
        codes, place = np.unique(_packed(faults, _CODE), return_inverse=True)
        before = [self._last.get((channel, code), (0, _NEVER)) for code in codes.tolist()]
        last_us, last_state = (np.array(column, np.int64) for column in zip(*before, strict=True))
        news = np.zeros(faults.height, np.bool_)
        time_us = faults["time"].to_physical().to_numpy()
        _mark_news(place.astype(np.int64), _packed(faults, _STATE), time_us, self._period_us, last_us, last_state, news)
        after = zip(last_us.tolist(), last_state.tolist(), strict=True)
        self._last.update(zip(((channel, code) for code in codes.tolist()), after, strict=True))
        return news


def _packed(faults: pl.DataFrame, columns: tuple[tuple[str, int, int], ...]) -> I64:
    packed = np.zeros(faults.height, np.int64)
    for name, bits, null in columns:
        values = faults[name]
        numbers = (values.fill_null(null) if values.null_count() else values).to_numpy().astype(np.int64)
        packed = packed << bits | numbers & ((1 << bits) - 1)
    return packed


@kernel
def _mark_news(
    place: I64, state: I64, time_us: I64, period_us: int, last_us: I64, last_state: I64, news: NDArray[np.bool_]
) -> None:
    for i in range(len(place)):
        code = place[i]
        is_repeat = state[i] == last_state[code] and 0 <= time_us[i] - last_us[code] < period_us
        if not is_repeat:
            news[i] = True
            last_us[code], last_state[code] = time_us[i], state[i]
