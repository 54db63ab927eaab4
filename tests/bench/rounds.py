"""Rounds of a benchmark: alternating, after a warm-up, with median and spread."""

import platform
import statistics
import sys
from collections.abc import Sequence
from typing import Any

import orjson


def summary(values: Sequence[float], digits: int = 0) -> dict[str, float]:
    """Return median, minimum and maximum."""
    return {
        "median": round(statistics.median(values), digits),
        "min": round(min(values), digits),
        "max": round(max(values), digits),
    }


def say(text: str) -> None:
    """Print a line of progress."""
    print(text, file=sys.stderr, flush=True)


def answer(result: dict[str, Any]) -> None:
    """Print the result as one JSON line, with what it ran on."""
    machine = {"machine": platform.machine(), "python": platform.python_version()}
    print(orjson.dumps({**result, **machine}).decode(), flush=True)
