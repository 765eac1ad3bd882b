"""One table of a TOML file, taken key by key.

What belongs here: types of values, and saying which file, section and key does not fit. Which keys there are
is said by `pm.pipelines.imports.mapping_file`.
"""

from collections.abc import Iterable
from typing import Any, TypeVar

from pm.errors import ConfigError

T = TypeVar("T")


class Section:
    """One table of the file: keys are taken one by one, and none may be left."""

    def __init__(self, where: str, given: Any, allowed: Iterable[str]) -> None:
        self.where = where
        if not isinstance(given, dict):
            raise ConfigError(f"{where}: expected a table of keys, but got {given!r}")
        unknown = sorted(set(given) - set(allowed))
        if unknown:
            raise ConfigError(f"{where}: expected keys of {sorted(allowed)}, but got {unknown}")
        self._given = given

    def __contains__(self, key: str) -> bool:
        return key in self._given

    def raw(self, key: str) -> Any:
        """The value as TOML has it; None: no such key."""
        return self._given.get(key)

    def take(self, key: str, kind: type[T] | tuple[type, ...], default: T, expected: str) -> T:
        """The value of a key, or `default`; a value that is not of `kind` is an error."""
        value = self._given.get(key, default)
        is_bool = isinstance(value, bool) and kind is not bool
        if key in self._given and (is_bool or not isinstance(value, kind)):
            raise self.error(key, expected, value)
        return value  # type: ignore[no-any-return]

    def text(self, key: str, default: str = "") -> str:
        """A text."""
        return self.take(key, str, default, "a text")

    def number(self, key: str, default: float) -> float:
        """A number."""
        return float(self.take(key, (int, float), default, "a number"))

    def limit(self, key: str) -> float | None:
        """A number that may be absent."""
        return self.number(key, 0.0) if key in self else None

    def one_of(self, key: str, allowed: Iterable[str], default: str) -> str:
        """One of some texts."""
        found = self.text(key, default)
        if key in self and found not in allowed:
            raise self.error(key, f"one of {sorted(allowed)}", found)
        return found

    def error(self, key: str, expected: str, got: object) -> ConfigError:
        """What is wrong with a key, with the file and section it is in."""
        return ConfigError(f"{self.where} {key}: expected {expected}, but got {got!r}")
