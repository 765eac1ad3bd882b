"""Decisions about storage: read, refused; and which instant they mean."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pm.errors import ConfigError, DataError
from pm.upkeep import Telemetry, Upkeep, cutoff, load_upkeep

PROJECT = Path(__file__).resolve().parents[2]


def written(folder: Path, text: str) -> Path:
    path = folder / "upkeep.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_shipped_file_holds_the_defaults_and_keeps_everything():
    shipped = load_upkeep(PROJECT / "config" / "upkeep.toml")
    assert shipped == Upkeep()
    assert (shipped.telemetry.keep_d, shipped.archive.keep_d) == (0, 0)


def test_a_key_that_is_not_there_keeps_its_default(tmp_path):
    read = load_upkeep(written(tmp_path, "[telemetry]\nkeep_d = 400\n"))
    assert read == Upkeep(telemetry=Telemetry(keep_d=400))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[telemetry", "expected readable TOML"),
        ("[weather]\n", r"expected sections .* but got \['weather'\]"),
        ("telemetry = 7\n", r"expected a section \[telemetry\], but got 7"),
        ("[telemetry]\nchunks = 2\n", "expected keys .* but got chunks"),
        ("[telemetry]\nkeep_d = 90.0\n", r"\[telemetry\] keep_d: expected int, but got 90.0"),
        ("[telemetry]\nkeep_d = true\n", r"\[telemetry\] keep_d: expected int, but got True"),
        ("[telemetry]\nkeep_d = -1\n", "keep_d: expected 0, or a span from chunk_d"),
        ("[telemetry]\nkeep_d = 6\n", "keep_d: expected 0, or a span from chunk_d"),
        ("[telemetry]\nkeep_d = 9999999\n", "keep_d: expected 0, or a span from chunk_d"),
        ("[telemetry]\nchunk_d = 0\n", "chunk_d: expected 1 to 366"),
        ("[telemetry]\ncolumnstore_after_d = -3\n", "columnstore_after_d: expected 0"),
        ("[archive]\nkeep_d = -1\n", r"\[archive\] keep_d: expected 0"),
        ("[work]\nrows_a_transaction = 10\n", "rows_a_transaction: expected at least 1000"),
        ("[work]\nlock_timeout_s = 0\n", "lock_timeout_s: expected 0.1 to 600 s"),
        ("[work]\nlock_timeout_s = nan\n", "lock_timeout_s: expected"),
    ],
)
def test_what_cannot_hold_is_refused_with_file_and_key(tmp_path, text, said):
    with pytest.raises(ConfigError, match=said) as refused:
        load_upkeep(written(tmp_path, text))
    assert "upkeep.toml" in str(refused.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match="nowhere.toml"):
        load_upkeep(tmp_path / "nowhere.toml")


@pytest.mark.parametrize(
    ("now", "keep_d", "step_d", "expected"),
    [
        # 2026-01-01 is day 20454 since 1970, a multiple of 7.
        (datetime(2026, 1, 11, 13, 5, tzinfo=UTC), 10, 1, datetime(2026, 1, 1, tzinfo=UTC)),
        (datetime(2026, 1, 11, tzinfo=UTC), 10, 7, datetime(2026, 1, 1, tzinfo=UTC)),
        (datetime(2026, 1, 17, 23, 59, 59, tzinfo=UTC), 10, 7, datetime(2026, 1, 1, tzinfo=UTC)),
        (datetime(2026, 1, 18, tzinfo=UTC), 10, 7, datetime(2026, 1, 8, tzinfo=UTC)),
        (datetime(2026, 1, 10, 23, tzinfo=UTC), 10, 7, datetime(2025, 12, 25, tzinfo=UTC)),
    ],
)
def test_the_cutoff_is_at_least_so_old_and_on_a_step(now, keep_d, step_d, expected):
    found = cutoff(now, keep_d=keep_d, step_d=step_d)
    assert found == expected
    assert timedelta(days=keep_d) <= now - found < timedelta(days=keep_d + step_d)


def test_zero_days_is_for_ever():
    assert cutoff(datetime(2026, 1, 1, tzinfo=UTC), keep_d=0) is None


def test_ages_are_counted_in_utc():
    with pytest.raises(DataError, match="expected a UTC instant"):
        cutoff(datetime(2026, 1, 1), keep_d=1)
