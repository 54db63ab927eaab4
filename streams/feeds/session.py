"""Trades that no id proves, complete while a connection lives: merged, joined again, or suspected.

One `TradeSession` an instrument of a SESSION channel. Trades go in as they come, from any number of
connections and from REST, each with 64 bits that tell it from the others; each comes out once, in
the order received. After all connections were away, what they missed is looked for in the venue's
newest trades, which REST answers:

    resumed     Held(True); live trades wait; the newest trades are asked for
    joined      an answer holds a trade that came before: what follows it there is appended; with no
                live trade waiting the hold ends, and the next live one must be known from an answer
    closed      an answer holds the first live trade: nothing is missing; the rest is appended
    suspected   the answers do not reach back so far, or none came in 2 s: Suspected says between
                which event times trades may be missing; the rest is appended

After a restart nothing tells which trades of the newest sequence number were appended, so that is
always suspected; newer ones are still taken from the answer.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidemill.schemas.enums import RecordFlag
from tidemill.streams.feeds.feed import Records
from tidemill.streams.feeds.gaps import HOLD_NS_MAX, WAITING_TRADES_MAX, Held

IDENTITIES_KEPT, IDENTITIES_MAX = 1_024, 65_536
"""So many trades are remembered at least, and at most."""
KEPT_NS = 10_000_000_000
"""Between the two, those of so much event time: longer than connections differ."""
FILLED = np.uint16(RecordFlag.FILLED)


class Suspected(NamedTuple):
    """Trades may be missing between event times `ts_from` and `ts_to` (ns)."""

    ts_from: int
    ts_to: int


SessionStep = Records | Suspected | Held
"""One outcome, in order: trades to append, or something to say."""
Identities = NDArray[np.uint64]


class TradeSession:
    """The trades of one instrument. `last` is the newest one's id (the venue's sequence number),
    None before the first; `ts_last` is the latest event time."""

    def __init__(self, last: int | None = None, ts_last: int = 0) -> None:
        self.last = last
        self.ts_last = ts_last
        self.duplicates = 0
        self._seen: dict[int, int] = {}  # identity: event time, in the order appended
        self._forgotten = 0  # the latest event time of those not remembered any more
        self._waiting: dict[int, Records] = {}  # identity: trade, in the order received
        self._away = last is not None
        self._resuming = False
        self._joined = False
        self._deadline: int | None = None

    @property
    def holes(self) -> bool:
        """Whether something is waited for, until a deadline."""
        return self._deadline is not None

    def missing(self) -> list[tuple[int, int]]:
        """Return what is to be fetched, as ids from and to: the newest trades, or nothing."""
        if not self._resuming or (self._joined and not self._waiting):
            return []
        first = (self.last or 0) + 1
        return [(first, first)]

    # connections

    def lapsed(self, now: int) -> list[SessionStep]:
        """No connection carries the trades any more, at `now` (ns)."""
        steps = self._suspect(now) if self._deadline is not None else []
        self._away = self.last is not None
        self._resuming = False
        return steps

    def resumed(self, now: int) -> list[SessionStep]:
        """A connection carries the trades (again) from `now` (ns) on."""
        if not self._away:
            return []
        self._away, self._resuming, self._joined = False, True, False
        return self._hold(now)

    def _hold(self, now: int) -> list[SessionStep]:
        if self._deadline is not None:
            return []
        self._deadline = now + HOLD_NS_MAX
        return [Held(True)]

    def _release(self) -> list[SessionStep]:
        if self._deadline is None:
            return []
        self._deadline = None
        return [Held(False)]

    def expire(self, now: int) -> list[SessionStep]:
        """Suspect what was not joined in time, and append what waits."""
        if self._deadline is None or self._deadline > now:
            return []
        return self._suspect(now)

    def give_up(self, now: int) -> list[SessionStep]:
        """Suspect what is not joined; nothing waits afterwards."""
        return self._suspect(now) if self._deadline is not None else []

    def _suspect(self, now: int) -> list[SessionStep]:
        """End the wait: between the newest trade and the next one something may be missing."""
        first = next(iter(self._waiting.values()), None)
        ts_to = now if first is None else int(first["ts_event"][0])
        steps: list[SessionStep] = [Suspected(self.ts_last, max(ts_to, self.ts_last))]
        return steps + self._close()

    def _close(self) -> list[SessionStep]:
        """Append what waits: from here on everything is heard."""
        self._resuming = False
        waiting, self._waiting = self._waiting, {}
        kept = [trade for identity, trade in waiting.items() if identity not in self._seen]
        self.duplicates += len(waiting) - len(kept)
        for identity, trade in waiting.items():
            self._seen.setdefault(identity, int(trade["ts_event"][0]))
        return [*self._appended(kept), *self._release()]

    # trades

    def take(self, trades: Records, identities: Identities, now: int) -> list[SessionStep]:
        """Take trades (N,) with their identities (N,), in the order received at `now` (ns)."""
        answered = (trades["flags"] & FILLED) != 0
        changes = np.diff(answered) | (np.diff(trades["ts_recv"]) != 0) & answered[1:]
        bounds = [0, *(np.flatnonzero(changes) + 1).tolist(), len(trades)]
        steps: list[SessionStep] = []
        for start, end in pairwise(bounds):
            some, ids = trades[start:end], identities[start:end].tolist()
            if answered[start]:
                steps += self._answered(some, ids, now)
                continue
            steps += self.resumed(now)  # a connection may say trades before it says that it is up
            if self._resuming:
                steps += self._wait(some, ids, now)
            else:
                steps += self._live(some, ids)
        return steps

    def _live(self, trades: Records, identities: list[int]) -> list[SessionStep]:
        """Trades of connections, nothing between them and what was before."""
        times = trades["ts_event"].tolist()
        fresh = []
        for at, identity in enumerate(identities):
            if identity not in self._seen:
                self._seen[identity] = times[at]
                fresh.append(at)
        self.duplicates += len(identities) - len(fresh)
        if not fresh:
            return []
        kept = trades if len(fresh) == len(trades) else trades[fresh]
        self._newest(kept)
        return [kept]

    def _wait(self, trades: Records, identities: list[int], now: int) -> list[SessionStep]:
        """Trades of connections, something perhaps missing before them."""
        steps: list[SessionStep] = []
        for at, identity in enumerate(identities):
            if self._resuming and not self._waiting and identity in self._seen:
                steps += self._close()  # an answer told of it: nothing is missing before it
            if not self._resuming:
                return steps + self._live(trades[at:], identities[at:])
            if identity in self._waiting:
                self.duplicates += 1
                continue
            self._waiting[identity] = trades[at : at + 1].copy()
            steps += self._hold(now)
            if len(self._waiting) > WAITING_TRADES_MAX:
                steps += self._suspect(now)
        return steps

    def _answered(self, trades: Records, identities: list[int], now: int) -> list[SessionStep]:
        """The venue's newest trades, without a hole among them, oldest first."""
        if not self._resuming:
            self.duplicates += len(trades)
            return []
        times = trades["ts_event"]
        known = next((at for at, one in enumerate(identities) if one in self._seen), None)
        missed = self._newer(trades) if known is None else times >= times[known]
        missed &= times > self._forgotten  # older ones may have come
        first, trade = next(iter(self._waiting.items()), (None, trades[:1]))
        closing = first in identities
        if closing:
            missed &= times <= trade["ts_event"][0]  # what is later comes by itself
        fresh = self._fresh(np.flatnonzero(missed).tolist(), identities)
        self.duplicates += len(trades) - len(fresh)
        steps: list[SessionStep] = []
        if known is None:
            if not fresh and not closing:  # it says nothing of what may be missing
                return [] if self._seen or self._waiting else self._suspect(now)
            ts_to = times[fresh[0]] if fresh else trade["ts_event"][0]
            steps.append(Suspected(self.ts_last, max(int(ts_to), self.ts_last)))
        self._joined = True
        for at in fresh:
            self._seen[identities[at]] = int(times[at])
        steps += self._appended([trades[at : at + 1] for at in fresh])
        if first is None:
            return steps + self._release()
        return steps + self._close() if closing else steps

    def _fresh(self, positions: list[int], identities: list[int]) -> list[int]:
        """Those of `positions` whose trades neither came before nor wait."""
        known = (self._seen, self._waiting)
        return [at for at in positions if not any(identities[at] in those for those in known)]

    def _newer(self, trades: Records) -> NDArray[np.bool_]:
        """Which trades are newer than all that came, by number, by time where there is none."""
        numbers = trades["trade_id"]
        by_number = numbers > np.uint64(self.last or 0)
        by_time = trades["ts_event"] > self.ts_last
        newer: NDArray[np.bool_] = np.where(numbers == 0, by_time, by_number)
        return newer

    def _appended(self, trades: list[Records]) -> list[SessionStep]:
        if not trades:
            return []
        joined = np.concatenate(trades)
        self._newest(joined)
        return [joined]

    def _newest(self, trades: Records) -> None:
        """Note the newest trade, and forget the oldest that are not needed any more."""
        self.last = max(self.last or 0, int(trades["trade_id"].max()))
        self.ts_last = max(self.ts_last, int(trades["ts_event"].max()))
        excess = len(self._seen) - IDENTITIES_KEPT
        while excess > 0:
            oldest = next(iter(self._seen))
            if self._seen[oldest] > self.ts_last - KEPT_NS and len(self._seen) <= IDENTITIES_MAX:
                return
            self._forgotten = max(self._forgotten, self._seen.pop(oldest))
            excess -= 1
