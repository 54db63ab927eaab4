"""The report of a backtest as one page: HTML, its plots as SVG inside, nothing from elsewhere."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any

import numpy as np

Floats = np.ndarray[Any, np.dtype[np.float64]]
Ints = np.ndarray[Any, np.dtype[np.int64]]
WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 960, 260, 72, 24, 10
POINTS_MAX = 1_500
ROWS_MAX = 500

_STYLE = """
body{font:14px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;
color:#1c2330;background:#fff}
h1{font-size:1.4rem}h2{font-size:1.05rem;margin:1.6rem 0 .4rem}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
td,th{padding:.15rem .7rem .15rem 0;text-align:right;border-bottom:1px solid #e5e8ee}
td:first-child,th:first-child{text-align:left}
.numbers{columns:2}.wide{overflow-x:auto}svg{width:100%;height:auto}
.axis{stroke:#c9ced8;stroke-width:1}.label{font-size:11px;fill:#5b6577}
.a{stroke:#1f6feb}.b{stroke:#9aa4b5}.c{stroke:#c0392b}.line{fill:none;stroke-width:1.4}
.area{fill:#c0392b22;stroke:none}.up{fill:#2a9d5c}.down{fill:#c0392b}
@media(prefers-color-scheme:dark){body{background:#14181f;color:#dde3ee}
td,th{border-color:#2b3240}.axis{stroke:#3a4354}.label{fill:#9aa4b5}}
"""


def page(
    title: str,
    facts: Mapping[str, Any],
    numbers: Mapping[str, Any],
    plots: Sequence[tuple[str, str]],
    tables: Sequence[tuple[str, Sequence[Mapping[str, Any]]]],
) -> str:
    """Return the page: `facts` say what ran, `plots` are (heading, SVG), `tables` their rows."""
    parts = [
        "<!doctype html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>',
        f"<style>{_STYLE}</style></head><body><h1>{escape(title)}</h1>",
        _pairs(facts),
        "<h2>Result</h2>",
        _pairs(numbers),
        *(f"<h2>{escape(head)}</h2>{svg}" for head, svg in plots),
        *(f"<h2>{escape(head)}</h2>{_table(rows)}" for head, rows in tables if rows),
        "</body></html>\n",
    ]
    return "\n".join(parts)


def _pairs(values: Mapping[str, Any]) -> str:
    rows = (
        f"<tr><td>{escape(name.replace('_', ' '))}</td><td>{escape(_shown(value))}</td></tr>"
        for name, value in values.items()
    )
    return f'<table class="numbers">{"".join(rows)}</table>'


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    names = list(rows[0])
    head = "".join(f"<th>{escape(name.replace('_', ' '))}</th>" for name in names)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(_cell(name, row[name]))}</td>" for name in names) + "</tr>"
        for row in rows[:ROWS_MAX]
    )
    more = len(rows) - ROWS_MAX
    rest = f"<p>{more:,} more are in the CSV beside this page.</p>" if more > 0 else ""
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>{rest}'


def _cell(name: str, value: Any) -> str:
    return moment(value) if name.endswith("_ts") and isinstance(value, int) else _shown(value)


def _shown(value: Any) -> str:
    if value is None:
        return "not defined"
    if isinstance(value, float):
        return f"{value:,.6g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_shown(inner)}" for key, inner in value.items()) or "none"
    return str(value)


def moment(ts: int) -> str:
    """Return a time in ns as ISO 8601, UTC, to the second."""
    return datetime.fromtimestamp(ts // 1_000_000_000, UTC).isoformat().replace("+00:00", "Z")


def lines(ts: Ints, named: Sequence[tuple[str, str, Floats]], filled: bool = False) -> str:
    """Return a plot of columns (P,) over `ts` (P,): (name, class of its colour, values)."""
    if not len(ts):
        return ""
    values = np.concatenate([each for _, _, each in named])
    low, high = float(values.min()), float(values.max())
    high = high if high > low else low + 1.0
    span = max(int(ts[-1] - ts[0]), 1)

    def x(moments: Ints) -> Floats:
        return np.asarray(LEFT + (moments - ts[0]) / span * (WIDTH - LEFT - 8), np.float64)

    def y(numbers: Floats) -> Floats:
        return TOP + (high - numbers) / (high - low) * (HEIGHT - TOP - BOTTOM)

    drawn = []
    for name, colour, each in named:
        keep = thinned(each)
        points = " ".join(
            f"{a:.1f},{b:.1f}" for a, b in zip(x(ts[keep]), y(each[keep]), strict=True)
        )
        if filled:
            zero = float(y(np.array([min(max(0.0, low), high)]))[0])
            edge = f"{LEFT},{zero:.1f} {points} {WIDTH - 8},{zero:.1f}"
            drawn.append(f'<polygon class="area" points="{edge}"/>')
        drawn.append(
            f'<polyline class="line {colour}" points="{points}"><title>{escape(name)}</title>'
            "</polyline>"
        )
    return _framed(drawn + _labels(low, high, ts))


def thinned(values: Floats) -> Ints:
    """Return places of at most 1,500 values that keep every extreme a plot can show, and both
    ends."""
    count = len(values)
    if count <= POINTS_MAX:
        return np.arange(count)
    edges = np.linspace(0, count, POINTS_MAX // 2).astype(np.int64)
    found = {0, count - 1}
    for start, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        found |= {start + int(values[start:end].argmin()), start + int(values[start:end].argmax())}
    return np.array(sorted(found))


def bars(values: Floats) -> str:
    """Return a plot of numbers one after the other, above and below zero."""
    if not len(values):
        return ""
    shown = values[-POINTS_MAX:]
    reach = float(np.abs(shown).max()) or 1.0
    middle, half = TOP + (HEIGHT - TOP - BOTTOM) / 2, (HEIGHT - TOP - BOTTOM) / 2
    wide = (WIDTH - LEFT - 8) / len(shown)
    drawn = []
    for k, value in enumerate(shown.tolist()):
        tall = abs(value) / reach * half
        at = middle - tall if value > 0 else middle
        drawn.append(
            f'<rect class="{"up" if value > 0 else "down"}" x="{LEFT + k * wide:.2f}" '
            f'y="{at:.1f}" width="{max(wide * 0.8, 0.4):.2f}" height="{tall:.1f}"/>'
        )
    return _framed([*drawn, *_labels(-reach, reach, None)])


def _labels(low: float, high: float, ts: Ints | None) -> list[str]:
    found = []
    for k in range(5):
        value = low + (high - low) * k / 4
        at = TOP + (high - value) / (high - low) * (HEIGHT - TOP - BOTTOM)
        found.append(
            f'<line class="axis" x1="{LEFT}" x2="{WIDTH - 8}" y1="{at:.1f}" y2="{at:.1f}"/>'
        )
        found.append(
            f'<text class="label" x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">'
            f"{value:,.5g}</text>"
        )
    if ts is not None:
        for k, anchor in enumerate(("start", "middle", "end")):
            when = moment(int(ts[0]) + (int(ts[-1]) - int(ts[0])) * k // 2)[:16].replace("T", " ")
            at = LEFT + (WIDTH - LEFT - 8) * k / 2
            found.append(
                f'<text class="label" x="{at:.0f}" y="{HEIGHT - 6}" text-anchor="{anchor}">'
                f"{when}</text>"
            )
    return found


def _framed(parts: Sequence[str]) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">{"".join(parts)}</svg>'
