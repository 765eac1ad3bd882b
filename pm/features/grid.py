"""The cells of a span of as-ofs as arrays, brought forward from one as-of to the next.

What belongs here: the fast way to `pm.features.cells.Days`. Going from one as-of to the next, only versions that
became known in between are written; the days before an as-of are then a slice. `pm.features.cells.select_days`
answers the same question on its own for any as-of, and a test holds the two against each other.
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from pm.errors import DataError
from pm.features.cells import FEW, CellVersions, Days

Numbers = npt.NDArray[np.float64]
Positions = npt.NDArray[np.int64]

_EPOCH: Final = date(1970, 1, 1)
_EMPTY: Final = {
    "n_values": 0.0, "mean": 0.0, "m2": 0.0, "minimum": np.inf, "maximum": -np.inf, "first_value": 0.0,
    "last_value": 0.0, "n_transitions": np.nan, "n_starts": np.nan, "sketch": -1.0,
}  # fmt: skip
_ALWAYS: Final = frozenset(("n_values", "mean"))
NEEDED: Final = {
    "std": ("m2",), "min": ("minimum",), "max": ("maximum",),
    "gain": ("first_value", "last_value", "minimum", "maximum"), "latest": ("last_value",),
    "quantile": ("sketch", "minimum", "maximum"), "transitions": ("n_transitions",), "starts": ("n_starts",),
}  # fmt: skip
"""Columns that a kind of recipe reads besides n and mean; `share` reads the times in ranges."""


class SpanGrid:
    """Grids [day, vehicle, series] of one span; a series is one signal from one source address of a quantity."""

    def __init__(
        self,
        versions: CellVersions,
        *,
        vehicle_ids: Sequence[int],
        n_quantities: int,
        first_day: date,
        n_days: int,
        kinds: frozenset[str],
    ) -> None:
        """Nothing is known yet; `kinds` says which recipes will be asked, other columns stay empty."""
        self._versions = versions
        self._first = (first_day - _EPOCH).days
        self._places = {vehicle_id: place for place, vehicle_id in enumerate(vehicle_ids)}
        rows = _placed(versions.rows, vehicle_ids).sort("known_at", maintain_order=True)
        self._known_us = rows["known_at"].dt.timestamp("us").to_numpy()
        self._series, number = _series(rows, n_quantities)
        shape = (n_days, len(vehicle_ids), len(self._series))
        self._at = np.ravel_multi_index((_day_numbers(rows) - self._first, rows["place"].to_numpy(), number), shape)
        ranges = [f"range_{i}_us" for i in range(versions.n_ranges)] if "share" in kinds else []
        wanted = _ALWAYS.union(*(NEEDED.get(kind, ()) for kind in kinds))
        self._values = {name: rows[name].to_numpy() for name in (*sorted(wanted), *ranges)}
        self._grids = {name: np.full(shape, _EMPTY.get(name, np.nan)) for name in self._values}
        self._n_quantities = n_quantities
        self._n_written = 0

    def at(self, as_of: datetime, *, vehicle_ids: Sequence[int], lookback_d: int) -> Days:
        """The cells of the `lookback_d` days before `as_of`'s day, as known at `as_of`.

        Raises:
            DataError: as-ofs do not ascend.
        """
        self._bring_forward(as_of)
        end = (as_of.date() - _EPOCH).days - self._first
        fleet = [self._places[vehicle_id] for vehicle_id in vehicle_ids]
        everyone = fleet == list(range(len(self._places)))
        days = {name: grid[end - lookback_d : end][::-1] for name, grid in self._grids.items()}
        if not everyone:
            days = {name: grid[:, fleet] for name, grid in days.items()}
        chosen = self._chosen(days["n_values"])
        if chosen is not None:
            days = {name: np.take_along_axis(grid, chosen[None], axis=2) for name, grid in days.items()}
        return self._as_days(days, (lookback_d, len(fleet), self._n_quantities))

    def _bring_forward(self, as_of: datetime) -> None:
        until = int(np.searchsorted(self._known_us, int(as_of.timestamp() * 1_000_000), side="right"))
        if until < self._n_written:
            raise DataError(f"as-ofs of a span: expected ascending ones, but got {as_of.isoformat()} after a later one")
        new = slice(self._n_written, until)
        for name, grid in self._grids.items():
            grid.reshape(-1)[self._at[new]] = self._values[name][new]  # of one cell the version known last is last
        self._n_written = until

    def _chosen(self, n_values: Numbers) -> Positions | None:
        """The series of each vehicle and quantity, as `pm.features.cells` chooses; None: series are quantities."""
        if [quantity for quantity, _, _ in self._series] == list(range(self._n_quantities)):
            return None
        totals = n_values.sum(axis=0)
        chosen = np.zeros((totals.shape[0], self._n_quantities), dtype=np.int64)
        for quantity in range(self._n_quantities):
            mine = [number for number, series in enumerate(self._series) if series[0] == quantity]
            chosen[:, quantity] = _choose(mine, [self._series[number][1] for number in mine], totals[:, mine])
        return chosen

    def _as_days(self, days: dict[str, Numbers], shape: tuple[int, int, int]) -> Days:
        def grid(name: str) -> Numbers:
            return days[name] if name in days else np.broadcast_to(np.float64(_EMPTY.get(name, np.nan)), shape)

        return Days(
            n=grid("n_values"), mean=grid("mean"), m2=grid("m2"), minimum=grid("minimum"), maximum=grid("maximum"),
            first_value=grid("first_value"), last_value=grid("last_value"), n_transitions=grid("n_transitions"),
            n_starts=grid("n_starts"),
            range_us=tuple(grid(f"range_{i}_us") for i in range(self._versions.n_ranges)),
            sketch=grid("sketch").astype(np.int64), sketches=self._versions.sketches,
        )  # fmt: skip


def span_days(first: datetime, last: datetime, lookback_d: int) -> tuple[date, int]:
    """First day and number of days that as-ofs from `first` to `last` look at."""
    return first.date() - timedelta(days=lookback_d), (last.date() - first.date()).days + lookback_d


def _placed(rows: pl.DataFrame, vehicle_ids: Sequence[int]) -> pl.DataFrame:
    places = pl.DataFrame({"vehicle_id": vehicle_ids}, schema={"vehicle_id": pl.Int32}).with_row_index("place")
    return rows.join(places, on="vehicle_id", maintain_order="left")


def _day_numbers(rows: pl.DataFrame) -> Positions:
    return rows["day"].cast(pl.Int32).to_numpy().astype(np.int64)


def _series(rows: pl.DataFrame, n_quantities: int) -> tuple[list[tuple[int, int, int]], Positions]:
    """Every (quantity, choice, source address) there is, ordered, at least one a quantity; and each row's number."""
    key = ("quantity", "choice", "source_address")
    found = [(int(q), int(c), int(a)) for q, c, a in rows.select(key).unique().rows()]
    missing = [(quantity, 0, 0) for quantity in set(range(n_quantities)) - {quantity for quantity, _, _ in found}]
    series = sorted(found + missing)
    numbers = pl.DataFrame(
        series, schema={"quantity": pl.Int32, "choice": pl.Int32, "source_address": pl.Int16}, orient="row"
    ).with_row_index("number")
    return series, rows.join(numbers, on=key, how="left", maintain_order="left")["number"].to_numpy().astype(np.int64)


def _choose(mine: Sequence[int], choices: Sequence[int], totals: Numbers) -> Positions:
    """Of the series `mine`, ordered by choice and source address, the one that each vehicle's values are taken from."""
    there = totals > 0
    order = np.array(choices)
    first = np.where(there, order, order.max() + 1).min(axis=1)
    of_first = there & (order == first[:, None])
    busiest = np.where(of_first, totals, 0.0).max(axis=1)
    taken = of_first & (totals >= FEW * busiest[:, None])
    return np.asarray(np.array(mine, dtype=np.int64)[taken.argmax(axis=1)])
