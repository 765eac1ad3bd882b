"""What to do about a component that is likely to fail, from a table the user edits.

What belongs here: reading `config/actions.toml`. The texts are the user's; nothing is made up here.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from pm.errors import ConfigError

DEFAULT = "default"


@dataclass(frozen=True)
class Action:
    """What to do about one component."""

    title: str
    """The component in the user's words."""
    action: str
    """What the workshop should do."""


@dataclass(frozen=True)
class ActionTable:
    """Recommended actions by component, with one for components the table does not name."""

    default: Action
    by_component: Mapping[str, Action]

    def of(self, component: str) -> Action:
        """The action of `component`; an unnamed component keeps its own name as title."""
        found = self.by_component.get(component)
        return found or Action(component.replace("_", " ").capitalize(), self.default.action)


def load_actions(path: Path) -> ActionTable:
    """Read the table of recommended actions.

    Raises:
        ConfigError: the file cannot be read, has no `[default]`, or an entry is not of two texts.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as reason:
        raise ConfigError(f"actions {path}: expected readable TOML, but got: {reason}") from None
    if DEFAULT not in content:
        raise ConfigError(f"actions {path}: expected a [{DEFAULT}] entry, but got {sorted(content)}")
    actions = {component: _action(path, component, entry) for component, entry in content.items()}
    return ActionTable(actions.pop(DEFAULT), actions)


def _action(path: Path, component: str, entry: Any) -> Action:
    expected = {field.name for field in fields(Action)}
    if not isinstance(entry, dict) or set(entry) != expected:
        got = sorted(entry) if isinstance(entry, dict) else entry
        raise ConfigError(f"actions {path}: [{component}] expected the keys {sorted(expected)}, but got {got}")
    for key, text in entry.items():
        if not isinstance(text, str) or not text.strip():
            raise ConfigError(f"actions {path}: [{component}] {key}: expected a text, but got {text!r}")
    return Action(**entry)
