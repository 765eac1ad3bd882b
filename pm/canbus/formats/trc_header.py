"""The header of TRC logs (PEAK-System), and telling such logs by their beginning.

What belongs here: the lines that begin with `;` and what follows from them: the order of the columns and
the start. Source: PEAK-System, "PEAK CAN TRC File Format", 2023-08-22.
"""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

import numpy as np

from pm.canbus.formats.block import I64, RELATIVE_BEFORE_US, UTF8_MARK

OFFSET, TYPE, DIRECTION, BUS, IDENTIFIER, BYTES, CODE, OTHER_COLUMN = range(8)
"""What a column holds. The length is given as `BYTES` or as length `CODE`; versions 1.1 to 1.3 say in the
column of the direction as well that a line is a warning or an error."""
MAJOR, N_COLUMNS, FIRST_COLUMN = range(3)
"""Places in a layout: the version's first number, how many columns there are before the payload (0: not
known yet), and what they hold."""
MOST_COLUMNS: Final = 16

_COLUMNS: Final = {"O": OFFSET, "T": TYPE, "d": DIRECTION, "B": BUS, "I": IDENTIFIER, "l": BYTES, "L": CODE}
_OF_VERSION_1: Final = {"0": "N,O,I,L,D", "1": "N,O,d,I,L,D", "2": "N,O,B,d,I,L,D", "3": "N,O,B,d,I,R,L,D"}

_KEYWORD: Final = re.compile(r";\s*\$(?P<name>FILEVERSION|STARTTIME|COLUMNS)\s*=\s*(?P<value>.*?)[\s;]*$")
_VERSION: Final = re.compile(r"(?P<major>\d{1,2})\.(?P<minor>\d)")
_DAYS: Final = re.compile(r"\d{1,7}(?:[.,]\d{1,20})?")
_LAST_DAY: Final = 2_958_465  # 9999-12-31
_EPOCH_DAY: Final = 25_569
"""1970-01-01 in days since 1899-12-30, the zero of OLE dates."""
_DAY_US: Final = 86_400_000_000

_START: Final = re.compile(
    r";\s*Start time:\s*(?:(?P<d>\d{1,2})\.(?P<m>\d{1,2})\.(?P<y>\d{4})|(?P<Y>\d{4})-(?P<M>\d\d)-(?P<D>\d\d))\s+"
    r"(?P<hour>\d{1,2}):(?P<minute>\d\d):(?P<second>\d\d)(?P<fraction>(?:\.\d{1,6}){0,2})"
    r"(?:(?P<sign>[+-])(?P<zone_hour>\d\d):(?P<zone_minute>\d\d))?\s*$",
    re.IGNORECASE,
)
_HEAD_KEYWORD: Final = re.compile(rb"^[ \t]*;\$(?:FILEVERSION|STARTTIME|COLUMNS)=", re.MULTILINE)
_HEAD_LINE: Final = re.compile(
    rb"[ \t]*\d+\)[ \t]+-?\d+(?:\.\d+)?[ \t]+"
    rb"(?:[0-9A-F]{3,8}[ \t]+\d|(?:\d+[ \t]+)?(?:Rx|Tx|Error|Warng)[ \t]+[0-9A-F]{3,8}[ \t])"
)


def layout_of(columns: str, major: int) -> I64:
    """Layout of a list of columns such as `N,O,T,I,d,l,D`.

    Raises:
        ValueError: a column that is needed is missing, the payload does not come last, or the type comes
            behind columns that lines other than frames do not have.
    """
    names = [name.strip() for name in columns.split(",")]
    needed = ["O", "I", "D"] if major < 2 else ["O", "T", "I", "D"]
    is_good = set(needed) <= set(names) and ("l" in names) != ("L" in names) and names[-1] == "D"
    is_good = is_good and (major < 2 or names.index("T") < names.index("I"))
    if not is_good or len(set(names)) < len(names) or len(names) > MOST_COLUMNS:
        raise ValueError(f"expected columns O, T, I, l or L, and D at the end, but got {columns[:80]!r}")
    layout = np.zeros(FIRST_COLUMN + MOST_COLUMNS, dtype=np.int64)
    layout[MAJOR], layout[N_COLUMNS] = major, len(names) - 1
    layout[FIRST_COLUMN : FIRST_COLUMN + len(names)] = [_COLUMNS.get(name, OTHER_COLUMN) for name in names]
    return layout


def layout_of_version(value: str) -> I64:
    """Layout of `$FILEVERSION`; from 2.0 on it has no columns until `$COLUMNS` names them.

    Raises:
        ValueError: no such version is known.
    """
    found = _VERSION.match(value)
    major, minor = (int(found["major"]), found["minor"]) if found else (0, "")
    if major >= 2:
        layout = np.zeros(FIRST_COLUMN + MOST_COLUMNS, dtype=np.int64)
        layout[MAJOR] = major
        return layout
    if major == 1 and minor in _OF_VERSION_1:
        return layout_of(_OF_VERSION_1[minor], 1)
    raise ValueError(f"expected TRC version 1.0 to 1.3 or from 2.0 on, but got {value[:20]!r}")


def read_keyword(line: str) -> tuple[str, str] | None:
    """(`FILEVERSION`, `STARTTIME` or `COLUMNS`, its value) of a line of the header."""
    found = _KEYWORD.match(line.strip())
    return (found["name"], found["value"]) if found else None


def start_of_days(value: str) -> int | None:
    """Microseconds since 1970-01-01 of `$STARTTIME`, days since 1899-12-30 as a decimal number.

    The value has no zone; it is taken as UTC. None if it is damaged or before 1980, as loggers without a
    clock write it.
    """
    found = _DAYS.fullmatch(value)
    days = Decimal(found[0].replace(",", ".")) if found else Decimal(0)
    if days > _LAST_DAY:
        return None
    start_us = round((days - _EPOCH_DAY) * _DAY_US)
    return start_us if start_us >= RELATIVE_BEFORE_US else None


def start_of_comment(line: str) -> int | None:
    """Microseconds since 1970-01-01 of `; Start time: 11.09.2002 16:00:20.682`, the only start in version 1.0.

    Dates with slashes are not read: PEAK's tools write day and month in the order of Windows. A fraction
    may have a second dot (`.317.3` is 317.3 ms). Without a zone the time is taken as UTC.
    """
    found = _START.match(line.strip())
    if found is None:
        return None
    year, month, day = (int(found[short] or found[long]) for short, long in (("y", "Y"), ("m", "M"), ("d", "D")))
    try:
        start = datetime(year, month, day, int(found["hour"]), int(found["minute"]), int(found["second"]), tzinfo=UTC)
    except ValueError:
        return None
    start_us = (start - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    start_us += int(found["fraction"].replace(".", "").ljust(6, "0")[:6])
    if found["sign"]:
        ahead_us = (int(found["zone_hour"]) * 60 + int(found["zone_minute"])) * 60_000_000
        start_us += -ahead_us if found["sign"] == "+" else ahead_us
    return start_us if start_us >= RELATIVE_BEFORE_US else None


def looks_like_trc(head: bytes) -> bool:
    """Has the beginning of a file a keyword of a TRC header, or comments and then a line of version 1.0?"""
    text = head.removeprefix(UTF8_MARK)
    for line in text.splitlines():
        if line.startswith(b";$"):
            return _HEAD_KEYWORD.match(line) is not None
        if line.strip() and not line.lstrip().startswith(b";"):
            return _HEAD_LINE.match(line) is not None
    return False
