"""Small charts as SVG text, for reports and pages.

What belongs here: pure functions from numbers to one `<svg>` element each. Colours are CSS
variables and `currentColor`, so that the page around it decides on light or dark (`STYLE` holds
defaults); every chart has a title and a description for screen readers. Nothing here knows what
the numbers mean.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final, Literal

Shape = Literal["line", "step", "points", "both"]
Mark = Literal["good", "bad", "open", "tick"]
Tick = tuple[float, str]

STYLE: Final = """
.chart{width:100%;height:auto;font:12px system-ui,sans-serif;
 --c1:#0b62c4;--c2:#b4530a;--c3:#1d7a46;--c4:#8a3ea8;--c5:#6b7280;--c6:#a3174f;--bad:#c0262d;--good:#1d7a46}
.chart text{fill:currentColor}.chart .muted{fill:currentColor;opacity:.75}
.chart .axis{stroke:currentColor;opacity:.55;fill:none}
.chart .grid{stroke:currentColor;opacity:.13;fill:none}
.chart .reference{stroke:currentColor;opacity:.75;stroke-dasharray:5 4;fill:none}
.chart .line{fill:none;stroke-width:2;stroke-linejoin:round}
.chart .s1{stroke:var(--c1)}.chart .f1{fill:var(--c1)}
.chart .s2{stroke:var(--c2)}.chart .f2{fill:var(--c2)}
.chart .s3{stroke:var(--c3)}.chart .f3{fill:var(--c3)}
.chart .s4{stroke:var(--c4)}.chart .f4{fill:var(--c4)}
.chart .s5{stroke:var(--c5)}.chart .f5{fill:var(--c5)}
.chart .s6{stroke:var(--c6)}.chart .f6{fill:var(--c6)}
.chart .good{fill:var(--good)}.chart .bad{fill:var(--bad)}
.chart .open{fill:none;stroke:currentColor;stroke-width:1.5}.chart .tick{fill:currentColor}
@media (prefers-color-scheme:dark){.chart{
 --c1:#6cb1ff;--c2:#f0a860;--c3:#63cf93;--c4:#d59bf0;--c5:#a4abb6;--c6:#ff8fb8;--bad:#ff7b7b;--good:#63cf93}}
"""
"""Style sheet for `.chart`; the page includes it once."""

N_COLOURS: Final = 6
_DASHES: Final = ("", "7 3", "2 3", "9 3 2 3", "1 4", "12 3")
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 14, 12, 44
_LEGEND_LINE: Final = 18


@dataclass(frozen=True)
class Series:
    """A named line; None as y leaves a gap."""

    name: str
    points: Sequence[tuple[float, float | None]]
    shape: Shape = "line"
    look: int | None = None
    """0 to 5: colour and dash; None: by its place among the series."""


@dataclass(frozen=True)
class Event:
    """A mark on a timeline from `start` to `end`."""

    lane: str
    start: float
    end: float
    kind: Mark
    label: str


@dataclass(frozen=True)
class _Frame:
    """The plotting area and its scales."""

    width: int
    height: int
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    left: int = _LEFT
    bottom: int = _BOTTOM

    def x(self, value: float) -> float:
        low, high = self.x_range
        return self.left + (value - low) / (high - low) * (self.width - self.left - _RIGHT)

    def y(self, value: float) -> float:
        low, high = self.y_range
        return self.height - self.bottom - (value - low) / (high - low) * (self.height - _TOP - self.bottom)


def nice_ticks(low: float, high: float, n: int = 5) -> list[float]:
    """About `n` round numbers (1, 2, 2.5 or 5 times a power of ten) that cover [low, high]."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return [0.0, 1.0]
    if high <= low:
        low, high = low - 0.5, low + 0.5
    rough = (high - low) / max(n, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def number(value: float) -> str:
    """A tick label: no trailing zeros, no exponent for ordinary sizes."""
    text = f"{value:,.6f}".rstrip("0").rstrip(".") if abs(value) < 1e9 else f"{value:.3g}"
    return text if text not in {"-0", ""} else "0"


def line_chart(
    series: Sequence[Series],
    *,
    title: str,
    description: str,
    x_label: str,
    y_label: str,
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
    x_ticks: Sequence[Tick] | None = None,
    references: Sequence[tuple[float, str]] = (),
    diagonal: bool = False,
    width: int = 480,
    height: int = 300,
) -> str:
    """Lines over a common axis, with horizontal dashed `references` (value, name)."""
    points = [(x, y) for one in series for x, y in one.points if y is not None]
    y_values = [y for _, y in points] + [value for value, _ in references]
    x_scale = _ticks([x for x, _ in points], x_range, x_ticks)
    y_scale = _ticks(y_values, y_range, None)
    legend = [one.name for one in series] + [name for _, name in references]
    frame = _frame((width, height), x_range or _span(x_scale), y_range or _span(y_scale), _legend_rows(legend, width))
    body = [_axes(frame, x_scale, y_scale, x_label, y_label)]
    if diagonal:
        ends = (max(frame.x_range[0], frame.y_range[0]), min(frame.x_range[1], frame.y_range[1]))
        body.append(_path([(frame.x(v), frame.y(v)) for v in ends], "reference"))
    for value, _ in references:
        body.append(_path([(frame.x(x), frame.y(value)) for x in frame.x_range], "reference"))
    looks = [(index if one.look is None else one.look) % N_COLOURS for index, one in enumerate(series)]
    body.extend(_draw(frame, one, look) for one, look in zip(series, looks, strict=True))
    body.append(_legend(frame, legend, looks))
    return _svg(frame, title, description, body)


def bar_chart(
    bars: Sequence[tuple[str, float]],
    *,
    title: str,
    description: str,
    x_label: str,
    y_label: str,
    width: int = 480,
    height: int = 260,
) -> str:
    """One bar a (label, value), values at least 0."""
    highest = max((value for _, value in bars), default=0.0)
    y_scale = _ticks([0.0, highest or 1.0], None, None)
    x_ticks = [(index + 0.5, label) for index, (label, _) in enumerate(bars)]
    frame = _frame((width, height), (0.0, float(max(len(bars), 1))), _span(y_scale), 0)
    body = [_axes(frame, x_ticks, y_scale, x_label, y_label, ticked=False)]
    for index, (label, value) in enumerate(bars):
        left, right, top = frame.x(index + 0.1), frame.x(index + 0.9), frame.y(value)
        body.append(
            f'<rect class="f1" x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" '
            f'height="{frame.y(0) - top:.1f}"><title>{escape(label)}: {number(value)}</title></rect>'
        )
        if value:
            body.append(_text((left + right) / 2, top - 3, number(value), "muted", "middle"))
    return _svg(frame, title, description, body)


def reliability_chart(curves: Sequence[Series], *, title: str, description: str) -> str:
    """Points (mean probability, observed share) beside the diagonal of perfect calibration."""
    highest = max((max(x, y or 0.0) for one in curves for x, y in one.points), default=1.0)
    limit = nice_ticks(0.0, max(highest, 0.05))[-1]
    return line_chart(
        curves,
        title=title,
        description=description,
        x_label="predicted probability",
        y_label="observed share",
        x_range=(0.0, limit),
        y_range=(0.0, limit),
        diagonal=True,
    )


def timeline_chart(
    events: Sequence[Event],
    lanes: Sequence[str],
    *,
    title: str,
    description: str,
    x_ticks: Sequence[Tick],
    legend: Sequence[tuple[Mark, str]],
    width: int = 980,
) -> str:
    """A lane a name, top to bottom, with the events that lie in it; `x_ticks` span the time shown."""
    row = 18
    height = _TOP + row * max(len(lanes), 1) + 30 + _LEGEND_LINE
    x_range = (x_ticks[0][0], max(x_ticks[-1][0], x_ticks[0][0] + 1))
    frame = _Frame(width, height, x_range, (0.0, float(max(len(lanes), 1))), left=150, bottom=30 + _LEGEND_LINE)
    lines = [_path([(frame.x(x), frame.y(y)) for y in frame.y_range], "grid") for x, _ in x_ticks]
    anchors = ["middle"] * (len(x_ticks) - 1) + ["end"]
    names = [
        _text(frame.x(x), frame.y(0) + 15, text, "muted", anchor)
        for (x, text), anchor in zip(x_ticks, anchors, strict=True)
    ]
    rows = {lane: len(lanes) - 0.5 - index for index, lane in enumerate(lanes)}
    labels = [_text(142, frame.y(y) + 4, lane, "", "end") for lane, y in rows.items()]
    marks = [_mark(frame, event, rows[event.lane]) for event in events if event.lane in rows]
    key: list[str] = []
    at = 150.0
    for kind, text in legend:
        wide = 3 if kind == "tick" else 12
        key.append(f'<rect class="{kind}" x="{at:.1f}" y="{height - 15}" width="{wide}" height="9" rx="1.5"/>')
        key.append(_text(at + 17, height - 7, text, "muted", "start"))
        at += 30 + 6.6 * len(text)
    return _svg(frame, title, description, [*lines, *names, *labels, *marks, *key])


def _mark(frame: _Frame, event: Event, y: float) -> str:
    left = frame.x(event.start)
    wide = 3.0 if event.kind == "tick" else max(frame.x(event.end) - left, 5.0)
    tall = 14 if event.kind == "tick" else 9
    return (
        f'<rect class="{event.kind}" x="{left:.1f}" y="{frame.y(y) - tall / 2:.1f}" width="{wide:.1f}" '
        f'height="{tall}" rx="1.5">'
        f"<title>{escape(event.label)}</title></rect>"
    )


def _ticks(values: Sequence[float], given: tuple[float, float] | None, ticks: Sequence[Tick] | None) -> Sequence[Tick]:
    if ticks is not None:
        return ticks
    low, high = given or (min(values, default=0.0), max(values, default=1.0))
    return [(value, number(value)) for value in nice_ticks(low, high)]


def _frame(
    size: tuple[int, int], x_range: tuple[float, float], y_range: tuple[float, float], legend_rows: int
) -> _Frame:
    """`size` is without the legend, which makes the chart higher."""
    below = _LEGEND_LINE * legend_rows
    return _Frame(size[0], size[1] + below, x_range, y_range, bottom=_BOTTOM + below)


def _span(ticks: Sequence[Tick]) -> tuple[float, float]:
    values = [value for value, _ in ticks]
    low, high = min(values, default=0.0), max(values, default=1.0)
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def _axes(
    frame: _Frame, x_scale: Sequence[Tick], y_scale: Sequence[Tick], x_label: str, y_label: str, *, ticked: bool = True
) -> str:
    floor, left = frame.y(frame.y_range[0]), frame.x(frame.x_range[0])
    right, top = frame.x(frame.x_range[1]), frame.y(frame.y_range[1])
    parts = [_path([(left, top), (left, floor), (right, floor)], "axis")]
    every = max(1, math.ceil(len(x_scale) * max((len(text) for _, text in x_scale), default=1) * 7 / (right - left)))
    for index, (value, text) in enumerate(x_scale):
        x = frame.x(value)
        if ticked and left < x <= right + 0.5:
            parts.append(_path([(x, top), (x, floor)], "grid"))
        if index % every == 0 and x <= right + 0.5:
            parts.append(_text(x, floor + 15, text, "muted", "middle"))
    for value, text in y_scale:
        y = frame.y(value)
        if y < top - 0.5 or y > floor + 0.5:
            continue
        if y < floor:
            parts.append(_path([(left, y), (right, y)], "grid"))
        parts.append(_text(left - 6, y + 4, text, "muted", "end"))
    parts.append(_text((left + right) / 2, floor + 33, x_label, "", "middle"))
    middle = (top + floor) / 2
    turned = f'transform="rotate(-90 13 {middle:.1f})"'
    parts.append(_text(13, middle, y_label, "", "middle", more=turned))
    return "".join(parts)


def _dash(look: int) -> str:
    return f' stroke-dasharray="{_DASHES[look]}"' if _DASHES[look] else ""


def _draw(frame: _Frame, series: Series, look: int) -> str:
    colour, dash = look + 1, _dash(look)
    parts: list[str] = []
    run: list[tuple[float, float]] = []
    for x, y in [*series.points, (0.0, None)]:
        if y is not None:
            at = (frame.x(x), frame.y(y))
            if series.shape == "step" and run:
                run.append((at[0], run[-1][1]))
            run.append(at)
            if series.shape in {"points", "both"}:
                title = f"<title>{escape(series.name)}: {number(round(x, 4))}, {number(round(y, 4))}</title>"
                parts.append(f'<circle class="f{colour}" cx="{at[0]:.1f}" cy="{at[1]:.1f}" r="3.5">{title}</circle>')
        elif run:
            if series.shape != "points" and len(run) > 1:
                parts.append(_path(run, f"line s{colour}", dash))
            run = []
    return "".join(parts)


def _legend_places(names: Sequence[str], width: int) -> list[tuple[float, int]]:
    """Left edge and row of each name, wrapped at the chart's width."""
    places: list[tuple[float, int]] = []
    at, row = float(_LEFT), 0
    for name in names:
        wide = 42 + 6.6 * len(name)
        if at + wide > width and at > _LEFT:
            at, row = float(_LEFT), row + 1
        places.append((at, row))
        at += wide
    return places


def _legend_rows(names: Sequence[str], width: int) -> int:
    return _legend_places(names, width)[-1][1] + 1 if names else 0


def _legend(frame: _Frame, names: Sequence[str], looks: Sequence[int]) -> str:
    """The series first, one of `looks` each; the names left over are references."""
    n_rows = _legend_rows(names, frame.width)
    parts: list[str] = []
    for index, (name, (x, row)) in enumerate(zip(names, _legend_places(names, frame.width), strict=True)):
        y = frame.height - 6 - _LEGEND_LINE * (n_rows - 1 - row)
        kind, dash = (f"line s{looks[index] + 1}", _dash(looks[index])) if index < len(looks) else ("reference", "")
        parts.append(_path([(x, y - 4), (x + 24, y - 4)], kind, dash))
        parts.append(_text(x + 29, y, name, "muted", "start"))
    return "".join(parts)


def _path(points: Sequence[tuple[float, float]], kind: str, more: str = "") -> str:
    steps = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline class="{kind}" points="{steps}"{more}/>'


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "middle", *, more: str = "") -> str:
    named = f' class="{kind}"' if kind else ""
    extra = f" {more}" if more else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{named}{extra}>{escape(text)}</text>'


def _svg(frame: _Frame, title: str, description: str, body: Sequence[str]) -> str:
    return (
        f'<svg class="chart" role="img" viewBox="0 0 {frame.width} {frame.height}" '
        f'xmlns="http://www.w3.org/2000/svg"><title>{escape(title)}</title><desc>{escape(description)}</desc>'
        + "".join(body)
        + "</svg>"
    )
