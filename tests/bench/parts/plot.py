"""Line charts as SVG: a chart a quantity, over a number of trades, both axes logarithmic."""

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT, MARGIN = 360, 260, 48
COLORS = ("#1b6ca8", "#d1495b", "#3a7d44", "#8d6a9f")

Points = Sequence[tuple[float, float]]


def charts(panels: Mapping[str, Mapping[str, Points]]) -> str:
    """Return one SVG with a chart for each panel: its title, and lines (x, y > 0) by name."""
    drawn = [_chart(title, lines, at * WIDTH) for at, (title, lines) in enumerate(panels.items())]
    size = f'width="{WIDTH * len(panels)}" height="{HEIGHT}"'
    style = 'font-family="sans-serif" font-size="11"'
    paper = '<rect width="100%" height="100%" fill="white"/>'
    body = "\n".join([paper, *drawn])
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>\n{body}\n</svg>\n'


def _chart(title: str, lines: Mapping[str, Points], left: float) -> str:
    xs = [math.log10(x) for points in lines.values() for x, _ in points]
    ys = [math.log10(y) for points in lines.values() for _, y in points]
    low_x, high_x = math.floor(min(xs)), math.ceil(max(xs))
    low_y, high_y = math.floor(min(ys)), max(math.ceil(max(ys)), math.floor(min(ys)) + 1)

    def place(x: float, y: float) -> tuple[float, float]:
        across = (math.log10(x) - low_x) / max(1, high_x - low_x)
        up = (math.log10(y) - low_y) / (high_y - low_y)
        across_px = left + MARGIN + across * (WIDTH - MARGIN - 16)
        return across_px, HEIGHT - MARGIN + 8 - up * (HEIGHT - 2 * MARGIN)

    parts = [f'<text x="{left + MARGIN}" y="18" font-weight="bold">{escape(title)}</text>']
    for power in range(low_x, high_x + 1):
        x, y = place(10.0**power, 10.0**low_y)
        parts.append(f'<text x="{x:.0f}" y="{y + 16:.0f}" text-anchor="middle">1e{power}</text>')
    for power in range(low_y, high_y + 1):
        x, y = place(10.0**low_x, 10.0**power)
        right = left + WIDTH - 16
        rule = f'x1="{x:.0f}" y1="{y:.1f}" x2="{right:.0f}" y2="{y:.1f}"'
        parts.append(f'<line {rule} stroke="#dddddd"/>')
        parts.append(f'<text x="{x - 6:.0f}" y="{y + 4:.0f}" text-anchor="end">1e{power}</text>')
    for at, (name, points) in enumerate(lines.items()):
        color = COLORS[at % len(COLORS)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in points))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>')
        x, y = left + MARGIN + 8, 36 + 14 * at
        parts.append(f'<text x="{x:.0f}" y="{y:.0f}" fill="{color}">{escape(name)}</text>')
    return "\n".join(parts)
