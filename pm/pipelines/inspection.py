"""What must hold before anything downstream may use a day: findings with the figures behind them."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import polars as pl

from pm.errors import DataError
from pm.features.assumptions import FLEET
from pm.features.featureset import FeatureSet
from pm.labels.failures import FailureRules
from pm.pipelines.feature_sets import set_in_use
from pm.policy import Policy
from pm.store import assumptions, feature_vectors, logs, predictions, vehicles
from pm.store.connection import Connection

MINIMUM_DECODED_SHARE = 0.05
"""Below this the wrong DBC files are the likely reason; real trucks send many unlisted PGNs."""


_EXAMPLES: Final = 5
ASSUMPTION_WORDS: Final = {
    "schema": "Daily aggregates are what is declared.",
    "units": "Signals come in their declared units.",
    "range": "Values lie in what is declared and what can be.",
    "counters": "Odometer and engine hours count up, no faster than a truck drives.",
    "sampling": "Messages come as often as before.",
    "stuck": "No signal has gone constant while its truck drives.",
    "silent": "No signal has gone missing while its truck drives.",
    "nulls": "Share of null as in the training profile.",
}
"""Each check of the daily aggregates in a sentence."""


@dataclass(frozen=True)
class Finding:
    """Whether it holds, in a sentence, with figures."""

    passed: bool
    sentence: str
    figures: dict[str, float | int | str] = field(default_factory=dict)


def inspect_decoding(conn: Connection, start: datetime, end: datetime) -> Finding:
    """Of the frames in files known in [start, end), enough matched a message of the DBC files."""
    files = logs.fetch_log_files(conn, known_from=start, known_to=end)
    if files.is_empty():
        return Finding(passed=True, sentence="no log file became known on this day", figures={"files": 0})
    frames, decoded = int(files["n_frames"].sum()), int(files["n_decoded"].sum())
    share = decoded / frames if frames else 0.0
    sentence = f"{decoded} of {frames} frames decoded; at least {MINIMUM_DECODED_SHARE:.0%} expected"
    figures: dict[str, float | int | str] = {"files": files.height, "frames": frames, "decoded_share": share}
    return Finding(share >= MINIMUM_DECODED_SHARE, sentence, figures)


def inspect_assumptions(conn: Connection, as_of: datetime) -> dict[str, Finding]:
    """What each check of the daily aggregates found at `as_of`; one that found nothing to check or is off passes
    and says so.

    Raises:
        DataError: nothing was checked at that as-of.
    """
    rows = assumptions.fetch_assumptions(conn, as_of)
    of_fleet = rows.filter(pl.col("vehicle_id") == FLEET)
    if of_fleet.is_empty():
        raise DataError(f"{as_of.isoformat()}: expected checked daily aggregates, but got none: run `pm check` first")
    found = {}
    for row in of_fleet.iter_rows(named=True):
        of_vehicles = rows.filter(pl.col("check_name") == row["check_name"], pl.col("vehicle_id") != FLEET)
        counts = of_vehicles["status"].value_counts().rows()
        figures: dict[str, float | int | str] = {"status": row["status"], "marked": 0, "blocked": 0}
        figures |= {{"mark": "marked", "block": "blocked"}[status]: number for status, number in counts}
        figures["examples"] = "; ".join(of_vehicles["reason"].head(_EXAMPLES)) or "none"
        found[str(row["check_name"])] = Finding(row["status"] in ("pass", "not_checked"), row["reason"], figures)
    return found


def inspect_vectors(conn: Connection, as_of: datetime, policy: Policy, configured: FeatureSet | None = None) -> Finding:
    """One vector a vehicle in service at `as_of`, and none that saw data from after it."""
    vectors = _vectors(conn, as_of, policy, configured)
    fleet = vehicles.fetch_vehicles(conn).filter(
        (pl.col("in_service_at").is_null() | (pl.col("in_service_at") <= as_of))
        & (pl.col("left_at").is_null() | (pl.col("left_at") > as_of))
    )
    absent = fleet.join(vectors, on="vehicle_id", how="anti").height
    late = vectors.filter(pl.col("data_until") > pl.col("as_of")).height
    sentence = f"{vectors.height} vectors, {absent} vehicles without one, {late} with data after the as-of"
    return Finding(absent == 0 and late == 0, sentence, {"vectors": vectors.height, "absent": absent, "late": late})


def inspect_predictions(
    conn: Connection, as_of: datetime, policy: Policy, rules: FailureRules, configured: FeatureSet | None = None
) -> Finding:
    """Every vector has an answer for every component; a row without a score says why by its status."""
    found = predictions.fetch_predictions(conn, as_of=as_of)
    expected = _vectors(conn, as_of, policy, configured).height * len(rules.components)
    unexplained = found.filter(pl.col("p_failure").is_null() & (pl.col("status") == "ok")).height
    outside = found.filter(~pl.col("p_failure").is_between(0.0, 1.0)).height
    sentence = (
        f"{found.height} of {expected} predictions, {unexplained} without score or reason, {outside} outside 0..1"
    )
    passed = found.height >= expected and unexplained == 0 and outside == 0
    return Finding(passed, sentence, {"predictions": found.height, "expected": expected})


def _vectors(conn: Connection, as_of: datetime, policy: Policy, configured: FeatureSet | None) -> pl.DataFrame:
    feature_set_id = set_in_use(conn, policy, configured).feature_set_id
    return feature_vectors.fetch_vectors(conn, feature_set_id, since=as_of, until=as_of)
