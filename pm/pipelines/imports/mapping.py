"""What a mapping says: from which columns of a file each value of a row comes.

What belongs here: the parts of a mapping, and what can be filled for each kind of import. Reading one from
TOML is `pm.pipelines.imports.mapping_file`, evaluating it `pm.pipelines.imports.mapping_cells`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

import polars as pl

from pm.pipelines.imports.mapping_spans import NO_SPAN, Span
from pm.schema import UTC_INSTANT, Table
from pm.tables import EVENT, FAULT, VEHICLE, WORK_ORDER

Kind = Literal["telemetry", "events", "work-orders", "vehicles"]
KINDS: Final[tuple[Kind, ...]] = ("telemetry", "events", "work-orders", "vehicles")
FORMATS: Final = ("csv", "parquet", "jsonl")
ENCODINGS: Final = ("utf-8", "utf-16", "latin-1", "cp1252")
CLOCK_FORMATS: Final = ("unix_s", "unix_ms", "unix_us")
ValueKind = Literal["text", "number", "whole", "flag", "instant"]
Value = str | float | bool


@dataclass(frozen=True)
class Target:
    """One value of a row that a mapping can fill."""

    name: str
    kind: ValueKind
    required: bool = False
    unit: str = ""
    """Unit the value is stored in; empty: as it comes."""
    minimum: float | None = None
    maximum: float | None = None
    is_key: bool = False
    """Of several columns none may be empty: left out, two different keys could become one."""
    is_private: bool = False
    """May be or hold a VIN: its value is in no reason."""
    default: Value | None = None


@dataclass(frozen=True)
class Cell:
    """Where a value comes from: one column, several joined, or a constant."""

    target: Target
    columns: tuple[str, ...] = ()
    constant: Value | None = None
    separator: str = " "
    prefix: str = ""
    values: Mapping[str, Value] = field(default_factory=dict)
    """What a text of the column stands for; empty: itself. Another text refuses the row."""
    missing: tuple[str | float, ...] = ()
    """What stands for no value."""
    default: Value | None = None
    """The value where there is none."""
    unit: str = ""
    """Unit of the column's numbers."""
    factor: float = 1.0
    offset: float = 0.0
    """Of the column's numbers: factor times it plus offset is the number in `unit`."""
    minimum: float | None = None
    maximum: float | None = None
    """In `unit`; a number outside is no value."""
    format: str = ""
    """Of an instant: a format of strptime, or unix_s, unix_ms, unix_us; empty: ISO 8601."""
    time_zone: str = ""
    """Of an instant without offset; empty: such an instant is refused."""
    shift: Span = NO_SPAN
    may_be_absent: bool = False
    """The file need not have the column."""


@dataclass(frozen=True)
class Source:
    """How the file is written."""

    name: str = ""
    format: str = ""
    """Empty: by the file's suffix."""
    delimiter: str = ","
    encoding: str = "utf-8"
    decimal: str = "."


@dataclass(frozen=True)
class VehicleChoice:
    """Which vehicle a row is of, and what happens to one that nobody has added."""

    fleet: Cell | None = None
    vehicle_ref: Cell | None = None
    vin: Cell | None = None
    adds_unknown: bool = False


@dataclass(frozen=True)
class Knowledge:
    """When a row became known: an instant of its own, a span after what it tells, or both added."""

    cell: Cell | None = None
    after: Span | None = None


@dataclass(frozen=True)
class SignalChoice:
    """A signal and the column it comes from."""

    message: str
    signal: str
    cell: Cell
    stored_unit: str = ""
    spn: int | None = None
    description: str = ""
    is_double: bool = False


@dataclass(frozen=True)
class FileMapping:
    """A whole mapping."""

    kind: Kind
    sha256: str
    """Of the mapping file's bytes; empty: the columns have the names of their targets."""
    source: Source
    vehicle: VehicleChoice
    cells: Mapping[str, Cell]
    """By name of the target."""
    time: Cell | None = None
    knowledge: Knowledge = Knowledge()
    where: tuple[tuple[str, tuple[Value, ...]], ...] = ()
    """Columns and the values that take a row; other rows are left out."""
    signals: tuple[SignalChoice, ...] = ()
    is_fault: bool = False
    """Of events: rows are trouble codes."""


_KINDS: Final[dict[pl.DataType, ValueKind]] = {
    pl.String(): "text",
    pl.Float64(): "number",
    pl.Int16(): "whole",
    pl.Int32(): "whole",
    pl.Boolean(): "flag",
    UTC_INSTANT: "instant",
}


def _targets(table: Table, *, without: frozenset[str], **said: Mapping[str, object]) -> dict[str, Target]:
    found = {}
    for column in table.columns:
        if column.name not in without:
            facts: dict[str, object] = {
                "required": not column.nullable,
                "unit": column.unit,
                **said.get(column.name, {}),
            }
            facts["unit"] = "" if column.unit == "a" else facts["unit"]
            found[column.name] = Target(column.name, _KINDS[column.dtype], **facts)  # type: ignore[arg-type]
    return found


_FILLED: Final = frozenset({"vehicle_id", "known_at", "log_file_id", "time", "fleet", "vehicle_ref"})
_LAMP: Final = {"required": False, "minimum": 0, "maximum": 3, "default": 3}
_FLASH: Final = {"minimum": 0, "maximum": 3}
_ADDRESS: Final = {"required": False, "minimum": -1, "maximum": 255, "default": -1}
_CHANNEL: Final = {"required": False, "default": ""}
_KEY: Final = {"is_key": True}

VEHICLE_CELLS: Final = {
    "fleet": Target("fleet", "text"),
    "vehicle_ref": Target("vehicle_ref", "text", is_key=True, is_private=True),
    "vin": Target("vin", "text", is_key=True, is_private=True),
}
TIME: Final = Target("time", "instant", required=True)
KNOWN_AT: Final = Target("known_at", "instant")

CELLS: Final[Mapping[str, Mapping[str, Target]]] = {
    "bus": {
        "channel": Target("channel", "text", default=""),
        "source_address": Target("source_address", "whole", minimum=-1, maximum=255, default=-1),
        "destination_address": Target("destination_address", "whole", minimum=-1, maximum=255, default=-1),
    },
    "event": _targets(EVENT, without=_FILLED, kind=_KEY, code=_KEY),
    "fault": _targets(
        FAULT,
        without=_FILLED,
        channel=_CHANNEL,
        source_address=_ADDRESS,
        spn={"minimum": 0, "maximum": 0x7FFFF},
        fmi={"minimum": 0, "maximum": 31},
        occurrence_count={"minimum": 0, "maximum": 126},
        conversion_method={"required": False, "minimum": 1, "maximum": 4, "default": 4},
        dm={"required": False, "minimum": 1, "maximum": 2, "default": 1},
        **dict.fromkeys(("lamp_mil", "lamp_red", "lamp_amber", "lamp_protect"), _LAMP),
        **dict.fromkeys(("flash_mil", "flash_red", "flash_amber", "flash_protect"), _FLASH),
    ),
    "work_order": _targets(
        WORK_ORDER,
        without=_FILLED,
        source_system=_KEY,
        work_order_id=_KEY,
        line_no={"minimum": 0, "maximum": 2**31 - 1},
        withdrawn={"required": False, "default": False},
    ),
    "vehicle": _targets(VEHICLE, without=_FILLED, model_year={"minimum": 1900, "maximum": 2200}),
}
"""What each section of a mapping can fill, by name."""

SECTIONS: Final[Mapping[Kind, tuple[str, ...]]] = {
    "telemetry": ("bus",),
    "events": ("event", "fault"),
    "work-orders": ("work_order",),
    "vehicles": ("vehicle",),
}
"""Sections of values by kind of import."""


def plain_mapping(kind: Literal["work-orders", "vehicles"]) -> FileMapping:
    """The mapping of a file whose columns have the names of what they fill; a nullable one may be absent."""
    section = CELLS[SECTIONS[kind][0]]
    cells = {name: Cell(target, (name,), may_be_absent=not target.required) for name, target in section.items()}
    fleet = Cell(VEHICLE_CELLS["fleet"], ("fleet",), may_be_absent=kind == "work-orders")
    vehicle_ref = Cell(VEHICLE_CELLS["vehicle_ref"], ("vehicle_ref",))
    vin = Cell(VEHICLE_CELLS["vin"], ("vin",), may_be_absent=True) if kind == "vehicles" else None
    recorded_at = Cell(KNOWN_AT, ("recorded_at",), may_be_absent=True)
    return FileMapping(
        kind,
        "",
        Source(),
        VehicleChoice(fleet, vehicle_ref, vin, adds_unknown=kind == "vehicles"),
        cells,
        knowledge=Knowledge(recorded_at) if kind == "work-orders" else Knowledge(),
    )
