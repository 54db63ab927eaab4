"""What a strategy must not know: look-ahead, and what it makes of where its data begins.

Look-ahead: over data that ends earlier, the same must be decided up to that end. A strategy that
computes on whole columns, or asks an indicator that sees all of them, is caught by this; one that
reads the file of its data by itself is not: the file does not end earlier.

Warm-up: over data that begins later, the same must be decided, once as many bars have passed as the
strategy says it needs, and both runs hold the same: what was held from before is not compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np

from tidemill.deploy.backtesting.search import Job
from tidemill.processors.kernels.backtest.ran import Decision

SHOWN = 5


@dataclass(frozen=True)
class Bias:
    """What a check found: how many points were looked at, at how many of them decisions differ, and
    the first differences: the point's time and what only one of both runs decided."""

    points: int
    differing: int
    decisions: int
    shown: tuple[dict[str, Any], ...]

    @property
    def held(self) -> bool:
        """Whether nothing differs."""
        return self.differing == 0

    def plain(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {"held": self.held, **{**vars(self), "shown": list(self.shown)}}


def look_ahead(job: Job, points: int) -> Bias:
    """End the data at so many places, evenly, and compare what was decided before."""
    whole = job.run().decisions
    closes = _closes(job)
    found = []
    for at in _places(len(closes), points):
        end = int(closes[at])
        part = job.of(int(closes[0]) - 1, end)
        cut = replace(part, start=job.start).run().decisions
        found.append(_difference(end, [one for one in whole if one[0] <= end], list(cut)))
    return _bias(found, len(whole))


def warm_up(job: Job, points: int) -> Bias:
    """Begin the data at so many places, evenly, and compare what was decided after the warm-up."""
    whole = job.run().decisions
    closes = _closes(job)
    needed = job.strategy().warm_up()
    last, found = int(closes[-1]), []
    for at in _places(len(closes), points):
        if at + needed >= len(closes):
            continue
        begin, ready = int(closes[at]), int(closes[at + needed])
        late = replace(job.of(begin, last), start=job.start).run().decisions
        found.append(_difference(begin, *_aligned(whole, late, ready)))
    return _bias(found, len(whole))


def _closes(job: Job) -> Any:
    return np.unique(np.concatenate([one.bars.ts_close for one in job.markets]))


def _places(count: int, points: int) -> list[int]:
    if points < 1 or count < 2:
        raise ValueError("a check needs at least one point and two bars")
    return sorted({count * k // (points + 1) for k in range(1, points + 1)})


def _aligned(
    whole: Sequence[Decision], late: Sequence[Decision], ready: int
) -> tuple[list[Decision], list[Decision]]:
    """Return what both decided from when on they can be compared; all after `ready` without that.

    That is once they hold the same after `ready`; or, where orders are placed and not targets, from
    their first common decision on.
    """
    after = [[one for one in each if one[0] > ready] for each in (whole, late)]
    orders = any(one[2] != "target" for each in (whole, late) for one in each)
    since = _common(*after) if orders else _same(whole, late, ready)
    if since is None:
        return after[0], after[1]
    return [o for o in after[0] if o[0] > since], [o for o in after[1] if o[0] > since]


def _common(one: Sequence[Decision], other: Sequence[Decision]) -> int | None:
    first: int | None = min((both[0] for both in set(one) & set(other)), default=None)
    return None if first is None else first - 1


def _same(whole: Sequence[Decision], late: Sequence[Decision], ready: int) -> int | None:
    """Return the first moment from `ready` on at which both hold the same targets."""
    held: tuple[dict[str, float], dict[str, float]] = ({}, {})
    marks = [(ready, 0, "", 0.0)]
    for which, each in enumerate((whole, late)):
        marks += [(ts, which, name, part) for ts, name, _, part, _ in each]
    for moment, at_once in groupby(sorted(marks), key=lambda mark: mark[0]):
        for _, which, name, part in at_once:
            held[which][name] = part
        if moment >= ready and _equal(*held):
            return int(moment)
    return None


def _equal(one: dict[str, float], other: dict[str, float]) -> bool:
    return all(one.get(name, 0.0) == other.get(name, 0.0) for name in one.keys() | other.keys())


def _difference(moment: int, whole: list[Decision], other: list[Decision]) -> dict[str, Any] | None:
    if whole == other:
        return None
    only, more = set(whole) - set(other), set(other) - set(whole)
    return {"at": moment, "only_whole": sorted(only)[:SHOWN], "only_part": sorted(more)[:SHOWN]}


def _bias(found: Sequence[dict[str, Any] | None], decisions: int) -> Bias:
    differing = [one for one in found if one is not None]
    return Bias(len(found), len(differing), decisions, tuple(differing[:SHOWN]))
