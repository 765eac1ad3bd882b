"""How values are written for a person."""

from datetime import UTC, datetime

import pytest

from pm.api.rendering import asset_version, day, figure, minute, percent

AT = datetime(2026, 2, 3, 7, 45, tzinfo=UTC)


@pytest.mark.parametrize(
    ("probability", "said"),
    [(None, "–"), (0.0, "under 0.1 %"), (0.0004, "under 0.1 %"), (0.042, "4.2 %"), (0.31, "31 %"), (1.0, "100 %")],
)
def test_percent(probability: float | None, said: str) -> None:
    assert percent(probability) == said


def test_instants() -> None:
    assert (day(AT), minute(AT)) == ("3 Feb 2026", "3 Feb 2026, 07:45 UTC")
    assert (day(None), minute(None)) == ("never", "never")


@pytest.mark.parametrize(
    ("value", "said"), [(None, "–"), (412345.6, "412,346"), (0.0412, "0.0412"), (-12.345, "-12.3")]
)
def test_figure(value: float | None, said: str) -> None:
    assert figure(value) == said


def test_an_asset_is_named_by_its_bytes() -> None:
    assert len(asset_version("style.css")) == 8
    assert asset_version("style.css") != asset_version("icon.svg")
