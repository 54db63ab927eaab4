"""Walk-forward: parameters are chosen on one stretch of bars and used on the next, again and again.

A stretch of the test begins with no position; bars before it warm the strategy up, and what it
decides in them is not done. What is held at the end of a stretch is worth its last close, and its
equity is what the next one begins with. The last stretch may be shorter.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tidemill.deploy.backtesting.search import Given, Job, best, scores
from tidemill.processors.kernels.backtest.outcome import Outcome
from tidemill.processors.kernels.backtest.ran import Ran


@dataclass(frozen=True)
class Window:
    """One stretch: where the training and the test begin and end (ns), what was chosen, and what
    came of it."""

    train: tuple[int, int]
    test: tuple[int, int]
    given: Given
    trained: float | None
    ran: Ran

    def plain(self, objective: str) -> dict[str, Any]:
        """Return it as JSON has it."""
        outcome = Outcome.of(self.ran)
        return {
            "train": list(self.train),
            "test": list(self.test),
            "parameters": self.given,
            f"train_{objective}": self.trained,
            "test_result": outcome.plain(),
        }


def parse(text: str) -> tuple[int, int]:
    """Read ``train:test``, both in bars. Raises ValueError."""
    train, colon, test = text.partition(":")
    if not colon or not train.isdigit() or not test.isdigit() or int(train) < 2 or int(test) < 1:
        raise ValueError(f"--walk-forward is train:test in bars, as 500:100, not {text!r}")
    return int(train), int(test)


def walk_forward(
    job: Job,
    lengths: tuple[int, int],
    each: Sequence[Given],
    objective: str,
    processes: int,
    told: Callable[[], None] = lambda: None,
) -> list[Window]:
    """Return the stretches in order. Raises ValueError where there are too few bars for one."""
    train, test = lengths
    closes = np.unique(np.concatenate([one.bars.ts_close for one in job.markets]))
    if len(closes) <= train:
        raise ValueError(f"{len(closes)} bars are too few to train on {train} and test after")
    before = int(closes[0]) - 1
    edges = [before, *closes.tolist()]
    found: list[Window] = []
    equity = job.rules.initial
    for at in range(train, len(closes), test):
        begin, now, end = edges[at - train], edges[at], edges[min(at + test, len(closes))]
        training = job.of(begin, now)
        numbers = scores(training, each, processes, told)
        which = best(each, numbers, objective)
        given = dict(each[which]) if which is not None else {}
        chosen = numbers[which] if which is not None else None
        warm_up = job.strategy(given).warm_up()
        testing = job.of(now, end, warm_up)
        ran = replace(testing, rules=replace(job.rules, initial=equity)).run(given)
        trained = chosen[objective] if chosen else None
        found.append(Window((begin, now), (now, end), given, trained, ran))
        equity = ran.final
    return found
