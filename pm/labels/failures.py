"""What a work order line means, by rules in a file that the user edits.

What belongs here: reading `failure_rules.toml` and applying it, line by line and version by version;
every version of a line keeps its own row, so history can be replayed. What a failure does to a label
is `pm.labels.horizon`. The file's format is written at its head.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl

from pm.errors import ConfigError, DataError
from pm.tables import FAILURE, FAILURE_KINDS, WORK_ORDER

OTHER: Final = "other"
WITHDRAWN: Final = "withdrawn"
_PATTERN_CHARACTERS: Final = 1000
_CLASS: Final = re.compile("[a-z][a-z0-9_]{0,62}")
_TEXT_CHARACTERS: Final = 4000
"""A description is searched this far; shops paste whole reports."""
_LISTS: Final = ("vmrs_prefix", "reason_for_repair", "work_accomplished", "failure_code")
_FLAGS: Final = ("planned", "roadside")
_INSTANTS: Final = {
    "failed_at": ("out_of_service_at", "reported_at", "opened_at", "completed_at"),
    "restored_at": ("returned_to_service_at", "completed_at"),
}


@dataclass(frozen=True)
class Rule:
    """One entry of a list: when `condition` holds, the line gets `outcome`."""

    name: str
    outcome: str
    condition: pl.Expr
    text: str | None = None
    """The pattern looked for in the description, if any."""


@dataclass(frozen=True)
class FailureRules:
    """The whole file, compiled."""

    component_rules: tuple[Rule, ...]
    kind_rules: tuple[Rule, ...]
    failed_at: tuple[str, ...]
    restored_at: tuple[str, ...]

    @property
    def components(self) -> tuple[str, ...]:
        """Component classes that labels are made for, sorted; "other" is none."""
        return tuple(sorted({rule.outcome for rule in self.component_rules} - {OTHER}))


def load_rules(path: Path) -> FailureRules:
    """Read and compile the rules.

    Regular expressions are those of Rust's regex crate, whose matching time is linear in the text;
    patterns are capped at 1,000 characters.

    Raises:
        ConfigError: the file cannot be read, or an entry cannot be used; names file, entry and key.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as reason:
        raise ConfigError(f"failure rules {path}: expected readable TOML, but got: {reason}") from None
    unknown = sorted(set(content) - {"component", "kind", "instants"})
    if unknown:
        raise ConfigError(f"failure rules {path}: expected component, kind and instants, but got {unknown}")
    classes = _classes(content)
    rules = FailureRules(
        _rules(path, content, "component", classes),
        _rules(path, content, "kind", classes),
        _instants(path, content, "failed_at"),
        _instants(path, content, "restored_at"),
    )
    if not rules.components:
        raise ConfigError(f"failure rules {path}: expected at least one [[component]] besides other, but got none")
    return rules


def classify(work_orders: pl.DataFrame, rules: FailureRules) -> pl.DataFrame:
    """`FAILURE`: one row a version of a work order line, in key order.

    A restored_at before failed_at is taken as failed_at (the shop's clock contradicts itself; the
    visit still began). An order not completed has no restored_at.

    Raises:
        DataError: the frame does not fit `WORK_ORDER`.
    """
    orders = WORK_ORDER.check(work_orders).with_columns(pl.col("description").str.slice(0, _TEXT_CHARACTERS))
    found = orders.with_columns(
        component=_first_match(rules.component_rules, [rule.outcome for rule in rules.component_rules], OTHER),
        component_rule=_first_match(rules.component_rules, [rule.name for rule in rules.component_rules], "none"),
        failed_at=pl.coalesce(*rules.failed_at, "opened_at"),
    ).with_columns(
        kind=_first_match(rules.kind_rules, [rule.outcome for rule in rules.kind_rules], OTHER),
        kind_rule=_first_match(rules.kind_rules, [rule.name for rule in rules.kind_rules], "none"),
        restored_at=pl.max_horizontal("failed_at", pl.coalesce(*rules.restored_at)),
    )
    made = found.with_columns(
        kind=pl.when("withdrawn").then(pl.lit(WITHDRAWN)).otherwise("kind"),
        restored_at=pl.when(pl.coalesce(*rules.restored_at).is_not_null()).then("restored_at"),
        rule=pl.format(
            "{} / {}", "component_rule", pl.when("withdrawn").then(pl.lit(WITHDRAWN)).otherwise("kind_rule")
        ),
    )
    return FAILURE.check(made.sort(FAILURE.key))


def require_classified(failures: pl.DataFrame, rules: FailureRules) -> pl.DataFrame:
    """`failures` (`FAILURE`) unchanged, where they speak of the rules' components only.

    Raises:
        DataError: they name another component: they were made by other rules, and labels of these rules'
            components would all be negative.
    """
    unknown = sorted(set(failures["component"].unique()) - {*rules.components, OTHER})
    if unknown:
        raise DataError(
            f"stored failures: expected components {list(rules.components)}, but got {unknown} of other rules: "
            "run `pm labels` first"
        )
    return failures


def _first_match(rules: Sequence[Rule], outcomes: Iterable[str], otherwise: str) -> pl.Expr:
    return pl.coalesce(
        *(pl.when(rule.condition).then(pl.lit(given)) for rule, given in zip(rules, outcomes, strict=True)),
        pl.lit(otherwise),
    )


def _classes(content: Mapping[str, Any]) -> frozenset[str]:
    """The component classes that [[component]] entries give."""
    entries = content.get("component", [])
    given = (entry.get("component") for entry in entries if isinstance(entry, dict)) if entries else ()
    return frozenset(name for name in given if isinstance(name, str)) | {OTHER}


def _rules(path: Path, content: Mapping[str, Any], section: str, classes: frozenset[str]) -> tuple[Rule, ...]:
    entries = content.get(section, [])
    if not isinstance(entries, list):
        raise ConfigError(f"failure rules {path}: expected [[{section}]] entries, but got {entries!r}")
    made: list[Rule] = []
    for number, entry in enumerate(entries, 1):
        where = f"failure rules {path}, [[{section}]] {number}"
        if number > 1 and not set(entries[number - 2]) - {"name", section}:
            raise ConfigError(
                f"{where}: expected an entry that can be reached, but got one after {made[-1].name!r}, which matches "
                "every line"
            )
        rule = _rule(where, entry, section, classes)
        if rule.name in {other.name for other in made}:
            raise ConfigError(f"{where}: expected a name of its own, but got {rule.name!r} twice")
        made.append(rule)
    return tuple(made)


def _rule(where: str, entry: Any, section: str, classes: frozenset[str]) -> Rule:
    if not isinstance(entry, dict):
        raise ConfigError(f"{where}: expected a table, but got {entry!r}")
    given = dict(entry)
    name = _text(where, given, "name")
    outcome = _text(where, given, section)
    if section == "kind" and outcome not in set(FAILURE_KINDS) - {WITHDRAWN}:
        raise ConfigError(f"{where}: expected kind one of {FAILURE_KINDS[:-1]}, but got {outcome!r}")
    if section == "component" and not _CLASS.fullmatch(outcome):
        raise ConfigError(f"{where}: expected component of small letters, digits and _, but got {outcome!r}")
    _require_classes(where, given, classes)
    lists = (*_LISTS, "component") if section == "kind" else _LISTS
    conditions = [_condition(where, key, value, lists) for key, value in given.items()]
    text = _pattern(where, given["text"]) if "text" in given else None
    return Rule(name, outcome, pl.all_horizontal(pl.lit(value=True), *conditions), text)


def _require_classes(where: str, given: Mapping[str, Any], classes: frozenset[str]) -> None:
    asked = given.get("component")
    unknown = sorted(set(map(str, asked)) - classes) if isinstance(asked, list) else []
    if unknown:
        raise ConfigError(f"{where}: expected component of {sorted(classes)}, but got {unknown}")


def _text(where: str, given: dict[str, Any], key: str) -> str:
    value = given.pop(key, None)
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{where}: expected text under {key}, but got {value!r}")
    return value


def _condition(where: str, key: str, value: Any, lists: Sequence[str]) -> pl.Expr:
    if key == "text":
        return pl.col("description").str.contains(_pattern(where, value))
    if key in _FLAGS and isinstance(value, bool):
        return (pl.col(key) == value).fill_null(value=False)
    if key in lists and isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        if key == "vmrs_prefix":
            return pl.any_horizontal(pl.col("vmrs").str.starts_with(item) for item in value).fill_null(value=False)
        return pl.col(key).is_in(value).fill_null(value=False)
    allowed = ("text", *_FLAGS, *lists)
    raise ConfigError(
        f"{where}: expected conditions {allowed}, flags true or false, lists of text, but got {key} = {value!r}"
    )


def _pattern(where: str, value: Any) -> str:
    if not isinstance(value, str) or not value or len(value) > _PATTERN_CHARACTERS:
        raise ConfigError(
            f"{where}: expected text of 1 to {_PATTERN_CHARACTERS} characters, but got {str(value)[:40]!r}"
        )
    pattern = f"(?i){value}"
    try:
        pl.Series([""]).str.contains(pattern)
    except pl.exceptions.ComputeError as reason:
        raise ConfigError(f"{where}: expected a regular expression, but got {value!r}: {reason}") from None
    return pattern


def _instants(path: Path, content: Mapping[str, Any], key: str) -> tuple[str, ...]:
    section = content.get("instants", {})
    if not isinstance(section, dict) or set(section) - set(_INSTANTS):
        raise ConfigError(f"failure rules {path}: expected [instants] with {sorted(_INSTANTS)}, but got {section!r}")
    given = section.get(key, list(_INSTANTS[key]))
    if not isinstance(given, list) or not given or any(name not in _INSTANTS[key] for name in given):
        raise ConfigError(f"failure rules {path}: expected [instants] {key} of {_INSTANTS[key]}, but got {given!r}")
    return tuple(given)
