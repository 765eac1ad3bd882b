"""DBC files as plain decoding plans.

What belongs here: reading DBC files (cantools underneath) into frozen `MessagePlan` and `SignalPlan`,
with what J1939 says about a signal beyond the file: its PGN, its SPN, whether it is text, and whether
its top codes are values. Extracting bits from frames is `pm.canbus.decode`.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal

import cantools

from pm.canbus.j1939 import pgn_of_id
from pm.errors import ConfigError

ByteOrder = Literal["little_endian", "big_endian"]

ROW_COLUMNS: Final = ("time", "channel", "source_address", "destination_address")
"""Columns that stand before the signals in every decoded frame."""

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_QUOTED: Final = re.compile(r'"[^"]*"')
# 0xC0000000 is no message: it holds signals that belong to none, and the parser leaves it out.
_INDEPENDENT: Final = re.compile(r"^[ \t]*BO_[ \t]+3221225472\b.*\n(?:[ \t]*SG_[ \t].*\n?)*", re.MULTILINE)
_MESSAGE_LINE: Final = re.compile(r"^[ \t]*BO_[ \t]+\d", re.MULTILINE)
_SIGNAL_LINE: Final = re.compile(r"^[ \t]*SG_[ \t]", re.MULTILINE)
_STATEMENT_LINE: Final = re.compile(r"[ \t]*(BA_|CM_|VAL_|SIG_|BO_TX_BU_|EV_|SG_MUL_VAL_|ENVVAR_)")
_WIDEST_NUMBER_BITS: Final = 64

UNMASKED_SPNS: Final = frozenset(
    {695, 696, 897}  # TSC1 modes: all four codes are states
    | {1214, 1215, 1216, 1706}  # SPN, FMI, occurrence count and conversion method of a DTC
    | set(range(2837, 2845))  # the eight parts of a NAME ...
    | {2540}  # requested PGN
    | {162, 163}  # gear letters: two ASCII characters, kept as a number
    | {1480, 1482, 1483}  # address of the controlling device; SPN 1481 (brakes) is 255 where there is none
)  # fmt: skip
"""Parameters whose highest codes are values, so the ranges of SAE J1939-71 do not apply to them."""


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
    """Raw values of the multiplexer with which this signal is in the frame."""
    is_text: bool = False
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
    """One sentence a message that was left out because an earlier one has its PGN, id or name."""

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

    A message whose PGN (J1939), id and width (others) or name an earlier one has is left out and
    reported in `clashes`.

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
        for message in _parse(path, content, hashes[-1]):
            first = kept.get(message.key) or kept.get(message.name)
            if first is not None:
                clashes.append(_clash(message, path, *first))
                continue
            kept[message.key] = kept[message.name] = (message, path)
            messages.append(message)
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


def _decode_text(content: bytes) -> str:
    # The format names no encoding; Vector's tools write Windows-1252, most others UTF-8.
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def _check_whole(text: str, parsed: Any) -> None:
    """Raise ConfigError when statements were lost: the parser ends without a word at one that is cut off."""
    bare = _INDEPENDENT.sub("", _QUOTED.sub('""', text))
    n_messages, n_signals = len(_MESSAGE_LINE.findall(bare)), len(_SIGNAL_LINE.findall(bare))
    got_signals = sum(len(message.signals) for message in parsed.messages)
    if n_messages > len(parsed.messages) or n_signals > got_signals:
        got = f"{len(parsed.messages)} and {got_signals}"
        raise ConfigError(f"expected {n_messages} messages and {n_signals} signals, but got {got}: damaged or cut off")
    last_line = (bare.strip().splitlines() or [""])[-1]
    if _STATEMENT_LINE.match(last_line) and not last_line.endswith(";"):
        raise ConfigError("expected a ; at the end of the last statement, but got the end of the file: cut off")


def _parse(path: Path, content: bytes, sha256: str) -> list[MessagePlan]:
    try:
        text = _decode_text(content)
        # strict would refuse overlapping signals, which real files have; each is read on its own here.
        parsed: Any = cantools.database.load_string(text, database_format="dbc", strict=False)
        _check_whole(text, parsed)
        plans = [_message_plan(message, sha256) for message in parsed.messages]
    except ConfigError as reason:
        raise ConfigError(f"DBC {path}: {reason}") from None
    except Exception as reason:  # the parser raises many kinds on bad text
        first_line = (str(reason).splitlines() or [type(reason).__name__])[0]
        raise ConfigError(f"DBC {path}: expected a DBC file, but got: {first_line}") from None
    if not plans:
        raise ConfigError(f"DBC {path}: expected at least one message, but got none")
    return plans


def _message_plan(message: Any, sha256: str) -> MessagePlan:
    _check_name(message.name, "message")
    is_j1939 = message.protocol == "j1939" and message.is_extended_frame
    return MessagePlan(
        name=message.name,
        frame_id=message.frame_id,
        is_extended=message.is_extended_frame,
        pgn=pgn_of_id(message.frame_id) if is_j1939 else None,
        length=message.length,
        signals=tuple(_signal_plan(signal) for signal in message.signals),
        comment=message.comment or "",
        dbc_sha256=sha256,
    )


def _signal_plan(signal: Any) -> SignalPlan:
    _check_name(signal.name, "signal")
    spn = signal.spn or None
    is_text = signal.length > _WIDEST_NUMBER_BITS and signal.length % 8 == 0  # a number has 64 bits at most
    if signal.length > _WIDEST_NUMBER_BITS and not is_text:
        raise ConfigError(
            f"signal {signal.name}: expected at most 64 bits or whole bytes, but got {signal.length} bits"
        )
    return SignalPlan(
        name=signal.name,
        start=signal.start,
        length=signal.length,
        byte_order=signal.byte_order,
        is_signed=signal.is_signed,
        is_float=signal.is_float,
        scale=float(signal.scale),
        offset=float(signal.offset),
        minimum=None if signal.minimum is None else float(signal.minimum),
        maximum=None if signal.maximum is None else float(signal.maximum),
        unit=signal.unit or "",
        spn=spn,
        comment=signal.comment or "",
        is_multiplexer=signal.is_multiplexer,
        multiplexer_signal=signal.multiplexer_signal,
        multiplexer_ids=tuple(signal.multiplexer_ids or ()),
        is_text=is_text,
        is_masked=not is_text and spn not in UNMASKED_SPNS,
    )


def _check_name(name: str, what: str) -> None:
    # Names become file, table and column names, so nothing but the format's identifiers passes.
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{what} name: expected letters, digits and _, but got {name!r}")
