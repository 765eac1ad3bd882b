"""Which columns a table of CAN frames has, by its header.

What belongs here: the column names that tools write, and what stands above a header. A table is taken
only if its header names a time, an identifier and a payload. The rows are read by `csv_rows`.

Known headers and where they are known from:
- python-can `CSVWriter` (its source): `timestamp,arbitration_id,extended,remote,error,dlc,data`; the
  payload is base64, the time is in seconds since 1970.
- Vehicle Spy 3 (Intrepid), saved message buffer: lines of `name,value`, a table of networks with their
  protocols, then a header for each family of buses, of which the one with `Arb ID` is that of CAN:
  `Line,Abs Time(Sec),Rel Time (Sec),Status,Er,Tx,Description,Network,Node,Arb ID,Remote,Xtd,B1,...,B8,
  Value,Trigger,Signals` (newer ones: `Remote/EDL-BRS-ESI`). From public readers and writers of it
  (SavvyCAN's `framefileio.cpp` and its tests, CSU-RP1210's `vehicle_spy.py`); the manual's page on time
  stamps says that `Abs Time` counts from Vehicle Spy's start, which the lines above may name.
- Vector CANalyzer and CANoe, trace window to CSV: the columns are those shown in the window (`Time`,
  `Chn`, `ID`, `Name`, `Event Type`, `Dir`, `DLC`, `Data length`, `Data`), so they are found by name, in
  any order, with `,`, `;` or a tab between. No public example file was found to hold this against.
"""

import csv
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

LARGEST_HEAD_BYTES: Final = 65_536
"""How much of a file is searched for a header: a Vehicle Spy file has a hundred lines above it."""
MOST_COLUMNS: Final = 256
MOST_OTHER_NETWORKS: Final = 64

_NAMES: Final = {
    "time": ("abs time", "timestamp", "time"),
    "channel": ("chn", "channel", "can channel", "network", "bus"),
    "can_id": ("arb id", "arbid", "can id", "can_id", "arbitration_id", "identifier", "id"),
    "extended": ("xtd", "extended", "ide"),
    "remote": ("remote", "remote/edl-brs-esi", "rtr"),
    "error": ("er", "error"),
    "event": ("event type", "frame type"),
    "direction": ("dir",),
    "length": ("data length", "datalength", "length", "len", "dl"),
    "dlc": ("dlc",),
    "data": ("data", "data bytes", "databytes"),
    "rest": ("value",),
}
_CAN_ONLY: Final = frozenset(
    ("arb id", "arbid", "can id", "can_id", "arbitration_id", "dlc", "rtr", "ide", "xtd", "chn", "can channel", "dir")
)
"""At least one of these must be there: many a table has a time, an id and data."""
_UNITS: Final = {"": 6, "s": 6, "sec": 6, "seconds": 6, "ms": 3, "us": 0, "µs": 0}
"""Powers of ten from the unit of a time to microseconds."""
_NAME: Final = re.compile(r"(?P<name>.*?)\s*(?:[(\[](?P<unit>[^)\]]*)[)\]])?")
_BYTE: Final = re.compile(r"(?P<stem>b|d|db|byte|data|data byte)[ _]?(?P<number>\d{1,2})")
_SEPARATORS: Final = (",", ";", "\t")
_LONGEST_HEADER: Final = 16_384
_NOTED_TIME: Final = "%I:%M:%S %p"


@dataclass(frozen=True)
class CsvLayout:
    """Where a table of frames has what; columns are counted from 0, -1 for one that is not there."""

    separator: str
    columns: dict[str, int]
    first_byte: int
    """Column of the first payload byte, where every byte has its own."""
    n_bytes: int
    data_at: int
    """Place of the first row in the file, in bytes."""
    time_exponent: int
    is_base64: bool
    has_decimal_ids: bool
    start_us: int | None = None
    """Instant of time zero, if the lines above the header name it; a clock without a zone, taken as UTC."""
    other_networks: tuple[str, ...] = field(default=())
    """Networks that are no CAN buses."""


def csv_layout(head: bytes) -> CsvLayout | None:
    """Layout of the table that begins in `head`, the first bytes of a file; None if no header is known."""
    at = 0
    above: list[str] = []
    for line in head[:LARGEST_HEAD_BYTES].splitlines(keepends=True):
        at += len(line)
        text = line.decode("utf-8", "replace").removeprefix("\ufeff").strip()
        if len(text) > _LONGEST_HEADER:
            continue
        for separator in _SEPARATORS:
            layout = _layout(cells_of(text, separator), separator, at)
            if layout is not None:
                return _with_above(layout, above, head, cells_of(text, separator)[0])
        above.append(text)
    return None


def cells_of(line: str, separator: str) -> list[str]:
    """Cells of one line without the spaces and quotes around them."""
    if separator not in line:
        return []
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])]
    except csv.Error:
        return []


def _layout(cells: list[str], separator: str, data_at: int) -> CsvLayout | None:
    names, units = [], []
    for cell in cells[:MOST_COLUMNS]:
        match = _NAME.fullmatch(cell.lower())
        names.append(match["name"] if match else "")
        units.append((match["unit"] or "").strip() if match else "")
    columns = {role: _first_of(names, wanted) for role, wanted in _NAMES.items()}
    first_byte, n_bytes = _byte_columns(names)
    time, can_id = columns["time"], columns["can_id"]
    has_payload = n_bytes > 0 or columns["data"] >= 0
    if time < 0 or can_id < 0 or not has_payload or units[time] not in _UNITS or not _CAN_ONLY & set(names):
        return None
    if units[can_id] not in ("", "hex", "dec") or (columns["data"] >= 0 and units[columns["data"]] not in ("", "hex")):
        return None
    is_base64 = "arbitration_id" in names  # only python-can calls it so
    if is_base64:
        columns["length"] = columns["dlc"]  # python-can writes the number of bytes there, also above 8
        columns["dlc"] = -1
    return CsvLayout(
        separator=separator,
        columns=columns,
        first_byte=first_byte,
        n_bytes=n_bytes,
        data_at=data_at,
        time_exponent=_UNITS[units[time]],
        is_base64=is_base64,
        has_decimal_ids=units[can_id] == "dec",
    )


def _first_of(names: list[str], wanted: tuple[str, ...]) -> int:
    return next((names.index(name) for name in wanted if name in names), -1)


def _byte_columns(names: list[str]) -> tuple[int, int]:
    """(first column, count) of the longest run of columns such as B1, B2, ..., that begins at 0 or 1."""
    best = (-1, 0)
    for first, name in enumerate(names):
        begin = _BYTE.fullmatch(name)
        if begin is None or int(begin["number"]) > 1:
            continue
        n = 1
        while first + n < len(names) and n < 64:
            here = _BYTE.fullmatch(names[first + n])
            if here is None or here["stem"] != begin["stem"] or int(here["number"]) != int(begin["number"]) + n:
                break
            n += 1
        if n > best[1]:
            best = (first, n)
    return best


def _with_above(layout: CsvLayout, above: list[str], head: bytes, first_name: str) -> CsvLayout:
    """`layout` with what the lines above the header say, and behind further headers of other buses."""
    data_at = layout.data_at
    for line in head[data_at:LARGEST_HEAD_BYTES].splitlines(keepends=True):
        cells = cells_of(line.decode("utf-8", "replace").strip(), layout.separator)
        if not first_name or not cells or cells[0] != first_name:
            break
        data_at += len(line)
    rows = [cells_of(line, layout.separator) for line in above]
    return CsvLayout(
        **{
            **layout.__dict__,
            "data_at": data_at,
            "start_us": _start_us({row[0].lower(): row[1] for row in rows if len(row) > 1}),
            "other_networks": _other_networks(rows),
        }
    )


def _start_us(named: dict[str, str]) -> int | None:
    """Start that the lines above the header name: ISO 8601, or a date that can be read in one way only."""
    start = None
    try:
        if "iso8601 timestamp" in named:
            start = datetime.fromisoformat(named["iso8601 timestamp"].replace("/", "-"))
        elif "start date" in named and "start time" in named:
            first, second, year = (int(part) for part in named["start date"].split("/"))
            month, day = (first, second) if first <= 12 else (second, first)
            # 6/7/2018 is in June or in July: nothing in the file says which.
            if first > 12 or second > 12 or first == second:
                clock = datetime.strptime(named["start time"], _NOTED_TIME).replace(tzinfo=UTC)
                start = clock.replace(year=year, month=month, day=day)
        if start is None:
            return None
        start = start if start.tzinfo is not None else start.replace(tzinfo=UTC)
        return (start - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1)
    except (ValueError, OverflowError):
        return None


def _other_networks(rows: list[list[str]]) -> tuple[str, ...]:
    """Names in the table of networks whose protocol is not CAN."""
    others: dict[str, None] = {}
    in_table = False
    for row in rows:
        if len(row) >= 4 and row[0].lower() == "network description":
            in_table = True
        elif len(row) < 4:
            in_table = False
        elif in_table and row[3] and not row[3].upper().startswith("CAN"):
            others.update(dict.fromkeys(name for name in (row[0], row[2]) if name))
    return tuple(others)[:MOST_OTHER_NETWORKS]
