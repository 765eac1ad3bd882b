"""Named queries as files."""

from pathlib import Path

import pytest

from pm.errors import ConfigError
from pm.store import queries


def test_queries_are_found_by_name(tmp_path: Path) -> None:
    (tmp_path / "truck.sql").write_text("-- name: one\nSELECT 1;\n\n-- name: two\n-- why\nSELECT 2;\n")
    assert queries.load_queries("truck", tmp_path) == {"one": "SELECT 1", "two": "-- why\nSELECT 2"}


def test_a_missing_file_and_a_missing_name_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.sql: expected a readable file"):
        queries.load_queries("none", tmp_path)
    with pytest.raises(ConfigError, match=r"vehicle\.sql: expected one of .*, but got nothing"):
        queries.named("vehicle", "nothing")


def test_a_name_used_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "twice.sql").write_text("-- name: one\nSELECT 1;\n-- name: one\nSELECT 2;\n")
    with pytest.raises(ConfigError, match="each name once"):
        queries.load_queries("twice", tmp_path)
