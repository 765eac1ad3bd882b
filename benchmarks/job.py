"""What can be measured: a job, and what it says it did.

What belongs here: the few types that jobs and the process that runs them share.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


class NotInstalledError(Exception):
    """A comparator is missing; the text says what to install."""


@dataclass(frozen=True)
class Counts:
    """What one run decoded."""

    frames: int
    """Data frames read."""
    values: int | None = None
    """Signal values that are no null; None where nothing is decoded."""
    seconds: float | None = None
    """Time by the job's own clock, where this process cannot take it."""
    peak_bytes: int | None = None
    """Peak memory, where it is not that of this process."""
    rows: int | None = None
    """Rows written to a database or read from it; None where there is none."""


class Job(Protocol):
    """Something to measure. Imports and DBC files are done in `__init__`, which is not timed."""

    def run(self, files: list[Path]) -> Any:
        """The timed work: from opening the files to what the user wants of them."""

    def counts(self, result: Any) -> Counts:
        """What `run` did, not timed."""
