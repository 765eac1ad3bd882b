"""A small fleet whose first DBC file was wrong: what tests of redecoding ingest and decode again.

What belongs here: the two DBC files, the logs, and a program that redecodes and is killed on the way.
"""

import os
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from j1939_lines import coolant, engine_speed, trouble_code, vehicle_identification, written

PROJECT: Final = Path(__file__).resolve().parents[2]
GOOD: Final = PROJECT / "dbc" / "j1939_open_subset.dbc"
KNOWN_AT: Final = datetime(2026, 3, 10, tzinfo=UTC)
MIDNIGHT: Final = datetime(2026, 3, 3, tzinfo=UTC)
VIN: Final = "1PM00000000000001"
_OIL: Final = ' SG_ EngOilTemp1 : 16|16@1+ (0.03125,-273) [-273|1734.96875] "degC" Vector__XXX\n'


def seconds(at: datetime) -> int:
    return int(at.timestamp())


def wrong_dbc(folder: Path) -> Path:
    """As the good one, without the oil temperature and with a coolant temperature of half the scale."""
    text = GOOD.read_text(encoding="utf-8")
    wrong = text.replace(_OIL, "").replace("EngCoolantTemp : 0|8@1+ (1,-40)", "EngCoolantTemp : 0|8@1+ (0.5,-40)")
    lines = [line for line in wrong.splitlines(keepends=True) if "EngOilTemp1" not in line]
    assert len(lines) < len(text.splitlines()) - 1
    path = folder / "wrong.dbc"
    path.write_text("".join(lines), encoding="utf-8")
    return path


def logs_of(folder: Path) -> dict[str, tuple[Path, datetime]]:
    """Files with the instant they became known: over midnight, overlapping it, and a day of its own."""
    first, later = seconds(MIDNIGHT) - 4, seconds(MIDNIGHT) + 86_400
    over_midnight = written(
        folder / "over_midnight.log",
        *(coolant(first + at, 80 + at) for at in range(8)),
        *(engine_speed(first + at, 900 + at, source) for at in range(4) for source in (0, 3)),
        trouble_code(first + 3.5, 110, 0),
        vehicle_identification(first + 5, VIN),
    )
    overlapping = written(
        folder / "overlapping.log",
        *(coolant(first + 6 + at, 20 + at) for at in range(8)),
        trouble_code(first + 3.5, 110, 0, n_times=9),
        trouble_code(first + 8.5, 190, 2),
    )
    own_day = written(folder / "own_day.log", *(coolant(later + at, 60 + at) for at in range(5)))
    return {
        "over_midnight": (over_midnight, KNOWN_AT),
        "overlapping": (overlapping, KNOWN_AT + timedelta(days=1)),
        "own_day": (own_day, KNOWN_AT),
    }


def main(url: str, archive_address: str, spool_root: str, dbc: str, point: str, number: str) -> None:
    """Redecode all, in this process, and be killed before the `number`th call of `point` (module:function)."""
    from importlib import import_module

    from pm.pipelines.redecode import RedecodeRequest, redecode
    from pm.policy import Policy

    module_name, _, name = point.partition(":")
    module = import_module(module_name)
    setattr(module, name, _deadly(getattr(module, name), int(number)))
    request = RedecodeRequest(MIDNIGHT - timedelta(days=9), KNOWN_AT, (Path(dbc),), KNOWN_AT + timedelta(days=9))
    redecode(url, request, archive_address=archive_address, spool_root=Path(spool_root), policy=Policy())


def _deadly(function: Callable[..., Any], number: int) -> Callable[..., Any]:
    n_calls = 0

    def called(*arguments: Any, **named: Any) -> Any:
        nonlocal n_calls
        n_calls += 1
        if n_calls == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **named)

    return called


if __name__ == "__main__":
    main(*sys.argv[1:])
