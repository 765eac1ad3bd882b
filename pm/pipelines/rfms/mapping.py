"""The mapping of rFMS: which field of a vehicle status becomes which signal of which message.

What belongs here: reading and checking the TOML file (`examples/rfms/mapping.toml` is the ready one), and
making the plans of the messages that it names. The values are `pm.pipelines.rfms.statuses`.
"""

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, Final, TypeVar

from pm.canbus.dbc import MessagePlan, SignalDatabase, SignalPlan
from pm.errors import ConfigError

FORMAT: Final = "rfms-4.0"
OWN: Final = "rfms_"
"""Messages whose names begin so are made from the mapping; all others are the DBC files'."""
POSITION: Final = "rfms_position"
DRIVER: Final = "rfms_driver"
"""Where the driver goes if the policy says so, hashed."""
_NARROW_BITS, _WIDE_BITS = 24, 32
_MEASURES: Final = {"seconds": "s", "meters": "m", "milliLitres": "ml", "kilograms": "kg", "watthours": "Wh"}
MEASURES: Final[Mapping[str, str]] = _MEASURES
"""What a class counts, and its unit."""

E = TypeVar("E")


@dataclass(frozen=True)
class Number:
    """A number (or with `switch` a boolean) that becomes a signal, times `factor`."""

    field: str
    to: str
    unit: str
    factor: float = 1.0
    meaning: str = ""
    counter: bool = False
    switch: bool = False
    wide: bool = False
    """Stored in double precision, as a counter is."""


@dataclass(frozen=True)
class Text:
    """A text, for instance an enumeration, that becomes a text signal as it is."""

    field: str
    to: str
    meaning: str = ""


@dataclass(frozen=True)
class Listed:
    """A list of objects with a number each, which stands for `{}` in the signal's name."""

    field: str
    index: str
    maximum_index: int
    value: str
    to: str
    unit: str = ""
    meaning: str = ""
    text: bool = False


@dataclass(frozen=True)
class Classes:
    """A class histogram: one signal a class and measure."""

    field: str
    to: str
    meaning: str = ""


@dataclass(frozen=True)
class RfmsMapping:
    """A checked mapping."""

    channel: str
    maximum_class_columns: int
    left_out_states: frozenset[str]
    numbers: tuple[Number, ...]
    texts: tuple[Text, ...]
    listed: tuple[Listed, ...]
    classes: tuple[Classes, ...]
    signals: Mapping[str, SignalPlan]
    """`message.signal` to the signal, of everything but classes."""
    messages: Mapping[str, MessagePlan]
    """Every message named, without its signals where it is made from the mapping."""
    sha256: str


def load_mapping(path: Path, database: SignalDatabase) -> RfmsMapping:
    """Read a mapping; `database` is what the DBC files declare.

    Raises:
        ConfigError: the file cannot be read, has an unknown or a missing key, sends two fields to one
            signal, or names a signal that the DBC files lack or have in another unit.
    """
    where = f"mapping {path}"
    try:
        raw = path.read_bytes()
        given = tomllib.loads(raw.decode("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as reason:
        raise ConfigError(f"{where}: expected readable TOML, but got: {reason}") from None
    if given.get("format") != FORMAT:
        raise ConfigError(f'{where}: expected format = "{FORMAT}", but got {given.get("format")!r}')
    sha256 = hashlib.sha256(raw).hexdigest()
    numbers = _entries(where, given, "number", Number)
    texts = _entries(where, given, "text", Text)
    listed = _entries(where, given, "listed", Listed)
    classes = _entries(where, given, "classes", Classes)
    signals = _signals(where, numbers, texts, listed, database)
    names = {to.split(".")[0] for to in (*signals, *(entry.to for entry in classes))} | {DRIVER}
    return RfmsMapping(
        channel=_text(where, given, "channel"),
        maximum_class_columns=_whole(where, given, "maximum_class_columns", 1),
        left_out_states=frozenset(_texts(where, given, "left_out_states")),
        numbers=numbers,
        texts=texts,
        listed=listed,
        classes=classes,
        signals=signals,
        messages={name: _message(where, name, database, sha256) for name in sorted(names)},
        sha256=sha256,
    )


def own_signal(
    name: str, unit: str, meaning: str, *, is_text: bool = False, wide: bool = False, positive: bool = False
) -> SignalPlan:
    """A signal of a message that no DBC file declares."""
    return SignalPlan(
        name=name,
        start=0,
        length=_WIDE_BITS if wide else _NARROW_BITS,
        byte_order="little_endian",
        is_signed=not positive,
        is_float=False,
        scale=1.0,
        offset=0.0,
        minimum=0.0 if positive else None,
        maximum=None,
        unit=unit,
        spn=None,
        comment=meaning,
        is_text=is_text,
        is_masked=False,
    )


def _signals(
    where: str,
    numbers: tuple[Number, ...],
    texts: tuple[Text, ...],
    listed: tuple[Listed, ...],
    database: SignalDatabase,
) -> dict[str, SignalPlan]:
    made = [(number.to, _number_signal(where, number, database)) for number in numbers]
    made += [(text.to, own_signal(_own_name(where, text.to), "", text.meaning, is_text=True)) for text in texts]
    for entry in listed:
        for index in range(1, entry.maximum_index + 1):
            to = entry.to.replace("{}", str(index))
            plan = own_signal(_own_name(where, to), entry.unit, entry.meaning, is_text=entry.text)
            made.append((to, plan))
    targets = [to for to, _ in made]
    twice = sorted({to for to in targets if targets.count(to) > 1})
    if twice:
        raise ConfigError(f"{where}: expected one field a signal, but got several for {twice}")
    return dict(made)


def _number_signal(where: str, number: Number, database: SignalDatabase) -> SignalPlan:
    message, _, signal = number.to.partition(".")
    if message.startswith(OWN):
        name = _own_name(where, number.to)
        return own_signal(
            name, number.unit, number.meaning, wide=number.wide or number.counter, positive=number.counter
        )
    for plan in database.message(message).signals:
        if plan.name == signal:
            if plan.unit != number.unit:
                raise ConfigError(
                    f"{where}: {number.to}: expected the unit {plan.unit!r} of the DBC file, but got {number.unit!r}"
                )
            return plan
    raise ConfigError(f"{where}: expected a signal of the DBC files, but got {number.to}")


def _own_name(where: str, to: str) -> str:
    message, _, signal = to.partition(".")
    if not message.startswith(OWN) or not signal.isidentifier():
        raise ConfigError(f"{where}: to: expected {OWN}<message>.<signal>, but got {to!r}")
    return signal


def _message(where: str, name: str, database: SignalDatabase, sha256: str) -> MessagePlan:
    if not name.startswith(OWN):
        return database.message(name)
    if not name.isidentifier():
        raise ConfigError(f"{where}: to: expected {OWN}<message>.<signal>, but got {name!r}")
    return MessagePlan(name, 0, False, None, 0, (), "rFMS 4.0 vehicle status", sha256)


def _entries(where: str, given: Mapping[str, Any], table: str, kind: type[E]) -> tuple[E, ...]:
    rows = given.get(table, [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ConfigError(f"{where}: expected [[{table}]], but got {type(rows).__name__}")
    return tuple(_entry(f"{where} [[{table}]] {number}", row, kind) for number, row in enumerate(rows, 1))


def _entry(where: str, row: Mapping[str, Any], kind: type[E]) -> E:
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(row) - set(known))
    absent = sorted(name for name, field in known.items() if field.default is MISSING and name not in row)
    if unknown or absent:
        raise ConfigError(f"{where}: expected keys {sorted(known)}, but got unknown {unknown}, missing {absent}")
    for name, value in row.items():
        wanted: Any = known[name].type
        fits = isinstance(value, int | float) if wanted is float else isinstance(value, wanted)
        if not fits or (isinstance(value, bool) and wanted is not bool):
            raise ConfigError(f"{where}: {name}: expected {wanted.__name__}, but got {value!r}")
    return kind(**row)


def _text(where: str, given: Mapping[str, Any], key: str) -> str:
    value = given.get(key)
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{where}: {key}: expected a text, but got {value!r}")
    return value


def _texts(where: str, given: Mapping[str, Any], key: str) -> list[str]:
    value = given.get(key, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ConfigError(f"{where}: {key}: expected a list of texts, but got {value!r}")
    return value


def _whole(where: str, given: Mapping[str, Any], key: str, least: int) -> int:
    value = given.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ConfigError(f"{where}: {key}: expected a whole number from {least}, but got {value!r}")
    return value
