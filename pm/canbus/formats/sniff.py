"""Telling log formats apart by their first bytes.

What belongs here: what the beginning of a file of each format looks like, and a name for what is none. How
a format is read is the business of its reader.
"""

import re
from typing import Final, Literal

from pm.canbus.formats.asc_header import looks_like_asc
from pm.canbus.formats.block import UTF8_MARK
from pm.canbus.formats.csv_header import cells_of, csv_layout
from pm.canbus.formats.packed import packing_of
from pm.canbus.formats.trc_header import looks_like_trc

LogFormat = Literal["candump", "candump_screen", "asc", "blf", "trc", "csv", "mf4"]

SNIFFED_BYTES: Final = 65_536
EXPECTED: Final = "candump, ASC, BLF, TRC, MF4, or a CSV of python-can, Vector or Vehicle Spy"

_SNIFFED_LINES: Final = 200
_TIME: Final = rb"\((?:\d{1,12}|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\.\d{1,9}\) +"
_CHANNEL_AND_ID: Final = rb"[!-~]{1,32} +(?:[RT]X [B-] [E-] +)?(?:[0-9A-Fa-f]{8}|[0-9A-Fa-f]{3})"
_CANDUMP: Final = re.compile(_TIME + _CHANNEL_AND_ID + rb"#")
_SCREEN: Final = re.compile(rb" *" + _TIME + _CHANNEL_AND_ID + rb" +\[\d{1,2}\]")
_TIMELESS: Final = re.compile(rb" +" + _CHANNEL_AND_ID + rb" +\[\d{1,2}\]")

_OTHERS: Final = {
    b"BZh": "bzip2 (gzip, zstd and zip are unpacked)",
    b"\xfd7zXZ\0": "xz (gzip, zstd and zip are unpacked)",
    b"7z\xbc\xaf\x27\x1c": "7-Zip (gzip, zstd and zip are unpacked)",
    b"Rar!\x1a\x07": "RAR (gzip, zstd and zip are unpacked)",
    b"icsbin": "Vehicle Spy binary (VSB)",
    b"\x0a\x0d\x0d\x0a": "pcapng",
    b"\xd4\xc3\xb2\xa1": "pcap",
    b"PAR1": "Parquet",
}
_UTF16_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")
_SHOWN: Final = 120


def sniff(head: bytes) -> LogFormat | None:
    """Format of the file that begins with `head`, its first `SNIFFED_BYTES`; None if it is none we read."""
    if head.startswith(b"LOGG"):
        return "blf"
    if head.startswith((b"MDF     ", b"UnFinMF ")):
        return "mf4"
    text = head.removeprefix(UTF8_MARK)
    found = _sniff_candump(text)
    if found is not None:
        return found
    if looks_like_trc(text):
        return "trc"
    if looks_like_asc(text):
        return "asc"
    return "csv" if csv_layout(text) is not None else None


def _sniff_candump(text: bytes) -> LogFormat | None:
    for line in text.split(b"\n", _SNIFFED_LINES)[:_SNIFFED_LINES]:
        if _CANDUMP.match(line):
            return "candump"
        if _SCREEN.match(line):
            return "candump_screen"
    return None


def what_it_is(head: bytes) -> str:
    """Name for the beginning of a file that is no log: a packing, an encoding, a table's header, or its first line."""
    for magic, name in _OTHERS.items():
        if head.startswith(magic):
            return name
    packing = packing_of(head)
    if packing is not None:
        return f"{packing} within another packing"
    if head.startswith(_UTF16_MARKS) or _is_utf16(head):
        return "UTF-16 text (save it as UTF-8)"
    text = head.removeprefix(UTF8_MARK)
    if b"\0" in text:
        return "other binary data"
    lines = [line.decode("utf-8", "replace").strip() for line in text.splitlines()[:_SNIFFED_LINES]]
    if any(_TIMELESS.match(line) for line in text.splitlines()[:_SNIFFED_LINES]):
        return "candump text without times (candump -t a prints them)"
    for line in lines:
        if any(len(cells_of(line, separator)) >= 3 for separator in ",;\t"):
            return f"a table with {line[:_SHOWN]!r} in place of columns for time, CAN identifier and data bytes"
    return f"text that begins with {next((line for line in lines if line), '')[:_SHOWN]!r}"


def _is_utf16(head: bytes) -> bool:
    """Is every other byte of the first hundreds a zero, and no other?"""
    even, odd = head[:512:2], head[1:512:2]
    n = len(odd)
    return n >= 8 and max(even.count(0), odd.count(0)) > 0.9 * n and min(even.count(0), odd.count(0)) < 0.1 * n
