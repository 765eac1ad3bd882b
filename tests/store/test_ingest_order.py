"""Overlapping files of one vehicle in any order, by one worker or two: the same rows, those of a plain model."""

import json
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import count
from pathlib import Path

import psycopg
import pytest
from database_content import Content, content_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from j1939_lines import SMALL_DBC, coolant, engine_speed, trouble_code, written

from pm.pipelines.executor import open_executor
from pm.pipelines.ingest import IngestJob, ingest_logs
from pm.policy import Policy
from pm.store import vehicles

KNOWN_AT = datetime(2026, 3, 10, tzinfo=UTC)
MIDNIGHT = int(datetime(2026, 3, 3, tzinfo=UTC).timestamp())

_numbers = count(1)


@dataclass(frozen=True)
class Reading:
    """A frame of a log: of `kind` at a second, with a value."""

    second: int
    kind: str
    """coolant, speed, or code (a trouble code whose occurrence count is the value)."""
    source: int
    value: int

    @property
    def line(self) -> str:
        at = MIDNIGHT + self.second
        if self.kind == "coolant":
            return coolant(at, self.value, self.source)
        if self.kind == "speed":
            return engine_speed(at, self.value * 10, self.source)
        return trouble_code(at, 110, 0, self.value, self.source)


@dataclass(frozen=True)
class SmallLog:
    """A log and when it became known."""

    readings: tuple[Reading, ...]
    known_day: int

    @property
    def text(self) -> str:
        return "".join(reading.line for reading in self.readings)

    @property
    def known_at(self) -> datetime:
        return KNOWN_AT + timedelta(days=self.known_day)

    @property
    def rank(self) -> tuple[datetime, str]:
        """Lowest stays."""
        return self.known_at, sha256(self.text.encode("ascii")).hexdigest()


def readings_within(first: int) -> st.SearchStrategy[list[Reading]]:
    """A few frames within five seconds, so that logs overlap; times may repeat."""
    reading = st.builds(
        Reading,
        st.integers(first, first + 4),
        st.sampled_from(["coolant", "speed", "code"]),
        st.sampled_from([0, 3]),
        st.integers(1, 100),
    )
    return st.lists(reading, min_size=1, max_size=6).map(lambda found: sorted(found, key=lambda one: one.second))


# Midnight is second 0: logs lie on one day, on the other, or on both.
small_logs = st.builds(SmallLog, st.integers(-6, 2).flatmap(readings_within).map(tuple), st.sampled_from([0, 0, 1, 2]))


@st.composite
def ways(draw: st.DrawFn) -> tuple[list[SmallLog], list[list[SmallLog]]]:
    """Logs with different bytes, and the same ones in another order, cut into what one or two workers take."""
    found = draw(st.lists(small_logs, min_size=2, max_size=4, unique_by=lambda log: log.text))
    shuffled = draw(st.permutations(found))
    cut = draw(st.integers(1, len(found)))
    return found, [shuffled[:cut], shuffled[cut:]]


@pytest.fixture(scope="module")
def dbc(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    return (written(tmp_path_factory.mktemp("dbc") / "small.dbc", SMALL_DBC),)


@pytest.fixture(scope="module")
def two_workers() -> Iterator[Executor]:
    with open_executor(2) as executor:
        yield executor


@pytest.mark.parametrize("sample_period_s", [0.0, 1.0])
def test_the_order_of_arrival_changes_nothing(
    conn: psycopg.Connection, database_url: str, dbc: tuple[Path, ...], two_workers: Executor, tmp_path: Path,
    sample_period_s: float,
) -> None:  # fmt: skip
    policy = replace(Policy(), telemetry=replace(Policy().telemetry, sample_period_s=sample_period_s))

    @settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(ways())
    def check(way: tuple[list[SmallLog], list[list[SmallLog]]]) -> None:
        found, shares = way
        folder = tmp_path / str(next(_numbers))
        folder.mkdir()

        def stored(work: list[list[SmallLog]]) -> Content:
            owner = vehicles.add_vehicle(conn, fleet="north", vehicle_ref=folder.name + str(next(_numbers)),
                                         known_at=KNOWN_AT)  # fmt: skip
            jobs = [[IngestJob(_file(folder, log), owner, log.known_at) for log in share] for share in work if share]
            for reports in two_workers.map(_ingest, [(database_url, dbc, policy, share) for share in jobs]):
                assert [report.refused for report in reports] == [None] * len(reports)
            return content_of(conn, vehicle_id=owner)

        in_order = stored([found])
        assert _rows(in_order) == expected(found, sample_period_s)
        assert _days(in_order) == sorted({_day(reading) for log in found for reading in log.readings})
        assert stored(shares) == in_order

    check()


def _file(folder: Path, log: SmallLog) -> Path:
    return written(folder / f"{log.rank[1][:12]}.log", log.text)


def _ingest(arguments: tuple[str, tuple[Path, ...], Policy, list[IngestJob]]) -> list[object]:
    url, dbc, policy, jobs = arguments
    return list(ingest_logs(url, jobs, dbc=dbc, policy=policy))


Key = tuple[str, int, int]
"""Kind, source, second."""


def expected(found: list[SmallLog], sample_period_s: float) -> dict[Key, tuple[int, str]]:
    """Value and file of each key, by the rule: the file known first, then that of the lower sha256.

    Within a file, the first frame of a key stays; sampling keeps the last frame of a second instead. Trouble
    codes are never sampled.
    """
    kept: dict[Key, tuple[int, str]] = {}
    for log in sorted(found, key=lambda log: log.rank):
        own: dict[Key, tuple[int, str]] = {}
        for reading in log.readings:
            key = reading.kind, reading.source, reading.second
            if key not in own or (sample_period_s and reading.kind != "code"):
                own[key] = reading.value, log.rank[1][:12]
        kept = own | kept
    return kept


def _rows(content: Content) -> dict[Key, tuple[int, str]]:
    rows: dict[Key, tuple[int, str]] = {}
    for table, kind, column, scale in (
        ("telemetry.et1", "coolant", "engcoolanttemp", 1),
        ("telemetry.eec1", "speed", "engspeed", 10),
        ("pm.fault", "code", "occurrence_count", 1),
    ):
        for row in map(json.loads, content.get(table, [])):
            second = round(datetime.fromisoformat(row["time"]).timestamp()) - MIDNIGHT
            file = row["log_file_id"].split(" ")[-3].rstrip(",")
            assert (kind, row["source_address"], second) not in rows
            rows[kind, row["source_address"], second] = round(row[column] / scale), file
    return rows


def _day(reading: Reading) -> str:
    return "2026-03-03" if reading.second >= 0 else "2026-03-02"


def _days(content: Content) -> list[str]:
    return sorted(json.loads(row)["day"] for row in content["pm.dirty_day"])
