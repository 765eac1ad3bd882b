"""The header of ASC logs (Vector CANalyzer and CANoe, python-can), and telling such logs by their beginning.

What belongs here: `date`, `base` and `Begin Triggerblock` lines. They are few; the lines between them are
read by `pm.canbus.formats.asc`. Source: Vector, "CAN, Log & Trigger ASC Logging Format", chapter 3.1.
"""

import re
from datetime import UTC, datetime
from typing import Final, NamedTuple

from pm.canbus.formats.block import UTF8_MARK
from pm.canbus.formats.textscan import DECIMAL, HEX

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MONTHS: Final = {
    name: number
    for number, names in enumerate(
        ("jan", "feb", "mar mär mrz", "apr", "may mai", "jun", "jul", "aug", "sep", "oct okt", "nov", "dec dez"), 1
    )
    for name in names.split()
}
"""First letters of the months in English and German: Vector's tools write them in the language of Windows."""
_DATE: Final = re.compile(
    r"(?:date|begin\s+triggerblock)\s+[^\W\d]+\.?\s+(?P<month>[^\W\d]{3})[^\W\d]*\.?\s+(?P<day>\d{1,2})\s+"
    r"(?P<hour>\d{1,2}):(?P<minute>\d{2}):(?P<second>\d{2})(?:[.:](?P<fraction>\d{1,6}))?"
    r"\s*(?P<half>[ap]m)?\s+(?P<year>\d{4})\s*$",
    re.IGNORECASE,
)
_BASE: Final = re.compile(
    r"base\s+(?P<base>hex|dec)\b(?:.*\btimestamps\s+(?P<times>absolute|relative)\b)?", re.IGNORECASE
)
_WITHOUT_DATE: Final = re.compile(r"begin\s+triggerblock\s*$", re.IGNORECASE)
_HEAD: Final = re.compile(
    rb"^[ \t]*(?:"
    rb"date[ \t]+[^\s\d]+[ \t]+[^\s\d]+[ \t]+\d{1,2}[ \t]+\d{1,2}:\d\d:\d\d"
    rb"|base[ \t]+(?:hex|dec)\b"
    rb"|begin[ \t]+triggerblock"
    rb"|-?\d+\.\d+[ \t]+(?:\d+[ \t]+[0-9a-f]{1,10}x?[ \t]+(?:rx|tx)[ \t]+[dr]\b|canfd[ \t]+\d+[ \t]+(?:rx|tx)\b)"
    rb")",
    re.IGNORECASE | re.MULTILINE,
)


class HeaderLine(NamedTuple):
    """What one line of the header says; None where it says nothing."""

    start_us: int | None = None
    """Microseconds since 1970-01-01, the line's local time taken as UTC: it names no zone."""
    base: int | None = None
    """16 or 10: of identifiers, length codes and payload bytes."""
    is_relative: bool | None = None
    """Does each time count from the event before it?"""


def read_header_line(text: bytes) -> HeaderLine | None:
    """A line that begins with `date`, `base` or `Begin Triggerblock`; None if it is damaged."""
    line = _decoded(text).strip()
    if found := _BASE.match(line):
        times = found["times"]
        base = HEX if found["base"].lower() == "hex" else DECIMAL
        return HeaderLine(base=base, is_relative=times is not None and times.lower() == "relative")
    if _WITHOUT_DATE.match(line):
        return HeaderLine()
    start_us = _start_us(line)
    return None if start_us is None else HeaderLine(start_us=start_us)


def looks_like_asc(head: bytes) -> bool:
    """Has the beginning of a file a line of an ASC header, or a CAN frame as ASC writes them?"""
    return _HEAD.search(head.removeprefix(UTF8_MARK)) is not None


def _decoded(text: bytes) -> str:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        return text.decode("latin-1")  # "Mär" as Windows writes it


def _start_us(line: str) -> int | None:
    found = _DATE.match(line)
    month = _MONTHS.get(found["month"].lower()) if found else None
    if found is None or month is None:
        return None
    hour = int(found["hour"])
    if found["half"]:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if found["half"].lower() == "pm" else 0)
    try:
        start = datetime(
            int(found["year"]), month, int(found["day"]), hour, int(found["minute"]), int(found["second"]), tzinfo=UTC
        )
    except ValueError:
        return None
    since = start - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + _fraction_us(found["fraction"] or "0")


def _fraction_us(digits: str) -> int:
    """Up to three digits are a number of milliseconds: python-can writes 6 ms as `.6`, Vector as `.006`."""
    return int(digits) * 1000 if len(digits) <= 3 else int(digits.ljust(6, "0"))
