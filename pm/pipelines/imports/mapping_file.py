"""A mapping from its TOML file, strictly: every key is known and fits, or the file is refused.

What belongs here: sections, keys and their types. What can be filled is `pm.pipelines.imports.mapping`; the format is
described for people in `docs/importing.md`.
"""

import hashlib
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import polars as pl

from pm.errors import ConfigError
from pm.pipelines.imports.mapping import (
    CELLS,
    CLOCK_FORMATS,
    ENCODINGS,
    FORMATS,
    KNOWN_AT,
    SECTIONS,
    TIME,
    VEHICLE_CELLS,
    Cell,
    FileMapping,
    Kind,
    Knowledge,
    SignalChoice,
    Source,
    Target,
    Value,
    VehicleChoice,
)
from pm.pipelines.imports.mapping_section import Section
from pm.pipelines.imports.mapping_spans import NO_SPAN, Span, read_span
from pm.pipelines.imports.mapping_units import conversion

SIZE_LIMIT_BYTES: Final = 1 << 20
_MOST_SIGNALS: Final = 1000
_LONGEST_NAME: Final = 63
_COMMON: Final = ("column", "constant", "missing")
_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "text": (*_COMMON, "columns", "separator", "prefix", "map", "default"),
    "number": (*_COMMON, "unit", "factor", "offset", "minimum", "maximum", "map", "default"),
    "whole": (*_COMMON, "factor", "offset", "map", "default"),
    "flag": (*_COMMON, "map", "default"),
    "instant": (*_COMMON, "format", "time_zone", "shift"),
}
_SIGNAL_KEYS: Final = ("stored_unit", "spn", "description", "double_precision")
_SIGNAL_CELL_KEYS: Final = tuple(key for key in _KEYS["number"] if key not in ("constant", "default"))
_CONSTANTS: Final[Mapping[str, type | tuple[type, ...]]] = {
    "text": str, "number": (int, float), "whole": int, "flag": bool, "instant": str,
}  # fmt: skip


def load_mapping(path: Path, kind: Kind) -> FileMapping:
    """Read the mapping of one kind of import.

    Raises:
        ConfigError: the file cannot be read or is no TOML, a section or key is unknown, missing or does not
            fit: named with file, section and key.
    """
    content = _read(path)
    try:
        given = tomllib.loads(content.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as reason:
        raise ConfigError(f"mapping {path}: expected TOML, but got: {reason}") from None
    sections = SECTIONS[kind]
    allowed = {"source", "vehicle", "known_at", "where", *sections}
    allowed |= {"signals"} if kind == "telemetry" else set()
    allowed |= {"time"} if kind in ("telemetry", "events") else set()
    whole = Section(f"mapping {path} for {kind}", given, allowed)
    return _Reader(path, kind, whole).mapping(hashlib.sha256(content).hexdigest())


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(SIZE_LIMIT_BYTES + 1)
    except OSError as reason:
        raise ConfigError(f"mapping {path}: expected a readable file, but got: {reason.strerror}") from None
    if len(content) > SIZE_LIMIT_BYTES:
        raise ConfigError(f"mapping {path}: expected at most {SIZE_LIMIT_BYTES} bytes, but got more")
    return content


class _Reader:
    """Makes the parts of one mapping; what the file says for all of them is known first."""

    def __init__(self, path: Path, kind: Kind, whole: Section) -> None:
        self.path, self.kind, self.whole = path, kind, whole
        source = self.section(
            "source", ("name", "format", "delimiter", "encoding", "decimal", "time_zone", "time_format")
        )
        self.source = _source(source)
        self.time_zone = _time_zone(source, "time_zone")
        self.time_format = source.text("time_format")

    def where(self, name: str) -> str:
        return f"mapping {self.path}, [{name}]"

    def section(self, name: str, allowed: Iterable[str]) -> Section:
        return Section(self.where(name), {} if name not in self.whole else self.whole.raw(name), allowed)

    def mapping(self, sha256: str) -> FileMapping:
        name = self._values_section()
        cells = self._cells(name)
        return FileMapping(
            self.kind,
            sha256,
            self.source,
            self._vehicle(),
            cells,
            self._time() if self.kind in ("telemetry", "events") else None,
            self._knowledge(),
            self._where(),
            self._signals() if self.kind == "telemetry" else (),
            name == "fault",
        )

    def _values_section(self) -> str:
        names = SECTIONS[self.kind]
        there = [name for name in names if name in self.whole]
        if self.kind == "events" and len(there) != 1:
            got = " and ".join(f"[{name}]" for name in there) or "neither"
            raise ConfigError(f"mapping {self.path}: expected either [event] or [fault], but got {got}")
        return there[0] if there else names[0]

    def _cells(self, name: str) -> dict[str, Cell]:
        section = self.section(name, {*CELLS[name], *((*VEHICLE_CELLS, "unknown") if name == "vehicle" else ())})
        cells = {}
        for key, target in CELLS[name].items():
            if key in section:
                cells[key] = self._cell(section, key, target)
            elif key == "source_system" and self.source.name:
                cells[key] = Cell(target, constant=self.source.name)
            elif key == "line_no":
                cells[key] = Cell(target, constant=1)
            elif target.default is not None:
                cells[key] = Cell(target, constant=target.default)
            elif target.required:
                raise ConfigError(
                    f"{self.where(name)}: expected {key}, but got {sorted(set(CELLS[name]) & set(cells))}"
                )
        return cells

    def _vehicle(self) -> VehicleChoice:
        more = CELLS["vehicle"] if self.kind == "vehicles" else ()
        section = self.section("vehicle", (*VEHICLE_CELLS, *more, "unknown"))
        found = {key: self._cell(section, key, target) for key, target in VEHICLE_CELLS.items() if key in section}
        if not {"vehicle_ref", "vin"} & set(found):
            raise ConfigError(f"{self.where('vehicle')}: expected vehicle_ref or vin, but got {sorted(found)}")
        if self.kind == "vehicles" and "vehicle_ref" not in found:
            raise ConfigError(f"{self.where('vehicle')}: expected vehicle_ref for vehicles, but got {sorted(found)}")
        adds = self.kind == "vehicles" or section.one_of("unknown", ("add", "refuse"), "refuse") == "add"
        if self.kind == "vehicles" and "unknown" in section:
            raise section.error("unknown", "no such key for vehicles: they are added", section.raw("unknown"))
        if adds and "fleet" not in found:
            raise ConfigError(f"{self.where('vehicle')}: expected fleet where vehicles are added, but got none")
        return VehicleChoice(adds_unknown=adds, **found)

    def _time(self) -> Cell:
        if "time" not in self.whole:
            raise ConfigError(f"mapping {self.path}: expected a section [time], but got none")
        return self._instant("time", TIME, ())

    def _instant(self, name: str, target: Target, more: tuple[str, ...]) -> Cell:
        section = self.section(name, ("column", "missing", "format", "time_zone", "shift", *more))
        if "column" not in section:
            raise ConfigError(f"{self.where(name)}: expected column, but got none")
        return self._cell_of(section, target)

    def _knowledge(self) -> Knowledge:
        if "known_at" not in self.whole:
            return Knowledge()
        section = self.section("known_at", ("column", "missing", "format", "time_zone", "shift", "after"))
        after = _span(section, "after") if "after" in section else None
        if after is not None and after.is_negative:
            raise section.error("after", "no negative span: nothing is known before it happened", section.raw("after"))
        if "column" not in section and after is None:
            raise ConfigError(f"{self.where('known_at')}: expected column or after, but got neither")
        cell = self._instant("known_at", KNOWN_AT, ("after",)) if "column" in section else None
        return Knowledge(cell, after)

    def _where(self) -> tuple[tuple[str, tuple[Value, ...]], ...]:
        given = self.whole.raw("where")
        if given is None:
            return ()
        if not isinstance(given, dict):
            raise ConfigError(f"mapping {self.path}: expected a section [where], but got {given!r}")
        found = []
        for column, value in given.items():
            values = value if isinstance(value, list) else [value]
            if not values or not all(isinstance(one, str | int | float) for one in values):
                raise ConfigError(
                    f"{self.where('where')} {column}: expected a value or a list of values, but got {value!r}"
                )
            found.append((column, tuple(values)))
        return tuple(found)

    def _signals(self) -> tuple[SignalChoice, ...]:
        given = self.whole.raw("signals")
        if not isinstance(given, dict) or not given:
            raise ConfigError(f"mapping {self.path}: expected sections [signals.MESSAGE], but got {given!r}")
        found = []
        for message, signals in given.items():
            where = self.where(f"signals.{message}")
            if not isinstance(signals, dict) or not signals:
                raise ConfigError(f"{where}: expected signals, but got {signals!r}")
            if "column" in signals:
                raise ConfigError(
                    f"{where}: expected a message with signals, but got a signal: name its message before it"
                )
            for signal, keys in signals.items():
                _require_name(where, message)
                _require_name(where, signal)
                found.append(
                    self._signal(
                        Section(f"{where} {signal}", _as_table(keys), (*_SIGNAL_CELL_KEYS, *_SIGNAL_KEYS)),
                        message,
                        signal,
                    )
                )
        if len(found) > _MOST_SIGNALS:
            raise ConfigError(f"mapping {self.path}: expected at most {_MOST_SIGNALS} signals, but got {len(found)}")
        return tuple(found)

    def _signal(self, section: Section, message: str, signal: str) -> SignalChoice:
        stored_unit = section.text("stored_unit")
        target = Target(f"{message}.{signal}", "number", unit=stored_unit)
        spn = section.take("spn", int, 0, "a suspect parameter number") if "spn" in section else None
        if spn is not None and not 0 < spn < 1 << 19:
            raise section.error("spn", "a suspect parameter number of 19 bits", spn)
        is_double = section.take("double_precision", bool, default=False, expected="true or false")
        cell = self._cell_of(section, target)
        return SignalChoice(message, signal, cell, stored_unit, spn, section.text("description"), is_double)

    def _cell(self, section: Section, key: str, target: Target) -> Cell:
        given = _as_table(section.raw(key))
        return self._cell_of(Section(f"{section.where} {key}", given, _KEYS[target.kind]), target)

    def _cell_of(self, section: Section, target: Target) -> Cell:
        columns, constant = _origin(section, target)
        unit = section.text("unit")
        if unit and target.unit:
            try:
                conversion(unit, target.unit)
            except ConfigError as reason:
                raise ConfigError(f"{section.where} unit: {reason}") from None
        is_instant = target.kind == "instant"
        return Cell(
            target,
            columns,
            constant,
            separator=section.text("separator", " "),
            prefix=section.text("prefix"),
            values=_values(section, target),
            missing=_missing(section),
            default=_default(section, target),
            unit=unit,
            factor=section.number("factor", 1.0),
            offset=section.number("offset", 0.0),
            minimum=section.limit("minimum"),
            maximum=section.limit("maximum"),
            format=_format(section, self.time_format) if is_instant else "",
            time_zone=(_time_zone(section, "time_zone") or self.time_zone) if is_instant else "",
            shift=_span(section, "shift") if "shift" in section else NO_SPAN,
        )


def _as_table(given: object) -> object:
    """A plain text is short for the column of that name."""
    return {"column": given} if isinstance(given, str) else given


def _source(section: Section) -> Source:
    delimiter = section.text("delimiter", ",")
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise section.error("delimiter", "one character", delimiter)
    return Source(
        section.text("name"),
        section.one_of("format", FORMATS, ""),
        delimiter,
        section.one_of("encoding", ENCODINGS, "utf-8"),
        section.one_of("decimal", (".", ","), "."),
    )


def _origin(section: Section, target: Target) -> tuple[tuple[str, ...], Value | None]:
    given = [key for key in ("column", "columns", "constant") if key in section]
    if len(given) != 1:
        raise ConfigError(f"{section.where}: expected one of column, columns and constant, but got {given}")
    if given == ["column"]:
        return (section.text("column"),), None
    if given == ["columns"]:
        columns = section.raw("columns")
        if not isinstance(columns, list) or not columns or not all(isinstance(name, str) for name in columns):
            raise section.error("columns", "a list of column names", columns)
        return tuple(columns), None
    constant = section.raw("constant")
    _require_value(section, "constant", constant, target)
    return (), constant


def _require_value(section: Section, key: str, value: object, target: Target) -> None:
    kinds = _CONSTANTS[target.kind]
    if not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool):
        raise section.error(key, f"a {target.kind}", value)
    low, high = target.minimum, target.maximum
    if isinstance(value, int | float) and ((low is not None and value < low) or (high is not None and value > high)):
        raise section.error(key, f"a number from {low:g} to {high:g}", value)


def _values(section: Section, target: Target) -> Mapping[str, Value]:
    given = section.take("map", dict, {}, "a table of values")
    for value in given.values():
        _require_value(section, "map", value, target)
    if "map" in section and not given:
        raise section.error("map", "at least one value", given)
    return given


def _missing(section: Section) -> tuple[str | float, ...]:
    given = section.take("missing", list, [], "a list of values")
    if not all(isinstance(one, str | int | float) and not isinstance(one, bool) for one in given):
        raise section.error("missing", "a list of texts and numbers", given)
    return tuple(given)


def _default(section: Section, target: Target) -> Value | None:
    if "default" not in section:
        return None
    _require_value(section, "default", section.raw("default"), target)
    return section.raw("default")  # type: ignore[no-any-return]


def _format(section: Section, default: str) -> str:
    found = section.text("format", default)
    if found and "%" in found:
        try:
            pl.Series(["2020"]).str.to_datetime(found, strict=False)
        except (pl.exceptions.PolarsError, ValueError) as reason:
            raise section.error("format", f"a format of strptime ({reason})", found) from None
    elif found and found not in CLOCK_FORMATS:
        raise section.error("format", "unix_s, unix_ms, unix_us or a format of strptime", found)
    return found


def _time_zone(section: Section, key: str) -> str:
    found = section.text(key)
    if found:
        try:
            pl.select(pl.lit("2020-01-01").str.to_datetime("%Y-%m-%d").dt.replace_time_zone(found))
        except pl.exceptions.PolarsError:
            raise section.error(key, "a zone of the IANA database such as Europe/Berlin", found) from None
    return found


def _span(section: Section, key: str) -> Span:
    try:
        return read_span(section.text(key))
    except ConfigError as reason:
        raise ConfigError(f"{section.where} {key}: {reason}") from None


def _require_name(where: str, name: str) -> None:
    is_name = name.replace("_", "a").isalnum() and name.isascii() and not name[0].isdigit()
    if not is_name or len(name) > _LONGEST_NAME:
        raise ConfigError(f"{where}: expected names of at most {_LONGEST_NAME} letters, digits and _, but got {name!r}")
