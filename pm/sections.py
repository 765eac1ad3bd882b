"""A TOML file into frozen dataclasses, strictly.

What belongs here: what files of decisions share: a section is a dataclass, a key a field of it with its
default. What the keys mean is said by the modules that declare them (`pm.policy`, `pm.upkeep`).
"""

import tomllib
from dataclasses import fields
from datetime import date
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

from pm.errors import ConfigError

T = TypeVar("T")


def load_sections(path: Path, whole: type[T], what: str) -> T:
    """Read the file into `whole`, a dataclass of section dataclasses; what is not there keeps its default.

    Args:
        what: the kind of file, for messages.

    Raises:
        ConfigError: the file cannot be read, names an unknown section or key, or has a value of
            another type than the default.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as reason:
        raise ConfigError(f"{what} {path}: expected readable TOML, but got: {reason}") from None
    defaults = whole()
    kinds = {field.name: type(getattr(defaults, field.name)) for field in fields(defaults)}  # type: ignore[arg-type]
    unknown = sorted(set(content) - set(kinds))
    if unknown:
        raise ConfigError(f"{what} {path}: expected sections {sorted(kinds)}, but got {unknown}")
    return whole(
        **{name: _section(f"{what} {path}", name, kind, content.get(name, {})) for name, kind in kinds.items()}
    )


def _section(where: str, name: str, kind: type, given: Any) -> Any:
    if not isinstance(given, dict):
        raise ConfigError(f"{where}: expected a section [{name}], but got {given!r}")
    allowed = {field.name: type(getattr(kind(), field.name)) for field in fields(kind)}
    hints = get_type_hints(kind)
    for key, value in given.items():
        if key not in allowed:
            raise ConfigError(f"{where}: expected keys {sorted(allowed)} in [{name}], but got {key}")
        if not (_fits_list(value, hints[key]) if allowed[key] is tuple else _fits(value, allowed[key])):
            raise ConfigError(f"{where}: [{name}] {key}: expected {allowed[key].__name__}, but got {value!r}")
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in given.items()})


def _fits(value: Any, kind: type) -> bool:
    if kind in (float, type(None)):
        return type(value) in (int, float) and value >= 0
    return type(value) is kind


def _fits_list(value: Any, hint: Any) -> bool:
    """Whether `value` is a list of what the field's `tuple[item, ...]` names; numbers are above 0."""
    item_type = next(iter(get_args(hint)), int)
    allowed = (int, float) if item_type is float else (item_type,)
    if not isinstance(value, list) or any(type(item) not in allowed for item in value):
        return False
    return item_type in (date, str) or all(item > 0 for item in value)
