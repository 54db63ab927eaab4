"""Trades added up by the minute and compared, exactly, with the venue's own closed bars.

For channels that no id proves. A minute counts when it was heard from its beginning; it is judged
5 s after its bar came, when late and fetched trades are in. Whether a venue's bars count its block
trades is not always documented: a volume with or without them is equal.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tidemill.schemas.decimals import text_of
from tidemill.schemas.enums import RecordFlag
from tidemill.schemas.exact import to_int
from tidemill.streams.feeds.feed import Records

MINUTE_S = 60
MINUTE_NS = MINUTE_S * 1_000_000_000
MINUTES_KEPT = 8
SETTLE_NS = 5_000_000_000
"""How long after its bar a minute is judged."""
CLOCKS_NS = 5_000_000_000
"""How far the venue's clock may be ahead of ours when we begin to listen."""
NEVER = 1 << 63
BLOCK = np.uint16(RecordFlag.BLOCK)


class Differs(NamedTuple):
    """The venue's bar from `ts_from` to `ts_to` (ns) says `expected`, its trades add up to
    `received`: volume, or the number of trades where only that differs."""

    ts_from: int
    ts_to: int
    expected: str
    received: str


@dataclass
class _Minute:
    volume: int = 0
    blocks: int = 0
    trades: int = 0
    block_trades: int = 0


class _Bar(NamedTuple):
    volume: int
    trades: int
    due: int


class Audit:
    """The minutes of one instrument. Quantities are mantissas at `exponent`; `due` is when (ns) a
    minute is to be judged next."""

    def __init__(self, exponent: int) -> None:
        self.exponent = exponent
        self._minutes: dict[int, _Minute] = {}
        self._bars: dict[int, _Bar] = {}
        self._whole_from: int | None = None
        self._judged = -1
        self.due = NEVER

    def heard(self, now: int) -> None:
        """Everything is heard from `now` (ns, receive time) on; said again, it changes nothing."""
        if self._whole_from is None:
            self._whole_from = (now + CLOCKS_NS) // MINUTE_NS + 1

    def rescale(self, exponent: int) -> None:
        """Quantities have another exponent from here on: begin anew with the next whole minute."""
        if exponent != self.exponent:
            newest = max((*self._minutes, *self._bars), default=self._judged)
            self.exponent = exponent
            self._minutes.clear()
            self._bars.clear()
            self._next()
            self._whole_from = max(newest + 2, self._whole_from or 0)

    def add(self, trades: Records) -> None:
        """Count trades (N,) that were appended; the first ones ever begin the listening."""
        self.heard(int(max(trades["ts_event"][0], trades["ts_recv"][0])))
        minutes = trades["ts_event"] // MINUTE_NS
        blocks = (trades["flags"] & BLOCK) != 0
        for minute in np.unique(minutes).tolist():
            mine = minutes == minute
            known = self._minutes.setdefault(minute, _Minute())
            known.volume += sum(trades["quantity"][mine].tolist())
            known.trades += int(mine.sum())
            known.blocks += sum(trades["quantity"][mine & blocks].tolist())
            known.block_trades += int((mine & blocks).sum())
        while len(self._minutes) > MINUTES_KEPT:
            del self._minutes[min(self._minutes)]

    def bars(self, bars: Records) -> None:
        """Take the venue's closed bars (N,) of one minute each, others are passed over."""
        for bar in bars:
            minute, rest = divmod(int(bar["ts_open"]), MINUTE_NS)
            if bar["interval_s"] != MINUTE_S or rest or minute <= self._judged:
                continue
            volume = to_int(bar["volume_hi"], bar["volume_lo"])
            due = int(bar["ts_recv"]) + SETTLE_NS
            self._bars.setdefault(minute, _Bar(volume, int(bar["trade_count"]), due))
        while len(self._bars) > MINUTES_KEPT:
            del self._bars[min(self._bars)]
        self._next()

    def _next(self) -> None:
        self.due = min((bar.due for bar in self._bars.values()), default=NEVER)

    def judge(self, now: int) -> list[Differs]:
        """Compare the minutes whose time has come at `now` (ns), oldest first."""
        found = []
        for minute in sorted(m for m, bar in self._bars.items() if bar.due <= now):
            bar = self._bars.pop(minute)
            self._judged = max(self._judged, minute)
            known = self._minutes.pop(minute, _Minute())
            whole = self._whole_from is not None and minute >= self._whole_from
            if whole and (differs := self._compare(minute, bar, known)) is not None:
                found.append(differs)
        self._next()
        return found

    def _compare(self, minute: int, bar: _Bar, known: _Minute) -> Differs | None:
        ts_from = minute * MINUTE_NS
        ts_to = ts_from + MINUTE_NS - 1
        alone = known.volume - known.blocks, known.trades - known.block_trades
        ways = ((known.volume, known.trades), alone)
        fitting = [trades for volume, trades in ways if volume == bar.volume]
        if not fitting:
            said, counted = (text_of(v, self.exponent) for v in (bar.volume, known.volume))
            return Differs(ts_from, ts_to, said, counted)
        if bar.trades and bar.trades not in fitting:
            return Differs(ts_from, ts_to, f"{bar.trades} trades", f"{fitting[0]} trades")
        return None
