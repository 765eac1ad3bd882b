"""DBC files, payloads and logs that hypothesis makes up, and what cantools and a small model say they hold.

Overlapping signals are each read by cantools from a message of their own: its codec of one message
shifts signals that overlap.
"""

import math
from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from random import Random
from typing import Any

import cantools
from hypothesis import strategies as st

HEAD = 'VERSION ""\nNS_ :\nBS_:\nBU_:\n'
J1939 = (
    'BA_DEF_ BO_ "VFrameFormat" ENUM "StandardCAN","ExtendedCAN","reserved","J1939PG";\n'
    'BA_DEF_DEF_ "VFrameFormat" "StandardCAN";\n'
)
CLASSIC_LENGTHS = tuple(range(9))
FD_LENGTHS = (12, 16, 20, 24, 32, 48, 64)
OTHER_ROLES = frozenset({0xEC00, 0xEB00, 0xFECA, 0xFECB, 0xC700, 0xC800})
"""PGNs of the transport protocols and of DM1 and DM2: no message is made up for them."""
EDGES = (0, 1, 3, 0x7F, 0x80, 0xFA, 0xFB, 0xFD, 0xFE, 0xFF)
START_US = 1_600_000_000_000_000
SCALES = (("1", "0"), ("1", "0"), ("0.125", "0"), ("0.05", "-1606.4"), ("-1", "0"), ("-0.5", "1000"), ("1e-07", "-210"),
          ("3", "-125"), ("0", "7"))  # fmt: skip

Series = tuple[str, int, int]
"""Channel, source and destination address."""


@dataclass(frozen=True)
class Signal:
    name: str
    start: int
    length: int
    is_little: bool
    is_signed: bool
    float_kind: int
    """As in SIG_VALTYPE_: 0 no float, 1 of 32 bits, 2 of 64 bits."""
    scale: str
    offset: str
    is_multiplexer: bool = False
    multiplexer: str | None = None
    ranges: tuple[tuple[int, int], ...] = ()

    @property
    def first_bit(self) -> int:
        return self.start if self.is_little else self.start ^ 7

    @property
    def bits(self) -> set[int]:
        """Each bit as 8 * byte + place from the lowest."""
        order = range(self.first_bit, self.first_bit + self.length)
        return set(order) if self.is_little else {bit ^ 7 for bit in order}

    def line(self, mark: str = "") -> str:
        sign = "-" if self.is_signed or self.float_kind else "+"
        place = f"{self.start}|{self.length}@{int(self.is_little)}{sign}"
        return f' SG_ {self.name} {mark}: {place} ({self.scale},{self.offset}) [0|0] "" X\n'

    def mark(self) -> str:
        number = "" if self.multiplexer is None else f"m{self.ranges[0][0]}"
        return f"{number}{'M' if self.is_multiplexer else ''} "


@dataclass(frozen=True)
class Message:
    name: str
    can_id: int
    is_extended: bool
    is_j1939: bool
    length: int
    signals: tuple[Signal, ...]

    @property
    def file_id(self) -> int:
        return self.can_id | (1 << 31 if self.is_extended else 0)

    @property
    def overlaps(self) -> bool:
        return sum(signal.length for signal in self.signals) > len(set().union(*(s.bits for s in self.signals)))

    def dbc(self) -> str:
        return f"BO_ {self.file_id} {self.name}: {self.length} X\n" + "".join(s.line(s.mark()) for s in self.signals)

    def statements(self) -> str:
        said = [f'BA_ "VFrameFormat" BO_ {self.file_id} 3;\n'] if self.is_j1939 else []
        for s in self.signals:
            if s.float_kind:
                said.append(f"SIG_VALTYPE_ {self.file_id} {s.name} : {s.float_kind};\n")
            if s.multiplexer is not None and not self._is_simple(s):
                listed = ", ".join(f"{low}-{high}" for low, high in s.ranges)
                said.append(f"SG_MUL_VAL_ {self.file_id} {s.name} {s.multiplexer} {listed};\n")
        return "".join(said)

    def _is_simple(self, signal: Signal) -> bool:
        """The mark on its line says all."""
        ((low, high), *others) = signal.ranges
        return low == high and not others and sum(s.is_multiplexer for s in self.signals) == 1

    @cached_property
    def whole(self) -> Any:
        """cantools' message."""
        return cantools.database.load_string(dbc_text([self]), "dbc", strict=False).messages[0]

    @cached_property
    def _alone(self) -> dict[str, Any]:
        alone = {}
        for s in self.signals:
            text = f"{HEAD}BO_ 1 M: {self.length} X\n{s.line()}"
            text += f"SIG_VALTYPE_ 1 {s.name} : {s.float_kind};\n" if s.float_kind else ""
            alone[s.name] = cantools.database.load_string(text, "dbc").messages[0]
        return alone

    def _read(self, signal: Signal, payload: bytes, *, scaling: bool) -> Any:
        message = self._alone[signal.name]
        return message.decode(payload, decode_choices=False, scaling=scaling, allow_truncated=True).get(signal.name)

    def raw(self, signal: Signal, payload: bytes) -> int | None:
        """The signal's bits as a number without sign; None where they are not all there."""
        found = self._read(signal, payload, scaling=False)
        return None if found is None else int(found) & ((1 << signal.length) - 1)

    def is_there(self, signal: Signal, payload: bytes) -> bool:
        if 8 * len(payload) < signal.first_bit + signal.length:
            return False
        if signal.multiplexer is None:
            return True
        above = next(s for s in self.signals if s.name == signal.multiplexer)
        raw = self.raw(above, payload)
        inside = any(low <= raw <= high for low, high in signal.ranges) if raw is not None else False
        return inside and self.is_there(above, payload)

    def has_unknown_multiplexer(self, payload: bytes) -> bool:
        for above in self.signals:
            ranges = [each for s in self.signals if s.multiplexer == above.name for each in s.ranges]
            if ranges and self.is_there(above, payload):
                raw = self.raw(above, payload)
                if raw is not None and not any(low <= raw <= high for low, high in ranges):
                    return True
        return False

    def null_reason(self, signal: Signal, payload: bytes) -> str | None:
        """What a raw number says that is no measurement (of integers: J1939-71). None: it is one, or is not there."""
        if not self.is_there(signal, payload):
            return None
        if signal.float_kind and not math.isfinite(self._read(signal, payload, scaling=True)):
            return "not_finite"
        if not self.is_j1939 or signal.is_signed or signal.float_kind:
            return None
        raw = self.raw(signal, payload)
        assert raw is not None
        if signal.length == 2:
            return {2: "error", 3: "not_available"}.get(raw)
        if signal.length % 8 == 0:
            top = raw >> (signal.length - 8)
            names = {0xFF: "not_available", 0xFE: "error", 0xFD: "reserved", 0xFC: "reserved", 0xFB: "reserved"}
            return names.get(top)
        return "not_available" if signal.length > 1 and raw + 1 == 1 << signal.length else None

    def values(self, payload: bytes) -> dict[str, float | None]:
        """Physical values; None where a signal is not there or says no number."""
        found: dict[str, float | None] = {}
        for signal in self.signals:
            value = None
            if self.is_there(signal, payload) and self.null_reason(signal, payload) is None:
                value = float(self._read(signal, payload, scaling=True))
            found[signal.name] = None if value is None or not math.isfinite(value) else value
        return found


def dbc_text(messages: list[Message]) -> str:
    return HEAD + "\n".join(m.dbc() for m in messages) + J1939 + "".join(m.statements() for m in messages)


def pgn(can_id: int) -> int:
    wide = can_id >> 8 & 0x3FFFF
    return wide if can_id >> 16 & 0xFF >= 240 else wide & 0x3FF00


@st.composite
def signals(draw: st.DrawFn, name: str, message_bits: int, *, is_multiplexer: bool = False) -> Signal:
    float_kind = 0 if is_multiplexer or message_bits < 32 else draw(st.sampled_from([0, 0, 0, 1, 2]))
    if float_kind == 2 and message_bits < 64:
        float_kind = 1
    widths = st.integers(1, min(64, message_bits))
    common = st.sampled_from([width for width in (1, 2, 4, 8, 16, 24, 32) if width <= message_bits])
    narrow = st.integers(1, min(8, message_bits))
    length = {1: 32, 2: 64}.get(float_kind) or draw(narrow if is_multiplexer else st.one_of(widths, common))
    first = draw(st.integers(0, message_bits - length))
    is_little = draw(st.booleans())
    scale, offset = ("1", "0") if is_multiplexer else draw(st.sampled_from(SCALES))
    is_signed = not is_multiplexer and not float_kind and draw(st.booleans())
    start = first if is_little else first ^ 7
    return Signal(name, start, length, is_little, is_signed, float_kind, scale, offset, is_multiplexer)


@st.composite
def ranges_of(draw: st.DrawFn, above: Signal) -> tuple[tuple[int, int], ...]:
    edges = draw(st.lists(st.integers(0, (1 << above.length) - 1), min_size=1, max_size=3, unique=True))
    top = (1 << above.length) - 1
    return tuple((low, min(top, low + draw(st.sampled_from([0, 0, 3])))) for low in sorted(edges))


@st.composite
def messages(draw: st.DrawFn, name: str) -> Message:
    """One message; its signals overlap in every second one."""
    is_extended = draw(st.booleans())
    is_j1939 = is_extended and draw(st.booleans())
    ids = st.integers(0, (1 << 29) - 1) if is_extended else st.integers(0, 0x7FF)
    can_id = draw(ids.filter(lambda number: not is_extended or pgn(number) not in OTHER_ROLES))
    length = draw(st.one_of(st.integers(1, 8), st.just(8), st.sampled_from(FD_LENGTHS)))
    may_overlap = draw(st.booleans())
    made: list[Signal] = []
    used: set[int] = set()
    above: list[Signal] = []
    n_multiplexers = draw(st.sampled_from([0, 0, 1, 2]))
    for number in range(draw(st.integers(1, 8))):
        is_multiplexer = number < n_multiplexers
        named = draw(st.sampled_from(["time", "channel"])) if number == 5 else f"S{number}"
        signal = draw(signals(named, 8 * length, is_multiplexer=is_multiplexer))
        if used & signal.bits and not (may_overlap and not is_multiplexer):
            continue
        if above and (is_multiplexer or draw(st.booleans())):
            parent = draw(st.sampled_from(above))
            signal = replace(signal, multiplexer=parent.name, ranges=draw(ranges_of(parent)))
        if is_multiplexer:
            above.append(signal)
        used |= signal.bits
        made.append(signal)
    with_signals = {s.multiplexer for s in made}
    made = [replace(s, is_multiplexer=s.name in with_signals) for s in made]
    return Message(name, can_id, is_extended, is_j1939, length, tuple(made))


def key_of(message: Message) -> tuple[object, ...]:
    """What a frame must have to be this message."""
    return ("pgn", pgn(message.can_id)) if message.is_j1939 else (message.can_id, message.is_extended)


def distinct(found: list[Message]) -> list[Message]:
    """Those that can stand in one file: the first of each key, and of each id, to which attributes go."""
    kept: list[Message] = []
    for message in found:
        if all(key_of(message) != key_of(other) and message.file_id != other.file_id for other in kept):
            kept.append(message)
    return kept


@st.composite
def databases(draw: st.DrawFn, most: int = 5) -> list[Message]:
    """1 to `most` messages of different ids and PGNs; sometimes a standard and an extended id of one number."""
    made: list[Message] = []
    for number in range(draw(st.integers(1, most))):
        message = draw(messages(f"M{number}"))
        standard = [m for m in made if not m.is_extended]
        if standard and message.is_extended and not message.is_j1939 and draw(st.booleans()):
            message = replace(message, can_id=standard[0].can_id)
        made.append(message)
    return distinct(made)


@dataclass(frozen=True)
class Frame:
    time_us: int
    channel: str
    can_id: int
    is_extended: bool
    payload: bytes
    message: Message | None

    def line(self) -> str:
        mark = "#" if len(self.payload) <= 8 else "##1"
        width = 8 if self.is_extended else 3
        seconds, rest = divmod(self.time_us, 1_000_000)
        return f"({seconds}.{rest:06d}) {self.channel} {self.can_id:0{width}X}{mark}{self.payload.hex().upper()}\n"

    @property
    def series(self) -> Series:
        if not self.is_extended:
            return self.channel, -1, -1
        addressed = self.can_id >> 16 & 0xFF < 240
        return self.channel, self.can_id & 0xFF, self.can_id >> 8 & 0xFF if addressed else 255


def payload_of(length: int, rng: Random) -> bytes:
    """Random bytes, of another length than the message in every third payload; top codes are frequent."""
    fitting = [n for n in (*CLASSIC_LENGTHS, *FD_LENGTHS) if n <= max(8, length)]
    size = rng.choice(fitting) if length not in fitting or rng.random() < 0.33 else length
    if rng.random() < 0.5:
        return rng.randbytes(size)
    return bytes(rng.choice((*EDGES, rng.randrange(256))) for _ in range(size))


def frame_of(database: list[Message], time_us: int, rng: Random) -> Frame:
    """A frame of one of the messages, of any address if it is J1939; sometimes of another identifier."""
    channel = rng.choice(("can0", "can1", "vcan10"))
    message = rng.choice(database)
    is_extended, can_id = message.is_extended, message.can_id
    if rng.random() < 0.1:
        is_extended = not is_extended
        can_id = can_id & 0x7FF if rng.random() < 0.5 else rng.randrange(1 << 29 if is_extended else 1 << 11)
    elif message.is_j1939:
        is_global = can_id >> 16 & 0xFF >= 240
        specific = 0 if is_global else rng.randrange(4) << 8
        keeps = can_id & (0x3FFFF00 if is_global else 0x3FF0000)
        can_id = rng.randrange(8) << 26 | keeps | specific | rng.randrange(4)
    payload = payload_of(message.length, rng)
    return Frame(time_us, channel, can_id, is_extended, payload, message_of(database, can_id, is_extended=is_extended))


def message_of(database: list[Message], can_id: int, *, is_extended: bool) -> Message | None:
    """The message a frame is: one of exactly its id, else one of its PGN."""
    for message in database:
        if not message.is_j1939 and (message.can_id, message.is_extended) == (can_id, is_extended):
            return message
    by_pgn = {pgn(message.can_id): message for message in database if message.is_j1939}
    return by_pgn.get(pgn(can_id)) if is_extended else None


def log_of(database: list[Message], seed: int, *, most: int = 40) -> list[Frame]:
    """1 to `most` frames in the order of a log; its clock sometimes stands or steps back.

    Made by a generator of its own: drawn frame by frame, hypothesis would take most of the time.
    """
    rng = Random(seed)
    time_us, made = START_US, []
    n_frames = rng.randint(1, most)
    while len(made) < n_frames:
        time_us += rng.choice((0, 1, 999, 250_000, 1_000_000, -400_000))
        frame = frame_of(database, time_us, rng)
        if frame.message is not None or not frame.is_extended or pgn(frame.can_id) not in OTHER_ROLES:
            made.append(frame)
    return made


def n_backward(log: list[Frame]) -> int:
    """Frames whose time is before that of the frame before."""
    return sum(after.time_us < before.time_us for before, after in pairwise(log))


def null_counts(log: list[Frame]) -> dict[str, dict[str, dict[str, int]]]:
    """Message -> signal -> reason -> frames, where there are any."""
    found: dict[str, dict[str, Counter[str]]] = {}
    for frame in log:
        if frame.message is None:
            continue
        for signal in frame.message.signals:
            reason = frame.message.null_reason(signal, frame.payload)
            if reason is not None:
                found.setdefault(frame.message.name, {}).setdefault(signal.name, Counter())[reason] += 1
    return {name: {signal: dict(counts) for signal, counts in of.items()} for name, of in found.items()}


def periods(log: list[Frame], period_us: int) -> list[Frame]:
    """The frames sampling keeps: the last one of each run of a series in one period."""
    last: dict[tuple[str, Series], int] = {}
    dropped = set()
    for at, frame in enumerate(log):
        if frame.message is None:
            continue
        key = frame.message.name, frame.series
        before = last.get(key)
        if before is not None and log[before].time_us // period_us == frame.time_us // period_us:
            dropped.add(before)
        last[key] = at
    return [frame for at, frame in enumerate(log) if frame.message is not None and at not in dropped]
