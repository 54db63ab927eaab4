"""Rounds of a benchmark: alternating, after a warm-up, with median and spread."""

import platform
import statistics
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import orjson


def summary(values: Sequence[float], digits: int = 0) -> dict[str, float]:
    """Return median, minimum and maximum."""
    return {
        "median": round(statistics.median(values), digits),
        "min": round(min(values), digits),
        "max": round(max(values), digits),
    }


def against(mine: Sequence[float], direct: Mapping[int, Sequence[float]]) -> dict[str, Any]:
    """Return trades a second of rounds beside the fastest of the straight inserts (by how many at
    once), and the ratio of the two, round by round.
    """
    fastest = max(direct.values(), key=lambda rates: summary(rates)["median"])
    ratios = [one / other for one, other in zip(mine, fastest, strict=True)]
    return {
        "trades_per_s": summary(mine)["median"],
        "direct_insert_trades_per_s": summary(fastest)["median"],
        "ratio": summary(ratios, 3)["median"],
        "trades_per_s_spread": summary(mine),
        "direct_insert_spread": summary(fastest),
    }


def say(text: str) -> None:
    """Print a line of progress."""
    print(text, file=sys.stderr, flush=True)


def answer(result: dict[str, Any]) -> None:
    """Print the result as one JSON line, with what it ran on."""
    machine = {"machine": platform.machine(), "python": platform.python_version()}
    print(orjson.dumps({**result, **machine}).decode(), flush=True)
