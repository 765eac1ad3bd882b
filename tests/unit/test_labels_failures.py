"""What work order lines mean under the shipped rules, and rule files that cannot be used."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from pm.errors import ConfigError, DataError
from pm.labels.failures import classify, load_rules, require_classified
from pm.simulate.components import COMPONENTS
from pm.simulate.wording import FAILURE_TEXTS, NO_TROUBLE_TEXTS, OTHER_TEXTS, PLANNED_TEXTS, SERVICE_TEXTS
from pm.tables import COMPONENTS as COMPONENT_NAMES
from pm.tables import WORK_ORDER

RULES_FILE = Path(__file__).resolve().parents[2] / "config" / "failure_rules.toml"
DAY_0 = datetime(2025, 3, 1, tzinfo=UTC)
RULES = load_rules(RULES_FILE)


def order(description="alternator replaced", **given):
    row = {
        "source_system": "shop", "work_order_id": "W1", "line_no": 1, "known_at": DAY_0 + timedelta(days=5),
        "vehicle_id": 7, "opened_at": DAY_0, "completed_at": DAY_0 + timedelta(days=1), "planned": False,
        "description": description, "withdrawn": False,
    }  # fmt: skip
    return {**row, **given}


def classified(*rows, rules=RULES):
    return classify(WORK_ORDER.frame(list(rows)), rules)


def meaning(description, **given):
    return classified(order(description, **given)).select("component", "kind").row(0)


def test_shipped_rules_know_the_declared_components():
    assert RULES.components == tuple(sorted(COMPONENT_NAMES))


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        ("ALTERNATOR NOT CHARGING, REPLACED", ("charging_starting", "failure")),
        ("charge air cooler cracked, replaced", ("other", "failure")),
        ("a/c compressor clutch replaced", ("other", "failure")),
        ("crankcase breather cleaned", ("other", "failure")),
        ("coolant leak, no trouble found", ("cooling", "no_trouble_found")),
        ("air dryer checked, cannot duplicate", ("brakes_air", "no_trouble_found")),
        ("misc repair", ("other", "failure")),
    ],
)
def test_unplanned_line(description, expected):
    assert meaning(description) == expected


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        ("coolant pump renewed by interval", ("cooling", "planned")),
        ("coolant level checked, topped up", ("cooling", "other")),
        ("headlamp bulb replaced", ("other", "planned")),
    ],
)
def test_planned_line_censors_only_if_it_renews_the_component(description, expected):
    assert meaning(description, planned=True) == expected


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        ("recall 24-117: water pump replaced", ("cooling", "campaign")),
        ("alternator exchanged under warranty campaign", ("charging_starting", "campaign")),
        ("recall 24-117: water pump inspected, ok", ("cooling", "other")),
        ("recall: coolant leak, no trouble found", ("cooling", "no_trouble_found")),
        ("water pump replaced under warranty", ("cooling", "failure")),
    ],
)
@pytest.mark.parametrize("planned", [True, None])
def test_warranty_campaigns_are_told_from_breakdowns_and_planned_work(description, expected, planned):
    if planned and expected[1] == "failure":
        expected = (expected[0], "planned")
    assert meaning(description, planned=planned) == expected


def test_line_that_does_not_say_whether_it_was_planned_is_a_failure():
    assert meaning("alternator replaced", planned=None) == ("charging_starting", "failure")


def test_simulated_workshops_are_understood():
    component_of = {mode.name: component.name for component in COMPONENTS for mode in component.modes}
    for mode, texts in FAILURE_TEXTS.items():
        for text in texts:
            assert meaning(text) == (component_of[mode], "failure"), text
    for component, texts in PLANNED_TEXTS.items():
        for text in texts:
            assert meaning(text.format(km=412_000.0), planned=True) == (component, "planned"), text
    for component, texts in NO_TROUBLE_TEXTS.items():
        for text in texts:
            assert meaning(text) == (component, "no_trouble_found"), text
    for text in SERVICE_TEXTS:
        assert meaning(text, planned=True) == ("other", "other"), text
    for text in OTHER_TEXTS:
        assert meaning(text) == ("other", "failure"), text


def test_instants_come_from_the_first_column_the_line_has():
    stopped, back = DAY_0 - timedelta(hours=3), DAY_0 + timedelta(days=2)
    full = classified(
        order(reported_at=DAY_0 - timedelta(days=1), out_of_service_at=stopped, returned_to_service_at=back)
    )
    assert full.select("failed_at", "restored_at").row(0) == (stopped, back)
    bare = classified(order())
    assert bare.select("failed_at", "restored_at").row(0) == (DAY_0, DAY_0 + timedelta(days=1))


def test_open_order_has_no_restored_at_and_a_contradictory_one_ends_where_it_began():
    assert classified(order(completed_at=None))["restored_at"].to_list() == [None]
    before = DAY_0 - timedelta(days=1)
    assert classified(order(completed_at=before))["restored_at"].to_list() == [DAY_0]


def test_every_version_keeps_its_own_row_and_a_withdrawn_one_says_so():
    later = DAY_0 + timedelta(days=9)
    rows = classified(order("see attached"), order("alternator replaced", known_at=later),
                      order(withdrawn=True, known_at=later + timedelta(days=1)))  # fmt: skip
    assert rows.select("component", "kind").rows() == [
        ("other", "failure"), ("charging_starting", "failure"), ("charging_starting", "withdrawn"),
    ]  # fmt: skip
    assert rows["rule"].to_list() == [
        "none / unplanned repair", "charging and starting / unplanned repair", "charging and starting / withdrawn",
    ]  # fmt: skip


def written(tmp_path, text):
    path = tmp_path / "rules.toml"
    path.write_text(text)
    return path


def test_codes_and_first_match_decide(tmp_path):
    path = written(tmp_path, """
        [[component]]
        name = "by code"
        component = "fuel"
        vmrs_prefix = ["044-"]
        [[component]]
        name = "by text"
        component = "cooling"
        text = "pump"
        [[kind]]
        name = "breakdown"
        kind = "failure"
        reason_for_repair = ["01", "10"]
        component = ["fuel"]
    """)  # fmt: skip
    rules = load_rules(path)
    assert rules.components == ("cooling", "fuel")
    rows = classified(
        order("pump", vmrs="044-001-002", reason_for_repair="10"),
        order("pump", vmrs="042-001-002", reason_for_repair="10", line_no=2),
        order("pump", line_no=3),
        rules=rules,
    )
    assert rows.select("component", "kind").rows() == [("fuel", "failure"), ("cooling", "other"), ("cooling", "other")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[component]\n", "readable TOML"),
        ("[[rule]]\nname='x'\n", "expected component, kind and instants"),
        ("[[kind]]\nname='x'\nkind='failure'\n", "at least one"),
        ("[[component]]\nname='x'\ncomponent='c'\ntext='(a'\n", "expected a regular expression"),
        (f"[[component]]\nname='x'\ncomponent='c'\ntext='{'a' * 1001}'\n", "1 to 1000 characters"),
        ("[[component]]\nname='x'\ncomponent='c'\nplanned='yes'\n", "planned = 'yes'"),
        ("[[component]]\nname='x'\n", "expected text under component"),
        ("[[component]]\nname='x'\ncomponent='c'\ncomponents=['c']\n", "got components"),
        ("[[component]]\nname='x'\ncomponent='c'\n[[kind]]\nname='k'\nkind='withdrawn'\n", "expected kind one of"),
        ("[[component]]\nname='x'\ncomponent='c'\n[instants]\nfailed_at=['now']\n", "failed_at of"),
        ("[[component]]\nname='x'\ncomponent='c'\n[instants]\nfailed=['opened_at']\n", "expected [instants] with"),
        ("[[component]]\nname='x'\ncomponent='C 1'\n", "small letters, digits and _"),
        ("[[component]]\nname='x'\ncomponent='c'\n[[component]]\nname='y'\ncomponent='d'\n", "after 'x', which"),
        ("[[component]]\nname='x'\ncomponent='c'\ntext='a'\n[[component]]\nname='x'\ncomponent='d'\n", "'x' twice"),
        (
            "[[component]]\nname='x'\ncomponent='c'\n[[kind]]\nname='k'\nkind='failure'\ncomponent=['d']\n",
            "expected component of ['c', 'other'], but got ['d']",
        ),
    ],
)
def test_unusable_file_is_refused_by_name(tmp_path, text, message):
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as refusal:
        load_rules(path)
    assert message in str(refusal.value)
    assert str(path) in str(refusal.value)


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="expected readable TOML"):
        load_rules(tmp_path / "absent.toml")


def test_failures_of_other_rules_are_refused():
    failures = classified(order("alternator replaced"))
    assert require_classified(failures, RULES) is failures
    other = failures.with_columns(component=pl.lit("comp1"))
    with pytest.raises(DataError, match=r"but got \['comp1'\] of other rules: run `pm labels` first"):
        require_classified(other, RULES)
