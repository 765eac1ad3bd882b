"""What is decided about storage, read from TOML: chunks, columnstore, and how long things are kept.

What belongs here: values that change what stands on the disk and no result of what is kept. Values
that change results are `pm.policy`.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from pm.asof import require_instant
from pm.errors import ConfigError
from pm.sections import load_sections

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST_D: Final = 36_500


@dataclass(frozen=True)
class Telemetry:
    """Signals, trouble codes and events."""

    chunk_d: int = 7
    """Days in one chunk of a telemetry table; also the step in which old rows go."""
    columnstore_after_d: int = 30
    """TimescaleDB Community: chunks that ended so many days ago go into the columnstore; 0: none."""
    keep_d: int = 0
    """Kept for at least so many days; 0: for ever. Daily aggregates stay."""


@dataclass(frozen=True)
class Archive:
    """Raw files."""

    keep_d: int = 0
    """Kept for so many days after their last frame; 0: for ever. The manifest stays."""


@dataclass(frozen=True)
class Work:
    """How the work is cut, so that others can go on beside it."""

    rows_a_transaction: int = 100_000
    """At most so many rows are deleted in one transaction, where no chunk can be dropped."""
    lock_timeout_s: float = 5.0
    """A table that is not free within this time is left for the next run."""


@dataclass(frozen=True)
class Upkeep:
    """The whole file."""

    telemetry: Telemetry = field(default_factory=Telemetry)
    archive: Archive = field(default_factory=Archive)
    work: Work = field(default_factory=Work)


def load_upkeep(path: Path) -> Upkeep:
    """Read the file; a key that is not there keeps its default.

    Raises:
        ConfigError: the file cannot be read, names an unknown key, or asks for what cannot hold.
    """
    upkeep = load_sections(path, Upkeep, "upkeep")
    telemetry, archive, work = upkeep.telemetry, upkeep.archive, upkeep.work
    days = f"of at most {_LONGEST_D} days"
    rules = (
        (1 <= telemetry.chunk_d <= 366, "[telemetry] chunk_d: expected 1 to 366 days"),
        (
            0 <= telemetry.columnstore_after_d <= _LONGEST_D,
            f"[telemetry] columnstore_after_d: expected 0, or a span {days}",
        ),
        (
            telemetry.keep_d == 0 or telemetry.chunk_d <= telemetry.keep_d <= _LONGEST_D,
            f"[telemetry] keep_d: expected 0, or a span from chunk_d on {days}",
        ),
        (0 <= archive.keep_d <= _LONGEST_D, f"[archive] keep_d: expected 0, or a span {days}"),
        (work.rows_a_transaction >= 1000, "[work] rows_a_transaction: expected at least 1000"),
        (0.1 <= work.lock_timeout_s <= 600, "[work] lock_timeout_s: expected 0.1 to 600 s"),
    )
    for holds, expected in rules:
        if not holds:
            raise ConfigError(f"upkeep {path}: {expected}, but the file says otherwise")
    return upkeep


def cutoff(now: datetime, *, keep_d: int, step_d: int = 1) -> datetime | None:
    """What happened before this instant is older than `keep_d` days; None where things are kept for ever.

    Rounded down to a multiple of `step_d` days since 1970-01-01 UTC. TimescaleDB puts the bounds of
    its chunks there, so whole chunks can go and next to no row has to be deleted by itself.

    Raises:
        DataError: `now` is not UTC.
    """
    if keep_d == 0:
        return None
    return step_start(require_instant(now, "now") - timedelta(days=keep_d), step_d)


def step_start(instant: datetime, step_d: int) -> datetime:
    """The last multiple of `step_d` days since 1970-01-01 UTC that is not after `instant`."""
    return _EPOCH + timedelta(days=(instant - _EPOCH).days // step_d * step_d)
