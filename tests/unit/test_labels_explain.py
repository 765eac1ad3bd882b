"""Why a line was read as it was, for every version of it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pm.labels.explain import explain
from pm.labels.failures import load_rules
from pm.tables import WORK_ORDER

DAY_0 = datetime(2025, 3, 1, tzinfo=UTC)
RULES = """
[[component]]
name = "pumps of other systems"
component = "other"
text = "fuel pump"
[[component]]
name = "cooling words"
component = "cooling"
text = "pump|coolant"
[[component]]
name = "cooling code"
component = "cooling"
vmrs_prefix = ["042-"]
[[kind]]
name = "no trouble found"
kind = "no_trouble_found"
text = "no trouble found"
[[kind]]
name = "breakdown"
kind = "failure"
"""


@pytest.fixture
def rules(tmp_path: Path):
    path = tmp_path / "rules.toml"
    path.write_text(RULES)
    return load_rules(path)


def version(day, description, **given):
    row = {
        "source_system": "shop", "work_order_id": "W1", "line_no": 1, "known_at": DAY_0 + timedelta(days=day),
        "vehicle_id": 7, "opened_at": DAY_0, "description": description, "withdrawn": False,
    }  # fmt: skip
    return {**row, **given}


def test_each_version_names_the_entry_that_decided_and_how_long_it_held(rules):
    first, second, third = explain(
        WORK_ORDER.frame([
            version(1, "misc"),
            version(5, "Water PUMP leaks", vmrs="042-001", reported_at=DAY_0 - timedelta(days=1)),
            version(9, "water pump: no trouble found", withdrawn=True),
        ]),
        rules,
    )  # fmt: skip
    assert (first.component.outcome, first.component.rule, first.component.matched_text) == ("other", "none", None)
    assert (first.kind.outcome, first.kind.rule, first.read_as) == ("failure", "breakdown", "failure")
    assert (first.known_at, first.held_until) == (DAY_0 + timedelta(days=1), DAY_0 + timedelta(days=5))
    assert (second.component.rule, second.component.matched_text) == ("cooling words", "PUMP")
    assert second.component.also_matched == ("cooling code",)
    assert (second.failed_at, second.failed_at_from) == (DAY_0 - timedelta(days=1), "reported_at")
    assert (third.kind.rule, third.kind.also_matched) == ("no trouble found", ("breakdown",))
    assert (third.read_as, third.held_until) == ("withdrawn", None)


def test_the_entry_higher_up_wins_and_codes_have_no_words(rules):
    (pump,) = explain(WORK_ORDER.frame([version(1, "fuel pump replaced")]), rules)
    assert (pump.component.rule, pump.component.also_matched) == ("pumps of other systems", ("cooling words",))
    (code,) = explain(WORK_ORDER.frame([version(1, "see sheet", vmrs="042-003-001")]), rules)
    assert (code.component.rule, code.component.matched_text) == ("cooling code", None)


def test_two_lines_do_not_end_each_other(rules):
    lines = explain(WORK_ORDER.frame([version(1, "pump"), version(2, "pump", line_no=2)]), rules)
    assert [line.held_until for line in lines] == [None, None]
