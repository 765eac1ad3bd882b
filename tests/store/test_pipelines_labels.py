"""Work orders to labels in the database: history of revisions, bookings, and why an order was read so."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from pm.errors import DataError
from pm.labels.failures import load_rules
from pm.pipelines.explain_order import explain_order
from pm.pipelines.labels import classify_work_orders, update_labels
from pm.pipelines.reporting_lag import reporting_lag
from pm.policy import Labels, Policy
from pm.store import labels, vehicles, work_orders
from pm.tables import WORK_ORDER

RULES = load_rules(Path(__file__).resolve().parents[2] / "config" / "failure_rules.toml")
T0 = datetime(2026, 3, 2, tzinfo=UTC)  # a Monday
POLICY = Policy(labels=Labels(lag_d=5.0, booking_days="weekdays"))


@pytest.fixture
def truck(conn) -> int:
    return vehicles.add_vehicle(conn, fleet="north", vehicle_ref="T1", known_at=T0 - timedelta(days=90))


def version(truck, known_d, description, **changed):
    row = {"source_system": "shop", "work_order_id": "W1", "line_no": 1, "vehicle_id": truck, "planned": False}
    row |= {"known_at": T0 + timedelta(days=known_d), "opened_at": T0 + timedelta(days=3), "withdrawn": False}
    row |= {"completed_at": T0 + timedelta(days=4), "description": description}
    return WORK_ORDER.frame([dict.fromkeys(WORK_ORDER.column_names) | row | changed])


def cooling(conn, known_d):
    found = labels.fetch_labels(conn, known_by=T0 + timedelta(days=known_d), component="cooling")
    return found.select("state").to_series().to_list()


def test_a_label_follows_its_order_and_what_was_said_before_stays(conn, truck):
    """Miscoded, corrected, withdrawn: each look appends, and the state of each day can still be read."""
    versions = (
        version(truck, 6, "misc repair"), version(truck, 10, "water pump replaced"),
        version(truck, 40, "water pump replaced", withdrawn=True),
    )  # fmt: skip
    work_orders.insert_versions(conn, pl.concat(versions))
    classify_work_orders(conn, RULES)
    for known_d in (8, 12, 41, 41):
        report = update_labels(conn, [T0], RULES, POLICY, known_at=T0 + timedelta(days=known_d))
    assert report.n_changed == 0
    assert [cooling(conn, known_d) for known_d in (8, 12, 39, 41)] == [
        ["pending"], ["positive"], ["positive"], ["negative"],
    ]  # fmt: skip
    assert labels.fetch_history(conn, component="cooling")["state"].to_list() == ["pending", "positive", "negative"]


def test_a_label_due_on_a_weekend_waits_for_monday(conn, truck):
    """Horizon and lag of T0 + 1 end with Saturday the 21st; Monday's bookings are over on Tuesday."""
    as_of = T0 + timedelta(days=1)
    for known_d, state in ((20, "pending"), (21.9, "pending"), (22, "negative")):
        update_labels(conn, [as_of], RULES, POLICY, known_at=T0 + timedelta(days=known_d))
        assert cooling(conn, known_d) == [state], known_d
    holiday = replace(POLICY, labels=replace(POLICY.labels, holidays=(date(2026, 3, 23),)))
    again = update_labels(conn, [as_of + timedelta(days=1)], RULES, holiday, known_at=T0 + timedelta(days=22))
    assert set(again.n_by_state) == {"pending"}
    assert again.recorded == "on any day but Saturday, Sunday (policy), with 1 days closed by policy"


def test_an_order_is_explained_version_by_version(conn, truck):
    work_orders.insert_versions(conn, pl.concat([version(truck, 6, "misc"), version(truck, 10, "coolant leak")]))
    found = explain_order(conn, RULES, "W1")
    assert found.vehicle_refs == ("T1",)
    assert [(one.component.outcome, one.component.rule) for one in found.versions] == [
        ("other", "none"), ("cooling", "cooling system"),
    ]  # fmt: skip
    assert found.versions[0].held_until == found.versions[1].known_at


def test_an_order_that_cannot_be_named_is_refused(conn, truck):
    with pytest.raises(DataError, match="work order W9: expected a stored order, but got none"):
        explain_order(conn, RULES, "W9")
    both = pl.concat([version(truck, 6, "misc"), version(truck, 6, "misc", source_system="other shop")])
    work_orders.insert_versions(conn, both)
    with pytest.raises(DataError, match="expected one shop system, but got"):
        explain_order(conn, RULES, "W1")
    assert len(explain_order(conn, RULES, "W1", source_system="shop").versions) == 1


def test_the_lag_is_that_of_what_was_known(conn, truck):
    work_orders.insert_versions(conn, version(truck, 6, "coolant leak"))
    classify_work_orders(conn, RULES)
    plain = Policy()
    assert reporting_lag(conn, plain, known_at=T0 + timedelta(days=5)).estimate.n_failures == 0
    later = reporting_lag(conn, plain, known_at=T0 + timedelta(days=7))
    assert (later.estimate.n_failures, later.values_d) == (1, (3.0,))


def test_a_campaign_is_stored(conn, truck):
    work_orders.insert_versions(conn, version(truck, 6, "recall 12: water pump replaced"))
    assert classify_work_orders(conn, RULES).n_by_kind == {"campaign": 1}
    update_labels(conn, [T0], RULES, POLICY, known_at=T0 + timedelta(days=7))
    assert cooling(conn, 7) == ["censored"]
