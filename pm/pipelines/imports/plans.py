"""Which message and signal an imported column becomes: one of the DBC files, one stored before, or a new one.

What belongs here: plans of messages for imported telemetry, and the unit each signal is kept in. A signal has
one unit however many files bring it, so that features read imported telemetry exactly as decoded logs.
"""

from dataclasses import dataclass, replace
from typing import Final

import polars as pl

from pm.canbus.dbc import MessagePlan, SignalDatabase, SignalPlan
from pm.errors import ConfigError
from pm.pipelines.imports.mapping import Cell, FileMapping, SignalChoice
from pm.pipelines.imports.mapping_units import conversion
from pm.pipelines.sifting import is_driver_id, is_position
from pm.policy import Privacy

_SINGLE_BITS: Final = 24
_DOUBLE_BITS: Final = 64
"""Widths by which the store keeps single or double precision; these signals stand in no payload."""
_RESERVED: Final = frozenset({"vehicle_id", "log_file_id", "known_at"})


@dataclass(frozen=True)
class PlannedMessage:
    """A message and the cell that each of its signals is read from, in the plan's order."""

    plan: MessagePlan
    cells: tuple[Cell, ...]


def plan_messages(
    mapping: FileMapping, database: SignalDatabase, stored: pl.DataFrame, privacy: Privacy
) -> tuple[PlannedMessage, ...]:
    """The messages that a mapping fills; of each, only the signals that it names.

    Args:
        database: the project's DBC files: a message of theirs has its signals, units, SPNs and PGN from there.
        stored: SIGNAL, the dictionary: a signal that is stored keeps its unit.

    Raises:
        ConfigError: a signal is not one of its DBC message, its unit does not become the one it is kept in,
            or it tells where the vehicle is or who drives, which the policy does not store.
    """
    names = list(dict.fromkeys(choice.message for choice in mapping.signals))
    of_dbc = {message.name: message for message in database.messages}
    made = []
    for name in names:
        choices = [choice for choice in mapping.signals if choice.message == name]
        dictionary = stored.filter(pl.col("message") == name)
        if name in of_dbc:
            planned = [_of_dbc(choice, of_dbc[name]) for choice in choices]
            plan = of_dbc[name]
        else:
            planned = [_own(choice, dictionary.filter(pl.col("signal") == choice.signal)) for choice in choices]
            plan = _new_message(name, mapping, dictionary)
        for signal, choice in zip(planned, choices, strict=True):
            _require_public(signal, choice, privacy)
        cells = tuple(_cell(choice, signal) for choice, signal in zip(choices, planned, strict=True))
        made.append(PlannedMessage(replace(plan, signals=tuple(planned)), cells))
    return tuple(made)


def _of_dbc(choice: SignalChoice, message: MessagePlan) -> SignalPlan:
    found = next((signal for signal in message.signals if signal.name == choice.signal), None)
    if found is None:
        names = sorted(signal.name for signal in message.signals)
        raise _error(choice, f"expected a signal of {message.name} in the DBC files, one of {names}, but got none")
    if found.is_text:
        raise _error(choice, "expected a signal that is a number, but got a text of the DBC files")
    if choice.stored_unit or choice.spn is not None:
        raise _error(choice, "expected neither stored_unit nor spn: the DBC files say them, but got one")
    return found


def _new_message(name: str, mapping: FileMapping, dictionary: pl.DataFrame) -> MessagePlan:
    pgn = dictionary["pgn"].drop_nulls()
    said = f"Imported{f' from {mapping.source.name}' if mapping.source.name else ''}; not decoded here."
    return MessagePlan(name, 0, False, int(pgn[0]) if len(pgn) else None, 0, (), said, mapping.sha256)


def _own(choice: SignalChoice, stored: pl.DataFrame) -> SignalPlan:
    """A signal without a place in a payload: as it is stored, or as the mapping says."""
    known = stored.row(0, named=True) if stored.height else {}
    minimum, maximum = _stored_limits(choice) if not known else (known["minimum"], known["maximum"])
    plan = SignalPlan(
        name=choice.signal,
        start=0,
        length=_DOUBLE_BITS if choice.is_double else _SINGLE_BITS,
        byte_order="little_endian",
        is_signed=True,
        is_float=False,
        scale=1.0,
        offset=0.0,
        minimum=minimum,
        maximum=maximum,
        unit=known["unit"] if known else choice.stored_unit or choice.cell.unit,
        spn=known["spn"] if known else choice.spn,
        comment=(known["description"] if known else "") or choice.description,
    )
    if plan.column in _RESERVED:
        raise _error(choice, f"expected a name other than {sorted(_RESERVED)}, but got {choice.signal}")
    return plan


def _stored_limits(choice: SignalChoice) -> tuple[float | None, float | None]:
    cell = choice.cell
    if not cell.unit or not choice.stored_unit:
        return cell.minimum, cell.maximum
    scale = conversion(cell.unit, choice.stored_unit)
    low, high = (None if edge is None else edge * scale.factor + scale.offset for edge in (cell.minimum, cell.maximum))
    return low, high


def _cell(choice: SignalChoice, signal: SignalPlan) -> Cell:
    """The cell, ending in the signal's unit and, of a DBC signal, within its range: no log could hold more."""
    unit = choice.cell.unit
    if signal.unit and not unit:
        raise _error(choice, f"expected the unit of the column (the signal is kept in {signal.unit!r}), but got none")
    if unit and unit != signal.unit:
        try:
            conversion(unit, signal.unit)
        except ConfigError as reason:
            raise _error(choice, f"unit: {reason}") from None
    low, high = signal.minimum, signal.maximum
    has_range = low is not None and high is not None and low < high
    target = replace(
        choice.cell.target,
        unit=signal.unit,
        minimum=low if has_range else None,
        maximum=high if has_range else None,
    )
    return replace(choice.cell, target=target)


def _require_public(signal: SignalPlan, choice: SignalChoice, privacy: Privacy) -> None:
    if is_position(signal) and not privacy.positions:
        raise _error(choice, "expected no position while the policy's [privacy] positions is false, but got one")
    if is_driver_id(signal):
        raise _error(choice, "expected nothing that tells who drives, but got a driver's identification")


def _error(choice: SignalChoice, said: str) -> ConfigError:
    return ConfigError(f"mapping, [signals.{choice.message}] {choice.signal}: {said}")
