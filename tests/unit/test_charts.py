"""Charts: well-formed SVG, round ticks, everything inside the frame and escaped."""

import math
import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from pm.charts import (
    STYLE,
    Event,
    Series,
    bar_chart,
    line_chart,
    nice_ticks,
    number,
    reliability_chart,
    timeline_chart,
)

SVG = "{http://www.w3.org/2000/svg}"


def parse(chart: str) -> ElementTree.Element:
    return ElementTree.fromstring(chart)  # noqa: S314 - our own text


def coordinates(chart: str) -> list[tuple[float, float]]:
    pairs = re.findall(r'points="([^"]+)"', chart)
    return [(float(x), float(y)) for text in pairs for x, y in (pair.split(",") for pair in text.split())]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 7, [0, 2, 4, 6, 8]),
        (0, 0.031, [0, 0.01, 0.02, 0.03, 0.04]),
        (-12, 31, [-20, -10, 0, 10, 20, 30, 40]),
        (1200, 4700, [1000, 2000, 3000, 4000, 5000]),
    ],
)
def test_ticks_are_round_and_cover_the_range(low: float, high: float, expected: list[float]) -> None:
    assert nice_ticks(low, high) == pytest.approx(expected)


@pytest.mark.parametrize(("low", "high"), [(3.0, 3.0), (0.0, 0.0), (math.nan, 1.0), (1e-9, 1e12), (5.0, 2.0)])
def test_ticks_of_odd_ranges_rise(low: float, high: float) -> None:
    ticks = nice_ticks(low, high)
    assert len(ticks) >= 2
    assert all(before < after for before, after in pairwise(ticks))


def test_numbers_are_short() -> None:
    assert [number(value) for value in (0.1, 1.0, 1200, -0.0, 0.025, 2.5e12)] == [
        "0.1", "1", "1,200", "0", "0.025", "2.5e+12",
    ]  # fmt: skip


def line(**more: object) -> str:
    series = [
        Series("model <a>", [(0, 0.1), (1, 0.5), (2, None), (3, 0.9)], "both"),
        Series("rule & co", [(0, 0.2), (3, 0.3)]),
    ]
    words = {"title": "A & B", "description": "<desc>", "x_label": "x", "y_label": "y"}
    return line_chart(series, **(words | more))  # type: ignore[arg-type]


def test_a_line_chart_is_well_formed_titled_and_escaped() -> None:
    root = parse(line(references=[(0.4, "base")]))
    assert root.attrib["role"] == "img"
    assert root[0].tag == f"{SVG}title"
    assert root[0].text == "A & B"
    assert root[1].text == "<desc>"
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert {"model <a>", "rule & co", "base"} <= set(texts)


def test_everything_drawn_lies_inside_the_frame() -> None:
    chart = line(references=[(0.4, "base")], diagonal=True, x_range=(0.0, 3.0), y_range=(0.0, 1.0))
    _, _, width, height = (float(part) for part in parse(chart).attrib["viewBox"].split())
    assert all(0 <= x <= width and 0 <= y <= height for x, y in coordinates(chart))


def test_a_missing_value_leaves_a_gap() -> None:
    lines = [
        item.attrib["points"] for item in parse(line()).iter(f"{SVG}polyline") if "line s1" in item.attrib["class"]
    ]
    assert len(lines) == 2  # the two points before the gap, and the sample in the legend
    assert len(list(parse(line()).iter(f"{SVG}circle"))) == 3


def test_values_rise_upwards() -> None:
    circles = [float(item.attrib["cy"]) for item in parse(line()).iter(f"{SVG}circle")]
    assert circles == sorted(circles, reverse=True)


def test_colours_are_left_to_the_page() -> None:
    chart = line()
    assert not re.findall(r'(?:fill|stroke)="|style=|#[0-9a-f]{3}', chart)
    assert "prefers-color-scheme:dark" in STYLE


def test_bars_stand_on_the_floor_and_scale() -> None:
    root = parse(bar_chart([("a", 2), ("b", 4), ("c", 0)], title="t", description="d", x_label="x", y_label="y"))
    bars = [(float(bar.attrib["y"]), float(bar.attrib["height"])) for bar in root.iter(f"{SVG}rect")]
    floors = {round(top + height, 1) for top, height in bars}
    assert len(floors) == 1
    assert bars[1][1] == pytest.approx(2 * bars[0][1], abs=0.2)
    assert bars[2][1] == 0


@pytest.mark.parametrize("bars", [[], [("only", 0.0)]])
def test_empty_charts_are_still_charts(bars: list[tuple[str, float]]) -> None:
    assert parse(bar_chart(bars, title="t", description="d", x_label="x", y_label="y")).tag == f"{SVG}svg"
    assert parse(line_chart([], title="t", description="d", x_label="x", y_label="y")).tag == f"{SVG}svg"
    assert parse(reliability_chart([], title="t", description="d")).tag == f"{SVG}svg"


def test_perfect_calibration_lies_on_the_diagonal() -> None:
    chart = reliability_chart([Series("m", [(0.1, 0.1), (0.3, 0.3)], "both")], title="t", description="d")
    root = parse(chart)
    diagonal = next(item for item in root.iter(f"{SVG}polyline") if item.attrib["class"] == "reference")
    (x1, y1), (x2, y2) = ([float(v) for v in pair.split(",")] for pair in diagonal.attrib["points"].split())
    for circle in root.iter(f"{SVG}circle"):
        share = (float(circle.attrib["cx"]) - x1) / (x2 - x1)
        assert float(circle.attrib["cy"]) == pytest.approx(y1 + share * (y2 - y1), abs=0.2)


def test_a_timeline_puts_events_in_their_lanes_in_time() -> None:
    events = [
        Event("truck 1", 0, 5, "good", "first"),
        Event("truck 2", 5, 10, "bad", "<second>"),
        Event("gone", 0, 1, "open", "x"),
    ]
    root = parse(
        timeline_chart(
            events,
            ["truck 1", "truck 2"],
            title="t",
            description="d",
            x_ticks=[(0, "a"), (10, "b")],
            legend=[("good", "hit")],
        )
    )
    marks = [item for item in root.iter(f"{SVG}rect") if len(item)]
    assert [mark[0].text for mark in marks] == ["first", "<second>"]
    first, second = marks
    assert float(first.attrib["x"]) + float(first.attrib["width"]) == pytest.approx(float(second.attrib["x"]), abs=0.2)
    assert float(first.attrib["y"]) < float(second.attrib["y"])
