"""DBC files as plain decoding plans.

What belongs here: reading DBC files (cantools underneath) into frozen `MessagePlan` and `SignalPlan`,
with what J1939 says about a signal beyond the file: its PGN, its SPN, whether it is text, and whether
its top codes are values. Extracting bits from frames is `pm.canbus.decode`.
"""

import hashlib
import logging
import math
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal

from pm.canbus.dbc_text import DbcText, IdRanges, check_whole, read_text
from pm.canbus.j1939 import pgn_of_id
from pm.errors import ConfigError

# It warns of messages that share an identifier, on stderr if nobody listens: `clashes` tells those.
logging.getLogger("cantools").addHandler(logging.NullHandler())


def _import_cantools() -> Any:
    # python-can, which cantools imports, imports asammdf and with it pandas where they are installed:
    # 75 MB and a second that no DBC file needs. The MF4 reader imports asammdf itself.
    is_hidden = sys.modules.setdefault("asammdf", None) is None  # type: ignore[arg-type]
    try:
        import cantools
    finally:
        if is_hidden:
            del sys.modules["asammdf"]
    return cantools


cantools: Final = _import_cantools()

ByteOrder = Literal["little_endian", "big_endian"]

ROW_COLUMNS: Final = ("time", "channel", "source_address", "destination_address")
"""Columns that stand before the signals in every decoded frame."""

MAXIMUM_MESSAGES: Final = 32_000

_NO_NAME: Final = re.compile(r"[^A-Za-z0-9_]")
_EXTENDED_FLAG: Final = 1 << 31
_WIDEST_NUMBER_BITS: Final = 64
_FLOAT_BITS: Final = (16, 32, 64)
_LARGEST_SPN: Final = 0x7FFFF
_LARGEST_FRAME_BYTES: Final = 64
_LONGEST_NAME: Final = 120

UNMASKED_SPNS: Final = frozenset(
    {695, 696, 897}  # TSC1 modes: all four codes are states
    | {1214, 1215, 1216, 1706}  # SPN, FMI, occurrence count and conversion method of a DTC
    | set(range(2837, 2845))  # the eight parts of a NAME ...
    | {2540}  # requested PGN
    | {162, 163}  # gear letters: two ASCII characters, kept as a number
    | {1480, 1482, 1483}  # address of the controlling device; SPN 1481 (brakes) is 255 where there is none
)  # fmt: skip
"""Parameters whose highest codes are values, so the ranges of SAE J1939-71 do not apply to them."""

UNMASKED_PGNS: Final = frozenset({0xDA00, 0xDB00, 0xCD00, 0xCE00})
"""Diagnostics over ISO 15765 (SAE J1939-21 leaves these PGNs to it): their bytes are no J1939 parameters."""

TEXT_PARTS: Final = {237: 0, 586: 0, 587: 1, 588: 2, 233: 3}
"""SPN -> which of the texts of its message it is, where `*` ends each and no place is fixed (SAE J1939-71):
the VIN, and make, model, serial number and unit number of the component identification."""


@dataclass(frozen=True)
class SignalPlan:
    """Where one signal stands in a payload and how its raw number becomes a physical one."""

    name: str
    start: int
    """Start bit as in the DBC: the lowest bit (Intel) or the highest bit (Motorola)."""
    length: int
    byte_order: ByteOrder
    is_signed: bool
    is_float: bool
    scale: float
    offset: float
    minimum: float | None
    maximum: float | None
    unit: str
    spn: int | None
    comment: str
    is_multiplexer: bool = False
    multiplexer_signal: str | None = None
    """The signal that says whether this one is in the frame; None: it always is."""
    multiplexer_ids: tuple[int, ...] = ()
    """Raw values of the multiplexer with which this signal is in the frame, in rising order."""
    known_ids: tuple[int, ...] = ()
    """Of a multiplexer: the raw values that the file knows, by a signal or in its table of values."""
    is_text: bool = False
    text_part: int | None = None
    """Of a text: how many texts, each ended by `*`, come before it; None: it begins at its start bit."""
    is_masked: bool = True
    """False: the highest codes are values too (addresses, NAME, SPN, FMI, TSC1 modes)."""

    @property
    def column(self) -> str:
        """Column name: the signal's name, with `_` appended where that is a column of every frame."""
        return f"{self.name}_" if self.name in ROW_COLUMNS else self.name


@dataclass(frozen=True)
class MessagePlan:
    """One message of a DBC file. `pgn` is None unless the file says that it is a J1939 message."""

    name: str
    frame_id: int
    is_extended: bool
    pgn: int | None
    length: int
    """Length in bytes."""
    signals: tuple[SignalPlan, ...]
    comment: str
    dbc_sha256: str

    @property
    def key(self) -> tuple[str, int, bool]:
        """What a frame must have to be this message: a PGN, or an id and its width."""
        return ("id", self.frame_id, self.is_extended) if self.pgn is None else ("pgn", self.pgn, True)


@dataclass(frozen=True)
class SignalDatabase:
    """The messages of one or more DBC files, the first file's where two declare the same."""

    messages: tuple[MessagePlan, ...]
    sha256: tuple[str, ...]
    """sha256 of each file's bytes, in the order given."""
    clashes: tuple[str, ...] = ()
    """One sentence a message that was left out because an earlier one has its PGN, id or name, and a
    signal that was left out or has another name than in the file, because it cannot be as declared."""

    @cached_property
    def _by_name(self) -> dict[str, MessagePlan]:
        return {message.name: message for message in self.messages}

    def message(self, name: str) -> MessagePlan:
        """The message called `name`.

        Raises:
            ConfigError: no DBC file declares it.
        """
        if name not in self._by_name:
            raise ConfigError(f"message {name}: expected one of {sorted(self._by_name)}, but got no such message")
        return self._by_name[name]


def load_dbc(paths: Sequence[Path]) -> SignalDatabase:
    """Read DBC files into one database.

    A message whose PGN (J1939), id and width (others) or name an earlier one has is left out, and so is
    a signal that no payload can hold as declared; `clashes` says which. Characters other than letters,
    digits and _ in a long name become _.

    Raises:
        ConfigError: no file is given, or one cannot be read, does not parse or declares no message.
    """
    if not paths:
        raise ConfigError("DBC files: expected at least one, but got none")
    kept: dict[tuple[str, int, bool] | str, tuple[MessagePlan, Path]] = {}
    messages: list[MessagePlan] = []
    hashes: list[str] = []
    clashes: list[str] = []
    for path in paths:
        content = _read(path)
        hashes.append(hashlib.sha256(content).hexdigest())
        for message, said in _parse(path, content, hashes[-1]):
            first = kept.get(message.key) or kept.get(message.name)
            if first is not None:
                clashes.append(_clash(message, path, *first))
                continue
            kept[message.key] = kept[message.name] = (message, path)
            messages.append(message)
            clashes += [f"{path.name} {message.name}: {sentence}" for sentence in said]
    if len(messages) > MAXIMUM_MESSAGES:
        raise ConfigError(f"DBC files: expected at most {MAXIMUM_MESSAGES} messages, but got {len(messages)}")
    return SignalDatabase(tuple(messages), tuple(hashes), tuple(clashes))


def _clash(message: MessagePlan, path: Path, first: MessagePlan, first_path: Path) -> str:
    shared = f"the name {message.name}"
    if message.key == first.key:
        shared = f"id {message.frame_id:X}" if message.pgn is None else f"PGN {message.pgn}"
    return f"{path.name} {message.name}: {shared} is already {first.name} of {first_path.name}, which is used"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as reason:
        raise ConfigError(f"DBC {path}: expected a readable file, but got: {reason.strerror}") from None


def _parse(path: Path, content: bytes, sha256: str) -> list[tuple[MessagePlan, list[str]]]:
    """The messages of one file, each with a sentence a signal that could not be taken as declared."""
    try:
        text = read_text(content)
        # strict would refuse overlapping signals, which real files have; each is read on its own here.
        parsed: Any = cantools.database.load_string(text.text, database_format="dbc", strict=False)
        check_whole(text.text, parsed)
        plans = [_message_plan(message, text, sha256) for message in parsed.messages]
    except Exception as reason:  # the parser raises many kinds on bad text
        first_line = (" ".join(str(reason).split()) or type(reason).__name__)[:200]
        said = first_line if first_line.startswith("expected ") else f"expected a DBC file, but got: {first_line}"
        raise ConfigError(f"DBC {path}: {said}") from None
    if not plans:
        raise ConfigError(f"DBC {path}: expected at least one message, but got none")
    return plans


def _message_plan(message: Any, text: DbcText, sha256: str) -> tuple[MessagePlan, list[str]]:
    is_j1939 = message.protocol == "j1939" and message.is_extended_frame
    pgn = pgn_of_id(message.frame_id) if is_j1939 else None
    said: list[str] = []
    plan = MessagePlan(
        name=_identifier(message.name),
        frame_id=message.frame_id,
        is_extended=message.is_extended_frame,
        pgn=pgn,
        length=message.length,
        signals=_signal_plans(message, pgn, text, said),
        comment=message.comment or "",
        dbc_sha256=sha256,
    )
    return plan, said


def _signal_plans(message: Any, pgn: int | None, text: DbcText, said: list[str]) -> tuple[SignalPlan, ...]:
    """Plans of the message's signals; a sentence in `said` for each that is left out or renamed."""
    file_id = message.frame_id | (_EXTENDED_FLAG if message.is_extended_frame else 0)
    plans: dict[str, SignalPlan] = {}
    name_of: dict[str, str] = {}
    columns: set[str] = set()
    tried: dict[str, int] = {}
    for signal in message.signals:
        fault = _fault(signal, message.length)
        if fault:
            said.append(f"signal {signal.name} left out: {fault}")
            continue
        wanted = _identifier(text.long_names.get((file_id, signal.name), signal.name))
        plan = _signal_plan(signal, wanted, pgn)
        while plan.name in plans or plan.column in columns:
            tried[wanted] = tried.get(wanted, 1) + 1
            plan = replace(plan, name=f"{wanted}_{tried[wanted]}")
        if plan.name != wanted:
            said.append(f"signal {wanted}: there is one of this name already, so it is called {plan.name}")
        name_of.setdefault(signal.name, plan.name)
        columns.add(plan.column)
        multiplexer, ids = _multiplexer(signal, text.multiplexers.get((file_id, signal.name)))
        # The multiplexer's name in the file, for now.
        plans[plan.name] = replace(plan, multiplexer_signal=multiplexer, multiplexer_ids=ids)
    return _linked(plans, name_of, {signal.name: signal.choices or {} for signal in message.signals}, said)


def _multiplexer(signal: Any, extended: tuple[str, IdRanges] | None) -> tuple[str | None, tuple[int, ...]]:
    """The signal's multiplexer and the raw values of it, by its mark (m3) and by extended multiplexing."""
    multiplexer, ids = signal.multiplexer_signal, set(signal.multiplexer_ids or ())
    if extended is not None:
        ids = ids if multiplexer == extended[0] else set()
        multiplexer = extended[0]
        ids.update(number for low, high in extended[1] for number in range(low, high + 1))
    return multiplexer, tuple(sorted(ids))


def _linked(
    plans: dict[str, SignalPlan], name_of: dict[str, str], choices: dict[str, Any], said: list[str]
) -> tuple[SignalPlan, ...]:
    """The plans with their multiplexers by name; those without a way to a signal that is always there are left out."""
    file_name = {name: short for short, name in name_of.items()}
    linked = {
        name: replace(plan, multiplexer_signal=name_of.get(plan.multiplexer_signal, ""))
        if plan.multiplexer_signal is not None
        else plan
        for name, plan in plans.items()
    }
    kept = {name: plan for name, plan in linked.items() if _is_reachable(plan, linked)}
    said += [
        f"signal {name} left out: expected its multiplexer {plans[name].multiplexer_signal} to be an integer of "
        "this message, and not inside itself"
        for name in linked
        if name not in kept
    ]
    known: dict[str, set[int]] = {}
    for name, plan in kept.items():
        if plan.multiplexer_signal is not None:
            largest = (1 << kept[plan.multiplexer_signal].length) - 1
            ids = tuple(number for number in plan.multiplexer_ids if number <= largest)
            kept[name] = replace(plan, multiplexer_ids=ids)
            known.setdefault(plan.multiplexer_signal, set()).update(ids)
    for name, found in known.items():
        largest = (1 << kept[name].length) - 1
        found.update(code & largest for code in choices.get(file_name[name], ()))
    # A multiplexer without signals says nothing about the frame; the file may mark it all the same.
    return tuple(
        replace(plan, is_multiplexer=name in known, known_ids=tuple(sorted(known.get(name, ()))))
        for name, plan in kept.items()
    )


def _is_reachable(plan: SignalPlan, plans: dict[str, SignalPlan]) -> bool:
    seen = set()
    while plan.multiplexer_signal is not None:
        seen.add(plan.name)
        above = plans.get(plan.multiplexer_signal)
        if above is None or above.is_text or above.is_float or above.name in seen:
            return False
        plan = above
    return True


def _fault(signal: Any, message_bytes: int) -> str | None:
    """Why no payload can hold the signal as declared; None: it can."""
    bit = signal.start if signal.byte_order == "little_endian" else signal.start ^ 7
    longest = 8 * max(message_bytes, _LARGEST_FRAME_BYTES)
    if bit + signal.length > longest:
        return f"expected bits below {longest}, but got {bit} to {bit + signal.length - 1}"
    if signal.is_float and signal.length not in _FLOAT_BITS:
        return f"expected a float of 16, 32 or 64 bits, but got {signal.length}"
    if signal.length > _WIDEST_NUMBER_BITS and (signal.length % 8 or bit % 8):
        return f"expected at most 64 bits or whole bytes, but got {signal.length} bits"
    if not (math.isfinite(_number(signal.scale)) and math.isfinite(_number(signal.offset))):
        return "expected a finite scale and offset, but got a larger number"
    return None


def _signal_plan(signal: Any, name: str, pgn: int | None) -> SignalPlan:
    spn = _spn(signal)
    bit = signal.start if signal.byte_order == "little_endian" else signal.start ^ 7
    whole_bytes = signal.length % 8 == 0 and bit % 8 == 0
    part = TEXT_PARTS.get(spn or 0) if pgn is not None and whole_bytes else None
    is_text = part is not None or signal.length > _WIDEST_NUMBER_BITS  # a number has 64 bits at most
    minimum, maximum = ((None if edge is None else _number(edge)) for edge in (signal.minimum, signal.maximum))
    return SignalPlan(
        name=name,
        start=signal.start,
        length=signal.length,
        byte_order=signal.byte_order,
        is_signed=signal.is_signed,
        is_float=signal.is_float and not is_text,
        scale=_number(signal.scale),
        offset=_number(signal.offset),
        minimum=minimum,
        maximum=maximum,
        unit=signal.unit or "",
        spn=spn,
        comment=signal.comment or "",
        is_multiplexer=signal.is_multiplexer,
        is_text=is_text,
        text_part=part,
        is_masked=not is_text and spn not in UNMASKED_SPNS and pgn not in UNMASKED_PGNS,
    )


def _spn(signal: Any) -> int | None:
    # The default of the attribute comes as the file declares it: an integer, a float or a text.
    found = signal.spn
    is_number = isinstance(found, int) and 0 < found <= _LARGEST_SPN
    return int(found) if is_number else None


def _number(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _identifier(name: str) -> str:
    """`name` as file, table and column names can have it."""
    cut = _NO_NAME.sub("_", name)[:_LONGEST_NAME]
    return cut if cut and not cut[0].isdigit() else f"_{cut}"
