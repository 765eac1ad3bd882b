"""The training profile: what the daily aggregates were when models were trained, frozen.

What belongs here: making the summary from rows known at a cutoff, one entry a truck model and signal,
its form as JSON, and laying it beside subjects. A profile made at a cutoff is for decisions after it.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from pm.errors import DataError
from pm.features.checks.days import Flags, Numbers, SubjectDays, lay_out
from pm.features.checks.units import Reference
from pm.features.quantities import Quantity
from pm.schema import Column, Table

_KEY: Final = ("model", "message", "signal")
_MAD_TO_STD: Final = 1.4826
_HIGH_SHARE: Final = 0.95
_USUALLY: Final = 0.9
_F64, _I64, _TEXT = pl.Float64(), pl.Int64(), pl.String()

PROFILE_ROWS: Final = Table(
    "profile_rows",
    "One entry a truck model and signal.",
    _KEY,
    (
        Column("model", _TEXT, "truck model; empty: not known"),
        Column("message", _TEXT, "message name in the DBC"),
        Column("signal", _TEXT, "signal name in the DBC"),
        Column("n_vehicles", _I64, "vehicles that sent it"),
        Column("n_days", _I64, "driving days with a value"),
        Column("mean", _F64, "median of the daily means"),
        Column("mean_spread", _F64, "their spread (1.4826 times the median distance from it)"),
        Column("minimum", _F64, "median of the daily lowest values"),
        Column("minimum_spread", _F64, "their spread"),
        Column("maximum", _F64, "median of the daily highest values"),
        Column("maximum_spread", _F64, "their spread"),
        Column("varying_share", _F64, "share of days on which it had more than one value"),
        Column("null_share_high", _F64, "95 % quantile over driving days of its share of null"),
        Column("rows_an_hour", _F64, "median of its message's rows an engine hour; null: no hour meter", nullable=True),
    ),
)


@dataclass(frozen=True)
class TrainingProfile:
    """Frozen summary of the driving days up to `as_of` as they were known then; `rows` is PROFILE_ROWS."""

    feature_set_id: str
    as_of: datetime
    rows: pl.DataFrame

    @cached_property
    def content_json(self) -> str:
        """Canonical JSON: rows by key, floats in their shortest form."""
        document = {
            "feature_set_id": self.feature_set_id,
            "as_of": self.as_of.isoformat(),
            "rows": self.rows.sort(_KEY).to_dicts(),
        }
        return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)

    @cached_property
    def profile_id(self) -> str:
        """First 12 hex digits of the sha256 of the content."""
        return hashlib.sha256(self.content_json.encode()).hexdigest()[:12]


def read_profile(content_json: str) -> TrainingProfile:
    """The profile that `content_json` was made of.

    Raises:
        DataError: it is no such document.
    """
    try:
        document = json.loads(content_json)
        as_of = datetime.fromisoformat(document["as_of"])
        return TrainingProfile(document["feature_set_id"], as_of, PROFILE_ROWS.frame(document["rows"]))
    except (KeyError, TypeError, ValueError) as reason:
        raise DataError(f"training profile: expected its JSON document, but got: {reason!r}") from None


def make_profile(
    daily: pl.DataFrame,
    as_of: datetime,
    *,
    feature_set_id: str,
    vehicles: pl.DataFrame,
    quantities: Sequence[Quantity],
    profile_d: int,
) -> TrainingProfile:
    """The profile of the last `profile_d` driving days of every vehicle, from rows of `daily` known at `as_of`."""
    days = lay_out(daily, as_of, vehicles=vehicles, quantities=quantities, n_days=profile_d)
    groups = days.subjects.select(_KEY).with_row_index("at").group_by(_KEY).agg(pl.col("at").sort()).sort(_KEY)
    rows = _fullest_rows(days)
    made = [
        _row(days, rows, key, members.to_numpy())
        for *key, members in zip(*(groups[name] for name in (*_KEY, "at")), strict=True)
    ]
    return TrainingProfile(feature_set_id, as_of, PROFILE_ROWS.frame(made))


def _fullest_rows(days: SubjectDays) -> Numbers:
    """Rows [day, subject] of the subject's message: those of its fullest signal."""
    keys = ("vehicle_id", "message", "source_address")
    numbers = days.subjects.select(pl.struct(keys).rank("dense").cast(pl.Int64) - 1).to_series().to_numpy()
    if not numbers.size:
        return days.n
    order = np.argsort(numbers, kind="stable")
    starts = np.searchsorted(numbers[order], np.arange(int(numbers.max()) + 1))
    return np.asarray(np.maximum.reduceat(days.n[:, order], starts, axis=1)[:, numbers])


def _row(days: SubjectDays, rows: Numbers, key: Sequence[str], at: npt.NDArray[np.int64]) -> dict[str, object]:
    n, of_message, hours = days.n[:, at], rows[:, at], days.hours[:, at]
    there = n > 0
    varying = np.where(there, days.maximum[:, at] > days.minimum[:, at], False).sum()
    null_share = (1.0 - n[of_message > 0] / of_message[of_message > 0]) if (of_message > 0).any() else np.zeros(1)
    rates = (of_message[(hours > 0.5) & (of_message > 0)]) / hours[(hours > 0.5) & (of_message > 0)]
    made: dict[str, object] = dict(zip(_KEY, key, strict=True)) | {
        "n_vehicles": int(there.any(axis=0).sum()),
        "n_days": int(there.sum()),
        "varying_share": float(varying / there.sum()),
        "null_share_high": float(np.quantile(null_share, _HIGH_SHARE)),
        "rows_an_hour": float(np.median(rates)) if rates.size else None,
    }
    for name, grid in (("mean", days.mean), ("minimum", days.minimum), ("maximum", days.maximum)):
        values = grid[:, at][there]
        made[name] = float(np.median(values))
        made[f"{name}_spread"] = float(_MAD_TO_STD * np.median(np.abs(values - np.median(values))))
    return made


@dataclass(frozen=True)
class ProfileOfSubjects:
    """What a profile says of each subject; NaN and False where it does not know the model and signal."""

    reference: Reference
    usually_varies: Flags
    null_share: Numbers
    rows_an_hour: Numbers


def of_subjects(
    profile: TrainingProfile, days: SubjectDays, *, minimum_days: int, minimum_vehicles: int
) -> ProfileOfSubjects:
    """`profile` laid beside the subjects of `days`; entries of fewer days or vehicles are not used."""
    trusted = profile.rows.filter(pl.col("n_days") >= minimum_days, pl.col("n_vehicles") >= minimum_vehicles)
    found = days.subjects.select(_KEY).join(trusted, on=_KEY, how="left", maintain_order="left")

    def column(name: str) -> Numbers:
        return np.asarray(found[name].cast(pl.Float64).fill_null(np.nan).to_numpy())

    figures = ("mean", "minimum", "maximum")
    reference = Reference(
        "trucks of its model in training",
        np.stack([column(name) for name in figures]),
        np.stack([column(f"{name}_spread") for name in figures]),
    )
    varies = np.nan_to_num(column("varying_share")) >= _USUALLY
    return ProfileOfSubjects(reference, varies, column("null_share_high"), column("rows_an_hour"))
