"""What a DBC file says beside the parser, and whether its text is safe to parse.

What belongs here: the encoding, limits on numbers that would let the parser take memory or time
without bound, extended multiplexing and long names (both lose or explode in cantools 45.1), and the
check that nothing was cut off. Plans are made in `pm.canbus.dbc`.
"""

import re
from dataclasses import dataclass, field
from typing import Any, Final

MAXIMUM_FILE_BYTES: Final = 1 << 25
"""The largest real files (all of SAE J1939) have some 5 MB."""
MAXIMUM_MESSAGE_BYTES: Final = 4_096
"""ISO-TP carries up to 4,095 bytes, J1939 transport 1,785."""
MAXIMUM_MULTIPLEXER_IDS: Final = 1_000_000
"""In all lists of a file together; a list of all values of 16 bits has 65,536."""
IdRanges = list[tuple[int, int]]

# As the parser splits text: strings and comments first, so that nothing in them counts.
_PARTS: Final = re.compile(
    r'BA_[ \t]+"SystemSignalLongSymbol"\s+SG_\s+(?P<long_id>\d+)\s+(?P<short>\w+)\s+"(?P<long>(?:\\"|[^"])*?)"\s*;'
    r"|SG_MUL_VAL_\s+(?P<mux_id>\d+)\s+(?P<signal>\w+)\s+(?P<mux>\w+)\s+(?P<ranges>\d+\s*[+-]\s*\d+(?:\s*,\s*\d+\s*[+-]\s*\d+)*)\s*;"
    r'|(?P<string>"(?:\\"|[^"])*?")|(?P<comment>//[^\n]*)'
)
_RANGE: Final = re.compile(r"(\d+)\s*[+-]\s*(\d+)")
_STRING: Final = re.compile(r'"(?:\\"|[^"])*?"')
_MESSAGE_LENGTH: Final = re.compile(r"\bBO_\s+[-+]?\d+\s+\w+\s*:\s*([-+]?\d+)")
_SIGNAL_BITS: Final = re.compile(r":\s*([-+]?\d+)\s*\|\s*([-+]?\d+)\s*@")
# Holds signals that belong to no message; the parser leaves it out.
_INDEPENDENT: Final = re.compile(
    r"^[ \t]*BO_[ \t]+\d+[ \t]+VECTOR__INDEPENDENT_SIG_MSG\b.*\n(?:[ \t]*SG_[ \t].*\n?)*", re.MULTILINE
)
_MESSAGE_LINE: Final = re.compile(r"^[ \t]*BO_[ \t]+\d", re.MULTILINE)
_SIGNAL_LINE: Final = re.compile(r"^[ \t]*SG_[ \t]", re.MULTILINE)
_STATEMENT_LINE: Final = re.compile(r"[ \t]*(BA_|CM_|VAL_|SIG_|BO_TX_BU_|EV_|SG_MUL_VAL_|ENVVAR_)")


@dataclass(frozen=True)
class DbcText:
    """One DBC file's text, parted into what the parser gets and what is read here."""

    text: str
    """For the parser: without comments, extended multiplexing and long signal names."""
    multiplexers: dict[tuple[int, str], tuple[str, IdRanges]] = field(default_factory=dict)
    """Id as in the file and signal -> its multiplexer and the ranges of its raw values (SG_MUL_VAL_)."""
    long_names: dict[tuple[int, str], str] = field(default_factory=dict)
    """Id as in the file and signal -> the name that did not fit into 32 characters."""


def read_text(content: bytes) -> DbcText:
    """Split the bytes of a DBC file.

    Raises:
        ValueError: the file is too large, or declares more bytes, bits or multiplexer values than any bus has.
    """
    if len(content) > MAXIMUM_FILE_BYTES:
        raise ValueError(f"expected at most {MAXIMUM_FILE_BYTES} bytes, but got {len(content)}")
    found = DbcText("")

    def take(part: re.Match[str]) -> str:
        if part["short"]:
            found.long_names[int(part["long_id"]), part["short"]] = part["long"]
            return ""
        if part["signal"]:
            ranges = [(int(low), int(high)) for low, high in _RANGE.findall(part["ranges"])]
            found.multiplexers[int(part["mux_id"]), part["signal"]] = part["mux"], ranges
            return ""
        return part["string"] or ""

    text = _PARTS.sub(take, _decode(content))
    _check_numbers(_STRING.sub('""', text))
    n_ids = sum(max(high - low + 1, 0) for _, ranges in found.multiplexers.values() for low, high in ranges)
    if n_ids > MAXIMUM_MULTIPLEXER_IDS:
        raise ValueError(f"expected at most {MAXIMUM_MULTIPLEXER_IDS} multiplexer values, but got {n_ids}")
    return DbcText(text, found.multiplexers, found.long_names)


def _decode(content: bytes) -> str:
    # The format names no encoding; Vector's tools write Windows-1252, most others UTF-8.
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def _check_numbers(bare: str) -> None:
    if re.search(r"\bSG_MUL_VAL_\s+[-+]?\d", bare):
        raise ValueError("expected SG_MUL_VAL_ <id> <signal> <multiplexer> <low>-<high>, ...; but got another form")
    for length in _MESSAGE_LENGTH.findall(bare):
        if _is_outside(length, MAXIMUM_MESSAGE_BYTES):
            raise ValueError(f"expected messages of 0 to {MAXIMUM_MESSAGE_BYTES} bytes, but got {length[:20]}")
    for bits in _SIGNAL_BITS.findall(bare):
        if any(_is_outside(number, 8 * MAXIMUM_MESSAGE_BYTES) for number in bits):
            most = 8 * MAXIMUM_MESSAGE_BYTES
            raise ValueError(f"expected a start bit and a length of 0 to {most}, but got {'|'.join(bits)[:40]}")


def _is_outside(number: str, most: int) -> bool:
    return len(number) > 9 or not 0 <= int(number) <= most


def check_whole(text: str, parsed: Any) -> None:
    """Raise ValueError when statements were lost: the parser ends without a word at one that is cut off."""
    bare = _INDEPENDENT.sub("", _STRING.sub('""', text))
    n_messages, n_signals = len(_MESSAGE_LINE.findall(bare)), len(_SIGNAL_LINE.findall(bare))
    got_signals = sum(len(message.signals) for message in parsed.messages)
    if n_messages > len(parsed.messages) or n_signals > got_signals:
        got = f"{len(parsed.messages)} and {got_signals}"
        raise ValueError(f"expected {n_messages} messages and {n_signals} signals, but got {got}: damaged or cut off")
    last_line = (bare.strip().splitlines() or [""])[-1]
    if _STATEMENT_LINE.match(last_line) and not last_line.endswith(";"):
        raise ValueError("expected a ; at the end of the last statement, but got the end of the file: cut off")
