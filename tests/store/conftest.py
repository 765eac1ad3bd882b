"""Fixtures of the tests that start and stop servers themselves; databases come from tests/conftest.py."""

import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from pm.settings import Settings
from pm.store import server

_numbers = count(1)


@pytest.fixture(params=["postgres", "timescaledb"])
def engine(request: pytest.FixtureRequest) -> str:
    """Each private engine in turn."""
    return str(request.param)


@pytest.fixture
def private(open_folder: Path, software: Path) -> Iterator[Settings]:
    """Settings of a home of its own in which no server was ever started; what runs there is stopped afterwards."""
    home = open_folder / f"private-{next(_numbers)}"
    settings = Settings(project=Path(__file__).resolve().parents[2], home=home, database_url=None)
    yield settings
    server.stop(settings)
    shutil.rmtree(home, ignore_errors=True)
