"""The oracle's figures against values worked out by hand, and scikit-learn's on a simulated fleet."""

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from pm.errors import DataError
from pm.settings import read_settings
from pm.simulate import FleetConfig, simulate
from pm.simulate.oracle import model_shares, oracle_p, oracle_report, oracle_scores, read_rows, true_rows

MIDNIGHT = datetime(2026, 3, 1, tzinfo=UTC)


def frame(component: str, cells: list[tuple[str, float, str]]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(truth, rows) of trucks at one midnight: reference, probability, state."""
    rows = [
        {"vehicle_ref": ref, "component": component, "as_of": MIDNIGHT, "p_failure": p, "state": s}
        for ref, p, s in cells
    ]
    whole = pl.DataFrame(rows)
    return whole.drop("state"), whole.drop("p_failure")


def test_figures_by_hand() -> None:
    # Ranked: positive, negative, positive, negative. Precision 1 at the first, 2/3 at the second positive.
    truth, rows = frame(
        "cooling", [("a", 0.9, "positive"), ("b", 0.5, "negative"), ("c", 0.4, "positive"), ("d", 0.1, "negative")]
    )
    cooling, together = oracle_scores(truth, rows)
    assert (cooling.component, cooling.n_rows, cooling.n_positives, cooling.base_rate) == ("cooling", 4, 2, 0.5)
    assert cooling.pr_auc == pytest.approx((1 + 2 / 3) / 2)
    assert cooling.roc_auc == pytest.approx(3 / 4)
    assert (together.component, together.pr_auc) == (None, cooling.pr_auc)


def test_pending_censored_and_unjudged_rows_never_count() -> None:
    truth, rows = frame(
        "cooling",
        [
            ("a", 0.9, "positive"),
            ("b", 0.5, "negative"),
            ("c", 0.99, "pending"),
            ("d", 0.98, "censored"),
            ("e", 0.97, "negative"),
        ],
    )
    judged = rows.with_columns(judged=pl.col("vehicle_ref") != "e")
    assert oracle_scores(truth, judged)[0].pr_auc == 1.0
    assert oracle_scores(truth, rows)[0].pr_auc == 0.5


def test_rows_that_the_truth_does_not_have_are_counted_and_left_out() -> None:
    truth, rows = frame("cooling", [("a", 0.9, "positive"), ("b", 0.5, "negative"), ("c", 0.4, "positive")])
    score = oracle_scores(truth.filter(pl.col("vehicle_ref") != "c"), rows)[0]
    assert (score.n_rows, score.n_without_truth, score.n_positives) == (2, 1, 1)


@pytest.mark.parametrize(("state", "said"), [("negative", "no positive row"), ("positive", "no negative row")])
def test_one_class_only_is_a_null_with_its_reason(state, said) -> None:
    score = oracle_scores(*frame("cooling", [("a", 0.9, state), ("b", 0.5, state)]))[0]
    assert (score.roc_auc, score.undefined) == (None, said)
    assert (score.pr_auc is None) == (state == "negative")


def test_no_row_at_all_is_a_null_with_its_reason() -> None:
    truth, rows = frame("cooling", [("a", 0.9, "pending")])
    (together,) = oracle_scores(truth, rows)
    assert (together.n_rows, together.base_rate, together.pr_auc, together.undefined) == (
        0,
        None,
        None,
        "no positive row",
    )


def test_a_row_twice_or_a_missing_column_is_an_error() -> None:
    truth, rows = frame("cooling", [("a", 0.9, "positive"), ("b", 0.5, "negative")])
    with pytest.raises(DataError, match="each vehicle, component and as-of once"):
        oracle_scores(truth, pl.concat([rows, rows]))
    with pytest.raises(DataError, match=r"got none of \['state'\]"):
        oracle_scores(truth, rows.drop("state"))


def write_truth(folder, *, failed_at=(), replaced_on=(), left_at=None) -> None:
    """A fleet of one truck and 40 days from 2026-01-01, with a hazard every day."""
    (folder / "truth").mkdir(parents=True)
    days = [date(2026, 1, 1) + timedelta(days=n) for n in range(40)]
    truck = {"vehicle_ref": "T-001", "component": "turbo"}
    hazards = pl.DataFrame([truck | {"day": day, "p_failure_14d": 0.1 + n / 100} for n, day in enumerate(days)])
    hazards.write_parquet(folder / "truth" / "hazards.parquet")
    instant = pl.Datetime("us", "UTC")
    schema = {"vehicle_ref": pl.String, "component": pl.String}
    pl.DataFrame(
        [truck | {"failed_at": at} for at in failed_at], schema={**schema, "failed_at": instant}
    ).write_parquet(folder / "truth" / "failures.parquet")
    pl.DataFrame([truck | {"day": day} for day in replaced_on], schema={**schema, "day": pl.Date}).write_parquet(
        folder / "truth" / "replacements.parquet"
    )
    (folder / "vehicles.csv").write_text(f"vehicle_ref,left_at\nT-001,{left_at or ''}\n")


def states(folder) -> dict[int, str]:
    """State by day of January (32 = the first of February)."""
    first = datetime(2026, 1, 1, tzinfo=UTC)
    return {(as_of - first).days + 1: state for as_of, state in true_rows(folder).select("as_of", "state").iter_rows()}


def test_a_row_is_positive_from_14_days_before_a_failure_until_the_failure(tmp_path) -> None:
    write_truth(tmp_path, failed_at=[datetime(2026, 1, 20, 0, tzinfo=UTC)])
    found = states(tmp_path)
    assert [found[day] for day in (5, 6, 19, 20)] == ["negative", "positive", "positive", "negative"]
    # The record ends with 10 February 00:00; 14 days before it is 27 January.
    assert [found[day] for day in (27, 28, 40)] == ["negative", "pending", "pending"]


def test_leaving_and_planned_replacement_censor_what_is_not_positive(tmp_path) -> None:
    write_truth(tmp_path / "a", replaced_on=[date(2026, 1, 20)])
    assert [states(tmp_path / "a")[day] for day in (5, 6, 19, 20)] == ["negative", "censored", "censored", "negative"]
    write_truth(tmp_path / "b", failed_at=[datetime(2026, 1, 12, tzinfo=UTC)], left_at="2026-01-20T00:00:00Z")
    assert [states(tmp_path / "b")[day] for day in (5, 6, 11, 12)] == ["positive", "positive", "positive", "censored"]


def test_a_folder_that_is_no_fleet_is_one_clear_error(tmp_path) -> None:
    with pytest.raises(DataError, match="expected the truth of a simulated fleet"):
        oracle_p(tmp_path)
    with pytest.raises(DataError, match="expected a Parquet file of judged rows"):
        read_rows(tmp_path / "rows.parquet")


def test_models_are_shown_as_shares_of_the_ceiling_on_the_same_rows() -> None:
    truth, rows = frame(
        "cooling", [("a", 0.9, "positive"), ("b", 0.5, "negative"), ("c", 0.8, "positive"), ("d", 0.1, "negative")]
    )
    # `panel` ranks negative, positive, positive, negative: precision 1/2, then 2/3.
    said = {"gbm": [0.9, 0.1, 0.8, 0.2], "panel": [0.5, 0.9, 0.4, 0.1]}
    scores = pl.concat([rows.with_columns(pl.Series("p_failure", p), kind=pl.lit(kind)) for kind, p in said.items()])
    shares = {(one.component, one.kind): one.share for one in model_shares(truth, scores)}
    assert shares["cooling", "gbm"] == shares[None, "gbm"] == 1.0
    assert shares["cooling", "panel"] == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_a_backtests_scores_have_each_row_once_a_kind(tmp_path) -> None:
    write_truth(tmp_path, failed_at=[datetime(2026, 1, 20, tzinfo=UTC)])
    rows = true_rows(tmp_path)
    kinds = [rows.with_columns(p_failure=pl.lit(0.5), kind=pl.lit(kind)) for kind in ("base_rate", "gbm")]
    report = oracle_report(pl.concat(kinds), tmp_path)
    assert report.scores == oracle_report(rows, tmp_path).scores
    assert [(one.component, one.kind) for one in report.models] == [
        ("turbo", "base_rate"), ("turbo", "gbm"), (None, "base_rate"), (None, "gbm"),
    ]  # fmt: skip
    assert report.models[0].pr_auc == pytest.approx(report.scores[0].base_rate)


def test_rows_of_another_fleet_are_refused(tmp_path) -> None:
    write_truth(tmp_path)
    others = true_rows(tmp_path).with_columns(vehicle_ref=pl.lit("X-1"))
    with pytest.raises(DataError, match="expected rows of the fleet"):
        oracle_report(others, tmp_path)


def test_on_a_simulated_fleet_the_figures_are_scikit_learns_and_far_above_the_base_rate(tmp_path) -> None:
    simulate(FleetConfig(n_vehicles=14, n_days=90, seed=3), tmp_path / "fleet", dbc=read_settings({}).dbc_files)
    rows = true_rows(tmp_path / "fleet")
    both = rows.join(oracle_p(tmp_path / "fleet"), on=["vehicle_ref", "component", "as_of"])
    assert both.height == rows.height
    both = both.filter(pl.col("state").is_in(["positive", "negative"]))
    together = oracle_report(rows, tmp_path / "fleet").scores[-1]
    positive = both["state"] == "positive"
    assert together.pr_auc == pytest.approx(average_precision_score(positive, both["p_failure"]))
    assert together.roc_auc == pytest.approx(roc_auc_score(positive, both["p_failure"]))
    assert together.pr_auc > 3 * together.base_rate
