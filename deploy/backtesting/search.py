"""Many parameters at once: grids and random draws, in processes, in one order whatever finishes
first."""

import itertools
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tidemill.deploy.backtesting.strategies import Chosen
from tidemill.processors.kernels.backtest.market import Market
from tidemill.processors.kernels.backtest.outcome import Outcome
from tidemill.processors.kernels.backtest.ran import Ran
from tidemill.processors.kernels.backtest.rules import Rules
from tidemill.processors.kernels.backtest.simulation import Simulation
from tidemill.processors.kernels.backtest.strategy import Strategy

RUNS_MAX = 1_000_000
OBJECTIVES = (
    *("sharpe", "sortino", "calmar", "omega", "total_return", "cagr", "profit_factor"),
    *("expectancy", "win_rate", "information_ratio"),
)
Given = dict[str, float]


@dataclass(frozen=True)
class Range:
    """A parameter from `low` to `high`, both included, by `step`."""

    name: str
    low: float
    high: float
    step: float

    @classmethod
    def parse(cls, text: str) -> "Range":
        """Read ``period=5:50:5`` (step 1 without one). Raises ValueError."""
        name, equals, values = text.partition("=")
        try:
            low, high, *rest = (float(value) for value in values.split(":"))
            (step,) = rest or (1.0,)
        except ValueError as error:
            raise ValueError(f"{text!r} is no range, as period=5:50:5") from error
        if not equals or not name or step <= 0 or high < low or (high - low) / step > RUNS_MAX:
            raise ValueError(f"{text!r} is no range, as period=5:50:5")
        return cls(name, low, high, step)

    def values(self) -> list[float]:
        """Return its values in order: each is one product, so that nothing adds up."""
        count = int((self.high - self.low) / self.step * (1 + 1e-12)) + 1
        return [self.low + k * self.step for k in range(count)]


def grid(ranges: Sequence[Range]) -> Iterator[Given]:
    """Yield every combination, the last range fastest. Raises ValueError for too many."""
    values = [one.values() for one in ranges]
    count = int(np.prod([float(len(each)) for each in values]))
    if count > RUNS_MAX:
        raise ValueError(f"{count:,} combinations are more than {RUNS_MAX:,}: use --random")
    names = [one.name for one in ranges]
    return (dict(zip(names, each, strict=True)) for each in itertools.product(*values))


def drawn(strategy: type[Strategy], ranges: Sequence[Range], count: int, seed: int) -> list[Given]:
    """Return `count` draws by a seed: of the ranges, or of all that the strategy declares.

    Raises ValueError for a count that is not from 1 to a million.
    """
    if not 1 <= count <= RUNS_MAX:
        raise ValueError(f"--random is from 1 to {RUNS_MAX:,}")
    if not ranges:
        ranges = [Range(p.name, p.low, p.high, 1.0 if p.whole else 0.0) for p in _of(strategy)]
    random = np.random.default_rng(seed)
    return [{one.name: _draw(random, one) for one in ranges} for _ in range(count)]


def _of(strategy: type[Strategy]) -> Sequence[Any]:
    return strategy.parameters


def _draw(random: np.random.Generator, one: Range) -> float:
    if one.step == 0.0:
        return float(random.uniform(one.low, one.high))
    steps = int((one.high - one.low) / one.step * (1 + 1e-12))
    return float(one.low + int(random.integers(0, steps + 1)) * one.step)


@dataclass(frozen=True)
class Job:
    """What every run has in common. `start` (ns): decisions before it are not done."""

    chosen: Chosen
    markets: tuple[Market, ...]
    rules: Rules
    given: Given
    start: int = 0

    def strategy(self, more: Given | None = None) -> Strategy:
        """Return the strategy with its parameters. Raises ValueError as it does."""
        return self.chosen.load()(short=self.rules.short, **{**self.given, **(more or {})})

    def run(self, more: Given | None = None) -> Ran:
        """Run it once."""
        return Simulation(self.markets, self.rules, self.start).run(self.strategy(more))

    def of(self, start: int, end: int, warm_up: int = 0) -> "Job":
        """Return it of bars that close after `start` and not after `end` (ns), and `warm_up` bars
        before them in which nothing is done. Markets without a bar there are left out."""
        parts = [_part(one, start, end, warm_up) for one in self.markets]
        markets = tuple(one for one in parts if len(one.bars.close))
        return replace(self, markets=markets, start=start + 1)


def _part(market: Market, start: int, end: int, warm_up: int) -> Market:
    first, last = np.searchsorted(market.bars.ts_close, [start, end], side="right").tolist()
    return market.part(max(first - warm_up, 0), max(last, first))


Score = dict[str, Any] | None
"""Numbers of a run; None for parameters that do not go together."""

_JOB: list[Job] = []


def _begin(job: Job) -> None:
    _JOB[:] = [job]


def _score(given: Given) -> Score:
    return score(_JOB[0], given)


def score(job: Job, given: Given) -> Score:
    """Return the numbers of one run."""
    try:
        job.strategy(given)
    except ValueError:
        return None
    return Outcome.of(job.run(given)).plain()


def scores(
    job: Job, each: Sequence[Given], processes: int, told: Callable[[], None] = lambda: None
) -> list[Score]:
    """Return the numbers of every run, in the order of `each`; `told` is called after each."""
    found: list[Score] = []
    if processes == 1 or len(each) < 2 * processes:
        for given in each:
            found.append(score(job, given))
            told()
        return found
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(processes, context, _begin, (job,)) as pool:
        chunk = max(1, min(64, len(each) // (4 * processes)))
        for one in pool.map(_score, each, chunksize=chunk):
            found.append(one)
            told()
    return found


def best(each: Sequence[Given], found: Sequence[Score], objective: str) -> int | None:
    """Return which is best, the first of equals; None where none has the number at all."""
    numbers = [None if one is None else one[objective] for one in found]
    known = [k for k, number in enumerate(numbers) if number is not None]
    return max(known, key=lambda k: (numbers[k], -k)) if known else None
