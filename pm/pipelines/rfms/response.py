"""One rFMS response: JSON bytes in, its records out, in plain Python.

What belongs here: the envelope (records, link to more, the server's clock) and what may be taken from a
text of a stranger. What the records mean is `pm.pipelines.rfms.statuses` and `pm.pipelines.rfms.fleet`.
"""

import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from pm.errors import DataError
from pm.pipelines.sifting import without_vin

VEHICLES: Final = "vehicles"
STATUSES: Final = "vehiclestatuses"
LARGEST_BYTES: Final = 32 * 1024 * 1024
"""Largest response that is read: as Python objects it takes about ten times as much."""
LONGEST_TEXT: Final = 200
_LONGEST_VIN: Final = 64
_RESPONSES: Final = {
    VEHICLES: ("vehicleResponse", "vehicles"),
    STATUSES: ("vehicleStatusResponse", "vehicleStatuses"),
}
_SHORTEST_HIDDEN: Final = 6
HIDDEN_VIN: Final = "VIN"


@dataclass(frozen=True)
class RfmsResponse:
    """A response; `kind` is `vehicles` or `vehiclestatuses`."""

    kind: str
    records: tuple[Any, ...]
    more: bool
    more_link: str | None
    server_at: datetime | None
    """requestServerDateTime: the server's clock when it received the request."""


def read_response(content: bytes, where: str, kind: str | None = None) -> RfmsResponse:
    """Take a response apart; NaN and Infinity, which are no JSON, are read as missing.

    Args:
        where: what the message names when the response cannot be used.
        kind: the only kind that is wanted; None: any.

    Raises:
        DataError: no JSON object, none of the known responses, or larger than `LARGEST_BYTES`.
    """
    if len(content) > LARGEST_BYTES:
        raise DataError(f"{where}: expected at most {LARGEST_BYTES} bytes, but got {len(content)}")
    try:
        document = json.loads(content, parse_constant=lambda _: None)
    except (ValueError, RecursionError) as reason:
        raise DataError(f"{where}: expected an rFMS response in JSON, but got: {_short(reason)}") from None
    found, records = _records(document, where)
    if kind not in (None, found):
        raise DataError(f"{where}: expected a response of /{kind}, but got one of /{found}")
    link = document.get("moreDataAvailableLink")
    return RfmsResponse(
        found,
        tuple(records),
        document.get("moreDataAvailable") is True,
        link if isinstance(link, str) and link else None,
        read_instant(document.get("requestServerDateTime")),
    )


def _records(document: Any, where: str) -> tuple[str, list[Any]]:
    for kind, (envelope, name) in _RESPONSES.items():
        body = document.get(envelope) if isinstance(document, dict) else None
        if isinstance(body, dict):
            records = body.get(name) or []
            if not isinstance(records, list):
                raise DataError(f"{where}: {envelope}.{name}: expected a list, but got {type(records).__name__}")
            return kind, records
    names = " or ".join(envelope for envelope, _ in _RESPONSES.values())
    raise DataError(f"{where}: expected an object with {names}, but got none")


def _short(reason: Exception) -> str:
    return " ".join(str(reason).split())[:LONGEST_TEXT] or type(reason).__name__


def read_instant(value: Any) -> datetime | None:
    """The UTC instant of an ISO 8601 text with an offset or Z; None for anything else."""
    if not isinstance(value, str) or len(value) > LONGEST_TEXT:
        return None
    try:
        parsed = datetime.fromisoformat(value.strip())
        return None if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def read_number(value: Any) -> float | None:
    """A finite number; None for anything else, booleans too."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def read_vin(value: Any) -> str | None:
    """The VIN in capitals, without blanks; None where there is no text of a bearable length."""
    if not isinstance(value, str) or len(value) > LONGEST_TEXT:
        return None
    vin = "".join(letter for letter in value.upper() if letter.isprintable() and not letter.isspace())
    return vin if 0 < len(vin) <= _LONGEST_VIN else None


def read_text(value: Any, vins: Iterable[str] = ()) -> str | None:
    """A text that may be stored: printable, at most `LONGEST_TEXT` characters, without VINs; None: none.

    A number is taken as its digits. `false` is read as OFF: a YAML 1.1 loader on the way makes that of
    the unquoted enumeration value OFF (and `true` of ON).
    """
    if isinstance(value, bool):
        return "ON" if value else "OFF"
    if isinstance(value, int | float):
        number = read_number(value)
        return None if number is None else f"{number:.15g}"
    return hide_vins(_printable(value), vins)[:LONGEST_TEXT] or None if isinstance(value, str) else None


def read_name(value: Any, vin: str) -> str | None:
    """A vehicle's name; None where there is none, or where a VIN stands in it."""
    name = _printable(value)[:LONGEST_TEXT] if isinstance(value, str) else ""
    return name if name and hide_vins(name, (vin,)) == name else None


def _printable(text: str) -> str:
    return "".join(letter for letter in text[: 10 * LONGEST_TEXT] if letter.isprintable()).strip()


def hide_vins(text: str, vins: Iterable[str] = ()) -> str:
    """`text` with the given VINs, and whatever else looks like one, made unreadable."""
    for vin in vins:
        if len(vin) >= _SHORTEST_HIDDEN and vin in text.upper():
            text = re.sub(re.escape(vin), HIDDEN_VIN, text, flags=re.IGNORECASE)
    return without_vin(text)


def is_usual_vin(vin: str) -> bool:
    """Whether a VIN has the form of ISO 3779: 17 letters and digits without I, O and Q.

    One that has not is stored all the same; the check digit is compulsory in North America only.
    """
    return re.fullmatch(r"[A-HJ-NPR-Z0-9]{17}", vin) is not None
