"""How values are written for a person."""

from datetime import UTC, datetime

import pytest

from pm.api.rendering import asset_version, breakable, day, figure, minute, percent, share, whole

AT = datetime(2026, 2, 3, 7, 45, tzinfo=UTC)


@pytest.mark.parametrize(
    ("probability", "said"),
    [(None, "–"), (0.0, "under 0.1 %"), (0.0004, "under 0.1 %"), (0.042, "4.2 %"), (0.31, "31 %"), (1.0, "100 %")],
)
def test_percent(probability: float | None, said: str) -> None:
    assert percent(probability) == said


@pytest.mark.parametrize(
    ("part", "said"),
    [(None, "–"), (0.0, "0 %"), (0.0004, "under 0.1 %"), (0.25, "25 %"), (0.9996, "over 99.9 %"), (1.0, "100 %")],
)
def test_a_share_is_nothing_or_everything_only_where_it_is(part: float | None, said: str) -> None:
    assert share(part) == said


def test_a_name_breaks_between_its_words_and_is_escaped() -> None:
    assert breakable("EngCoolantTemp") == "Eng<wbr>Coolant<wbr>Temp"
    assert breakable("Aft1SCRSystemState") == "Aft1SCR<wbr>System<wbr>State"
    assert breakable("et1.eng_c") == "et1.<wbr>eng_<wbr>c"
    assert breakable("<b>&_x") == "&lt;b&gt;&amp;_<wbr>x"


def test_whole() -> None:
    assert (whole(1234567), whole(0), whole(None)) == ("1,234,567", "0", "–")


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
