"""One line of candump text by regular expressions: slow, and independent of the kernel that is tested."""

import re
from dataclasses import dataclass
from typing import Final, Literal

from pm.canbus.formats.block import ERROR_FRAME, MALFORMED_LINE, MAXIMUM_FRAME_BYTES, REMOTE_FRAME

Style = Literal["candump", "candump_screen"]

MAXIMUM_LINE: Final = 512
"""Longest line read, in bytes; a CAN FD frame on the screen needs about 240."""
ERROR_FLAG: Final = 0x20000000
LARGEST_EXTENDED: Final = 0x1FFFFFFF
LARGEST_STANDARD: Final = 0x7FF

_TIME: Final = rb"\((?P<seconds>\d{1,12})\.(?P<fraction>\d{1,9})\) +(?P<channel>[!-~]{1,32}) +"
_ID: Final = rb"(?P<id>[0-9A-Fa-f]{8}|[0-9A-Fa-f]{3})"
_LOG: Final = re.compile(_TIME + _ID + rb"#(?P<data>.*)", re.DOTALL)
_SCREEN: Final = re.compile(
    rb" *" + _TIME + rb"(?:[RT]X [B-] [E-] +)?" + _ID + rb" +\[(?P<length>\d{1,2})\](?: +(?P<data>.*))?", re.DOTALL
)
_LOG_DATA: Final = re.compile(rb"(?P<hex>(?:[0-9A-Fa-f]{2}){0,8})(?:_[0-9A-Fa-f])?(?: [RT])?")
_FD_DATA: Final = re.compile(rb"#[0-9A-Fa-f](?P<hex>(?:[0-9A-Fa-f]{2}){0,64})(?: [RT])?")
_SCREEN_DATA: Final = re.compile(rb"(?P<hex>[0-9A-Fa-f]{2}(?: [0-9A-Fa-f]{2}){0,63})(?:  .*)?", re.DOTALL)


@dataclass(frozen=True)
class LineFrame:
    """The data frame of one line."""

    time_us: int
    channel: str
    can_id: int
    is_extended: bool
    payload: bytes


def match_line(line: bytes, style: Style) -> re.Match[bytes] | None:
    """The parts of a line without its line end: seconds, fraction, channel, id, data and, on the screen, length."""
    return (_LOG if style == "candump" else _SCREEN).fullmatch(line)


def read_line(line: bytes, style: Style) -> LineFrame | str:
    """The frame of a line, or the reason why it gives none."""
    parts = match_line(line, style)
    if parts is None:
        return MALFORMED_LINE
    can_id = int(parts["id"], 16)
    is_extended = len(parts["id"]) == 8
    if is_extended and can_id & ERROR_FLAG:
        return ERROR_FRAME
    if can_id > (LARGEST_EXTENDED if is_extended else LARGEST_STANDARD):
        return MALFORMED_LINE
    is_log = style == "candump"
    payload = _log_payload(parts["data"]) if is_log else _screen_payload(parts["data"], int(parts["length"]))
    if isinstance(payload, str):
        return payload
    time_us = int(parts["seconds"]) * 1_000_000 + int(parts["fraction"].ljust(6, b"0")[:6])
    return LineFrame(time_us, parts["channel"].decode("ascii"), can_id, is_extended, payload)


def _log_payload(text: bytes) -> bytes | str:
    if text[:1] == b"R":
        return REMOTE_FRAME
    found = _LOG_DATA.fullmatch(text) or _FD_DATA.fullmatch(text)
    return MALFORMED_LINE if found is None else bytes.fromhex(found["hex"].decode("ascii"))


def _screen_payload(text: bytes | None, length: int) -> bytes | str:
    text = (text or b"").rstrip()
    if text.startswith(b"remote request"):
        return REMOTE_FRAME
    if text.startswith(b"ERRORFRAME"):
        return ERROR_FRAME
    if length == 0 and not text:
        return b""
    found = _SCREEN_DATA.fullmatch(text)
    payload = b"" if found is None else bytes.fromhex(found["hex"].decode("ascii"))
    return payload if found and len(payload) == length <= MAXIMUM_FRAME_BYTES else MALFORMED_LINE
