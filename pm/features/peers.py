"""A vehicle's value against those of others like it.

What belongs here: who its peers are at an as-of, and the difference. Peers are of the same model and duty; where
fewer than three of them have a value, of the same model; where these are too few as well, there is no answer. A
vehicle is none of its own peers: in a small fleet it would pull the median towards itself.
"""

from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

Numbers = npt.NDArray[np.float64]
Groups = npt.NDArray[np.int64]

MINIMUM_PEERS: Final = 3
"""Others with a value that a median needs."""


def peer_groups(fleet: pl.DataFrame) -> tuple[Groups, Groups]:
    """Group numbers [vehicle] by model and duty, and by model; a vehicle of no known model is of model ""."""
    names = fleet.select(pl.col("model").fill_null(""), pl.col("duty").fill_null(""))
    close = names.select(pl.struct("model", "duty").rank("dense").cast(pl.Int64)).to_series()
    wide = names["model"].rank("dense").cast(pl.Int64)
    return close.to_numpy(), wide.to_numpy()


def against_others(values: Numbers, groups: tuple[Groups, Groups]) -> Numbers:
    """Each value minus the median of its peers' [vehicle]; NaN where it or enough of them is missing."""
    close, wide = (_median_of_others(values, group) for group in groups)
    return values - np.where(np.isfinite(close), close, wide)


def _median_of_others(values: Numbers, groups: Groups) -> Numbers:
    middle = np.full_like(values, np.nan)
    there = np.isfinite(values)
    for group in np.unique(groups):
        members = np.flatnonzero((groups == group) & there)
        if members.size > MINIMUM_PEERS:
            middle[members] = _medians_without(values[members])
    return middle


def _medians_without(values: Numbers) -> Numbers:
    """For each value the median of all others: two neighbours of the middle, one place on behind itself."""
    order = np.argsort(values, kind="stable")
    ranked, n_others = values[order], values.size - 1
    place = np.empty(values.size, dtype=np.int64)
    place[order] = np.arange(values.size)
    low, high = (n_others - 1) // 2, n_others // 2
    below = ranked[np.where(low < place, low, low + 1)]
    above = ranked[np.where(high < place, high, high + 1)]
    return np.asarray((below + above) / 2)
