"""Line charts as SVG, a chart a quantity: over a number of trades in powers of 10, or over time."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

WIDTH, HEIGHT, MARGIN = 360, 260, 48
COLORS = ("#1b6ca8", "#d1495b", "#3a7d44", "#8d6a9f")

Points = Sequence[tuple[float, float]]


class Axis(NamedTuple):
    """A range of values, and whether it is drawn by powers of ten."""

    low: float
    high: float
    linear: bool

    @classmethod
    def of(cls, values: Sequence[float], linear: bool, from_zero: bool = False) -> "Axis":
        """Return the axis that holds all of `values`, which are above 0 unless it is linear."""
        if linear:
            low, high = 0.0 if from_zero else min(values), max(values)
            return cls(low, high if high > low else low + 1.0, True)
        low = math.floor(math.log10(min(values)))
        return cls(low, max(math.ceil(math.log10(max(values))), low + 1), False)

    def at(self, value: float) -> float:
        """Return where a value is: 0 at the low end, 1 at the high one."""
        return ((value if self.linear else math.log10(value)) - self.low) / (self.high - self.low)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Places (0 to 1) and their labels."""
        if not self.linear:
            powers = range(int(self.low), int(self.high) + 1)
            return [((p - self.low) / (self.high - self.low), f"1e{p}") for p in powers]
        return [(k / 4, f"{self.low + k / 4 * (self.high - self.low):,.4g}") for k in range(5)]


def charts(panels: Mapping[str, Mapping[str, Points]], linear: bool = False) -> str:
    """Return one SVG with a chart for each panel: its title, and lines (x, y) by name.

    Both axes are logarithmic, and x and y above 0; `linear` ones begin at 0 upwards.
    """
    drawn = [
        _chart(title, lines, at * WIDTH, linear) for at, (title, lines) in enumerate(panels.items())
    ]
    size = f'width="{WIDTH * len(panels)}" height="{HEIGHT}"'
    style = 'font-family="sans-serif" font-size="11"'
    paper = '<rect width="100%" height="100%" fill="white"/>'
    body = "\n".join([paper, *drawn])
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>\n{body}\n</svg>\n'


def _chart(title: str, lines: Mapping[str, Points], left: float, linear: bool) -> str:
    across = Axis.of([x for points in lines.values() for x, _ in points], linear)
    upward = Axis.of([y for points in lines.values() for _, y in points], linear, from_zero=True)

    def place(x: float, y: float) -> tuple[float, float]:
        across_px = left + MARGIN + x * (WIDTH - MARGIN - 16)
        return across_px, HEIGHT - MARGIN + 8 - y * (HEIGHT - 2 * MARGIN)

    parts = [f'<text x="{left + MARGIN}" y="18" font-weight="bold">{escape(title)}</text>']
    for at, label in across.ticks:
        x, y = place(at, 0.0)
        parts.append(f'<text x="{x:.0f}" y="{y + 16:.0f}" text-anchor="middle">{label}</text>')
    for at, label in upward.ticks:
        x, y = place(0.0, at)
        right = left + WIDTH - 16
        rule = f'x1="{x:.0f}" y1="{y:.1f}" x2="{right:.0f}" y2="{y:.1f}"'
        parts.append(f'<line {rule} stroke="#dddddd"/>')
        parts.append(f'<text x="{x - 6:.0f}" y="{y + 4:.0f}" text-anchor="end">{label}</text>')
    for number, (name, points) in enumerate(lines.items()):
        color = COLORS[number % len(COLORS)]
        placed = [place(across.at(x), upward.at(y)) for x, y in points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>')
        x, y = left + MARGIN + 8, 36 + 14 * number
        parts.append(f'<text x="{x:.0f}" y="{y:.0f}" fill="{color}">{escape(name)}</text>')
    return "\n".join(parts)
