"""Trades proven by their ids: a pure machine that finds holes, waits for them, and says so.

One `TradeSequence` an instrument. Trades go in as they come, from any number of connections and
from REST; out come, in order, trades with rising contiguous ids, and what is to be said in between:

    id <= last      seen before: vanishes (counted)
    id == last + 1  appended
    id >  last + 1  a hole: Detected and Held(True) at once; later trades wait in a bounded buffer.
                    Filled when the missing ones came (by REST or late), after 2 s Declared lost;
                    then what waited is appended in id order, and Held(False) when no hole is left

A trade may stand for a range of ids, `first` to its own, as aggregates of some channels do; what is
said above of its id is then said of the range. It cannot be taken apart: a range of which a part
came already, or waits, vanishes, and the rest of it is missing.

A trade with an old id and a newer event time than the last one contradicts contiguous ids: the
venue began its ids anew (test networks do). That is declared, and counting starts again there.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidemill.schemas.enums import RecordFlag
from tidemill.streams.feeds.feed import Records

HOLD_NS_MAX = 2_000_000_000
"""Longest that a hole holds its instrument."""
WAITING_TRADES_MAX = 50_000
"""Most trades that wait behind holes; over it the oldest hole is declared."""
HOLE_TRADES_MAX = 10_000
"""Largest hole that is filled; a larger one is declared at once."""
RESTART_NS = 1_000_000_000
"""An old id with an event time so much after the last one's is a new numbering."""


class Detected(NamedTuple):
    """Ids `first` to `last` are missing; from now on they are waited for."""

    first: int
    last: int


class Filled(NamedTuple):
    """Ids `first` to `last`, missed before, have been appended."""

    first: int
    last: int


class Declared(NamedTuple):
    """Ids `first` to `last` are given up, between trades of event times `ts_from` and `ts_to`."""

    first: int
    last: int
    ts_from: int
    ts_to: int
    reason: str


class Held(NamedTuple):
    """Whether the instrument is held from here on."""

    hold: bool


class Waiting(NamedTuple):
    """A trade behind a hole, of ids `first` to `last`."""

    first: int
    last: int
    trade: Records


class Hole(NamedTuple):
    """Ids that are waited for until `deadline` (ns, receive time)."""

    first: int
    last: int
    deadline: int


Step = Records | Detected | Filled | Declared | Held
"""One outcome, in order: trades to append, or something to say."""


class TradeSequence:
    """The trade ids of one instrument. `last` is the newest appended id, None before the first."""

    def __init__(self, last: int | None = None, ts_last: int = 0) -> None:
        self.last = last
        self.ts_last = ts_last
        self.duplicates = 0
        self._holes: list[Hole] = []
        self._waiting: dict[int, Waiting] = {}  # by their first ids
        self._ranges: set[tuple[int, int]] = set()  # of those that wait, those of several ids
        self._newest = -1 if last is None else last
        self._held = False

    @property
    def holes(self) -> tuple[Hole, ...]:
        """Holes that are open, by id. Ids of them that wait already need no fetching."""
        return tuple(self._holes)

    def missing(self) -> list[tuple[int, int]]:
        """Return the ranges of ids (first, last) that are still to be fetched."""
        ranges: list[tuple[int, int]] = []
        for hole in self._holes:
            first = hole.first
            for present in sorted(i for i in self._waiting if hole.first <= i <= hole.last):
                if present > first:
                    ranges.append((first, present - 1))
                first = self._waiting[present].last + 1
            if first <= hole.last:
                ranges.append((first, hole.last))
        return ranges

    def take(
        self, trades: Records, now: int, firsts: NDArray[np.int64] | None = None
    ) -> list[Step]:
        """Take trades (N,) in the order received at `now` (ns); return what follows from them.

        `firsts` (N,) are their first ids; without it each stands for its own id only.
        """
        if not self._holes and self._follows(trades, firsts):
            self._appended(trades)
            return [trades]
        steps: list[Step] = []
        for at in range(len(trades)):
            trade = trades[at : at + 1]
            last = trade["trade_id"].item()
            first = last if firsts is None else min(firsts.item(at), last)
            self._take_one(Waiting(first, last, trade), now, steps)
        return self._done(steps)

    def expire(self, now: int) -> list[Step]:
        """Declare the holes whose deadline has come, and append what waited behind them."""
        steps: list[Step] = []
        while self._holes and self._holes[0].deadline <= now:
            self._declare_first(steps, "not filled in time")
        return self._done(steps)

    def give_up(self, reason: str) -> list[Step]:
        """Declare every hole; nothing waits afterwards."""
        steps: list[Step] = []
        self._declare_all(steps, reason)
        return self._done(steps)

    def _done(self, steps: list[Step]) -> list[Step]:
        """Release the instrument when no hole is left."""
        if self._held and not self._holes:
            self._held = False
            steps.append(Held(False))
        return _joined(steps)

    def _declare_all(self, steps: list[Step], reason: str) -> None:
        while self._holes:
            self._declare_first(steps, reason)

    def _follows(self, trades: Records, firsts: NDArray[np.int64] | None) -> bool:
        """Whether these are exactly the next ids."""
        ids, count = trades["trade_id"], len(trades)
        if firsts is not None:
            begins = self.last is None or firsts.item(0) == self.last + 1
            return begins and bool((firsts[1:] == ids[:-1].astype(np.int64) + 1).all())
        first, last = ids.item(0), ids.item(-1)
        if last - first != count - 1 or (self.last is not None and first != self.last + 1):
            return False
        return count < 3 or bool((ids[1:] == ids[:-1] + np.uint64(1)).all())

    def _appended(self, trades: Records) -> None:
        last: int = trades["trade_id"].item(-1)
        self.last, self.ts_last = last, trades["ts_event"].item(-1)
        self._newest = max(self._newest, last)

    def _take_one(self, taken: Waiting, now: int, steps: list[Step]) -> None:
        if self.last is None or (not self._holes and taken.first == self.last + 1):
            self._appended(taken.trade)
            steps.append(taken.trade)
        elif taken.last <= self.last:
            self._take_old(taken, steps)
        elif self._overlaps(taken):
            self.duplicates += 1
            self._miss(taken.last, now, steps)
        else:
            self._take_later(taken, now, steps)

    def _overlaps(self, taken: Waiting) -> bool:
        """Whether a part of its ids came or waits. One that is not in one hole counts, too."""
        first, last = taken.first, taken.last
        if first == last and not self._ranges:
            return first in self._waiting
        if any(begin <= last and first <= end for begin, end in self._ranges):
            return True
        if first == last:
            return first in self._waiting
        assert self.last is not None
        if first <= self.last or any(first <= waiting <= last for waiting in self._waiting):
            return True
        return first <= self._newest and not any(
            hole.first <= first and last <= hole.last for hole in self._holes
        )

    def _take_old(self, taken: Waiting, steps: list[Step]) -> None:
        trade, first = taken.trade, taken.first
        if int(trade["ts_event"][0]) <= self.ts_last + RESTART_NS:
            self.duplicates += 1
            return
        reason = f"the venue's ids began anew at {first} after {self.last}"
        self._declare_all(steps, reason)
        before = max(first - 1, 0)
        steps.append(Declared(0, before, self.ts_last, int(trade["ts_event"][0]), reason))
        self._newest = -1
        self._appended(trade)
        steps.append(trade)

    def _take_later(self, taken: Waiting, now: int, steps: list[Step]) -> None:
        """A trade beyond a hole, old or new, or one that was missing."""
        self._waiting[taken.first] = taken._replace(trade=taken.trade.copy())
        if taken.first < taken.last:
            self._ranges.add((taken.first, taken.last))
        self._miss(taken.first - 1, now, steps)
        self._newest = max(self._newest, taken.last)
        self._drain(steps)
        self._bound(steps)

    def _miss(self, last: int, now: int, steps: list[Step]) -> None:
        """The ids after the newest, up to `last`, are missing."""
        if last > self._newest:
            self._open(self._newest + 1, last, now, steps)
            self._newest = last
            self._bound(steps)

    def _bound(self, steps: list[Step]) -> None:
        """Give up what is too much to wait for, or to fetch."""
        while len(self._waiting) > WAITING_TRADES_MAX and self._holes:
            self._declare_first(steps, "too many trades wait behind it")
        if self._holes and self._holes[-1].last - self._holes[-1].first >= HOLE_TRADES_MAX:
            self._declare_all(steps, f"more than the {HOLE_TRADES_MAX} trades that are fetched")

    def _pop(self, first: int) -> Waiting | None:
        """The trade that waits with this first id, which waits no more."""
        waited = self._waiting.pop(first, None)
        if waited is not None and waited.first < waited.last:
            self._ranges.discard((waited.first, waited.last))
        return waited

    def _open(self, first: int, last: int, now: int, steps: list[Step]) -> None:
        if not self._held:
            self._held = True
            steps.append(Held(True))
        self._holes.append(Hole(first, last, now + HOLD_NS_MAX))
        steps.append(Detected(first, last))

    def _drain(self, steps: list[Step]) -> None:
        """Append what is contiguous now, and close the holes that this passes."""
        assert self.last is not None
        while (waited := self._pop(self.last + 1)) is not None:
            self._appended(waited.trade)
            steps.append(waited.trade)
            if self._holes and self._holes[0].last == self.last:
                hole = self._holes.pop(0)
                steps.append(Filled(hole.first, hole.last))

    def _declare_first(self, steps: list[Step], reason: str) -> None:
        """Give up the oldest hole: say what of it came and what did not, in id order."""
        assert self.last is not None
        hole = self._holes.pop(0)
        if self.last >= hole.first:
            steps.append(Filled(hole.first, self.last))
        while self.last < hole.last:
            present = min((i for i in self._waiting if i > self.last), default=hole.last + 1)
            after = self._waiting.get(present)
            ts_to = int(after.trade["ts_event"][0]) if after is not None else 0
            lost_to = min(present - 1, hole.last)
            steps.append(
                Declared(self.last + 1, lost_to, self.ts_last, ts_to or self.ts_last, reason)
            )
            self.last = lost_to
            self._append_present(hole.last, steps)
        self._drain(steps)

    def _append_present(self, hole_last: int, steps: list[Step]) -> None:
        """Append the run of fetched trades inside a hole that is being given up."""
        assert self.last is not None
        first = self.last + 1
        while self.last < hole_last and (waited := self._pop(self.last + 1)) is not None:
            self._appended(waited.trade)
            steps.append(waited.trade)
        if self.last >= first:
            steps.append(Filled(first, self.last))


def _joined(steps: Iterable[Step]) -> list[Step]:
    """Join neighbouring trades to one array."""
    joined: list[Step] = []
    run: list[Records] = []
    for step in (*steps, None):
        if isinstance(step, np.ndarray):
            run.append(step)
            continue
        if run:
            joined.append(np.concatenate(run) if len(run) > 1 else run[0])
            run = []
        if step is not None:
            joined.append(step)
    return joined


def filled(trades: Records) -> Records:
    """Mark trades as fetched over REST, in place, and return them."""
    trades["flags"] |= np.uint16(RecordFlag.FILLED)
    return trades
