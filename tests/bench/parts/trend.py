"""Trends of what was sampled over time: how much something grows an hour, and whether that is flat.

The slope is Theil's and Sen's (the median of the slopes of all pairs of samples): a few samples
that are far off, as while a process collects garbage or the machine is busy, do not move it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

HOUR_S = 3_600.0
Samples = Sequence[tuple[float, float]]
"""Pairs of (seconds, value)."""


class Trend(NamedTuple):
    """`growth` is per hour, in the value's unit; `ratio` is it over the median."""

    median: float
    growth: float
    ratio: float
    flat: bool


def slope(samples: Samples) -> float:
    """Return the growth of the value a second. Raises ValueError for fewer than two samples."""
    if len(samples) < 2:
        raise ValueError(f"{len(samples)} samples have no slope")
    seconds, values = np.array(sorted(samples), np.float64).T
    first, second = np.triu_indices(len(seconds), 1)
    apart = seconds[second] - seconds[first]
    wide = apart > 0
    return float(np.median((values[second] - values[first])[wide] / apart[wide]))


def trend(samples: Samples, ratio_max: float, floor: float) -> Trend:
    """Return whether a value stays: it grows less than `ratio_max` of its median, or `floor`
    (in its unit), an hour. What falls is flat.
    """
    median = float(np.median([value for _, value in samples]))
    growth = slope(samples) * HOUR_S
    ratio = growth / median if median else 0.0
    return Trend(median, growth, ratio, growth <= max(ratio_max * abs(median), floor))


def after(samples: Samples, warm_up_s: float) -> Samples:
    """Return the samples that were taken after the warm-up."""
    return [one for one in samples if one[0] >= warm_up_s]
