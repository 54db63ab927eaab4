"""What an asset is worth, as a path that every venue of a pair follows.

An Ornstein-Uhlenbeck process in the logarithm of the price: over seconds a random walk with the
volatility of a crypto asset, over days drawn back to where it started, so that two venues that were
started at different moments stay close. The path depends on the shared seed and the symbol alone;
a venue looks at it late and with noise of its own (`Outlook`).
"""

from dataclasses import dataclass
from math import exp, sqrt
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

STEP_S = 0.1
STEPS_A_SECOND = 10
YEAR_S = 365.25 * 86_400
VOLATILITY = 0.6  # a year
REVERSION_S = 6 * 3_600.0
BLOCK = 1_024


def rng_of(seed: int, *names: str) -> np.random.Generator:
    """A generator for one purpose: equal seed and names, equal numbers, on every machine."""
    return np.random.Generator(np.random.PCG64([seed, *(crc32(name.encode()) for name in names)]))


@dataclass(frozen=True)
class Outlook:
    """How a venue sees the fundamental: late by `lag_s`, off by a noise of `noise` (a fraction of
    the price, one standard deviation) that it forgets with time constant `noise_s`."""

    lag_s: float = 0.0
    noise: float = 0.0
    noise_s: float = 5.0


class Fundamental:
    """The value of one symbol as one venue sees it, in ticks, for times that never go back."""

    def __init__(self, seed: int, venue: str, symbol: str, price: float, outlook: Outlook) -> None:
        self._value_rng = rng_of(seed, "fundamental", symbol)
        self._noise_rng = rng_of(seed, "noise", venue, symbol)
        self._price = price
        self._outlook = outlook
        self._lag = round(outlook.lag_s / STEP_S)
        self._start = 0
        self._log = 0.0
        self._noise = 0.0
        self._values = self._next_block()

    def at(self, step: int) -> float:
        """The value `step` times STEP_S after the venue opened; never earlier than before."""
        step = max(0, step - self._lag)
        while step - self._start >= BLOCK:
            self._start += BLOCK
            self._values = self._next_block()
        return float(self._values[step - self._start])

    def _next_block(self) -> NDArray[np.float64]:
        keep = exp(-STEP_S / REVERSION_S)
        sigma = VOLATILITY * sqrt(STEP_S / YEAR_S)
        noise_keep = exp(-STEP_S / self._outlook.noise_s)
        noise_sigma = self._outlook.noise * sqrt(1.0 - noise_keep**2)
        moves = sigma * self._value_rng.standard_normal(BLOCK)
        errors = noise_sigma * self._noise_rng.standard_normal(BLOCK)
        values = np.empty(BLOCK)
        for i in range(BLOCK):
            self._log = keep * self._log + float(moves[i])
            self._noise = noise_keep * self._noise + float(errors[i])
            values[i] = self._price * exp(self._log + self._noise)
        return values
