"""The user's table of recommended actions."""

from pathlib import Path

import pytest

from pm.errors import ConfigError
from pm.scoring.actions import load_actions
from pm.tables import COMPONENTS

SHIPPED = Path(__file__).resolve().parents[2] / "config" / "actions.toml"


def test_the_shipped_table_has_an_action_for_every_shipped_component() -> None:
    table = load_actions(SHIPPED)
    assert set(COMPONENTS) <= set(table.by_component)


def test_a_component_not_named_gets_the_default_and_its_own_title(tmp_path: Path) -> None:
    path = tmp_path / "actions.toml"
    path.write_text('[default]\ntitle = "Other"\naction = "Look at it."\n', encoding="utf-8")
    assert load_actions(path).of("fuel_supply").title == "Fuel supply"
    assert load_actions(path).of("fuel_supply").action == "Look at it."


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("[default", "readable TOML"),
        ('[cooling]\ntitle = "C"\naction = "A"\n', r"expected a \[default\] entry"),
        ('[default]\ntitle = "C"\n', r"\[default\] expected the keys"),
        ('[default]\ntitle = "C"\naction = "A"\nurgent = true\n', "urgent"),
        ('[default]\ntitle = "C"\naction = 3\n', "action: expected a text, but got 3"),
        ('[default]\ntitle = "C"\naction = " "\n', "action: expected a text"),
        ('default = "C"\n', r"\[default\] expected the keys"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_by_name(tmp_path: Path, content: str, named: str) -> None:
    path = tmp_path / "actions.toml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=named) as caught:
        load_actions(path)
    assert str(path) in str(caught.value)


def test_a_missing_table_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no-such"):
        load_actions(tmp_path / "no-such.toml")
