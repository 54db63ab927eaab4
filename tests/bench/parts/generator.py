"""A feed without a venue, for `bench latency`: trades on an open-loop schedule into LOG.

    python -m tests.bench.parts.generator RATE INSTRUMENTS SECONDS

Trade k is due, and `ts_recv` says received, at start + k / RATE, whatever became of those before
it: a stall shows in every trade that it delays. They go through the feeds' own source, framing and
Writer, in steps of 2 ms as a busy socket hands them over. Reads TIDEMILL_NATS_ENGINE; the last line
of standard output is JSON: records appended, how long it took, the worst lateness, CPU seconds.
"""

import asyncio
import sys
import time
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import orjson
import uvloop

from tidemill.deploy.load import VENUE, Load
from tidemill.deploy.roles.connections import streams
from tidemill.deploy.settings import load as settings
from tidemill.schemas.identifiers import ALL, partition
from tidemill.schemas.kinds.status import STATUS
from tidemill.schemas.kinds.trade import TRADE
from tidemill.streams import subjects
from tidemill.streams.appender import Appender
from tidemill.streams.feeds.feed import Batch, Venue
from tidemill.streams.feeds.items import Item
from tidemill.streams.feeds.outlet import FeedSource
from tidemill.streams.writer import Writer

STEP_S = 0.002
STATUS_NS = 500_000_000
TRIP_NS = 1_000_000
"""What a trade needs from the venue to us."""


class Schedule:
    """Trades of instruments in turn, one every 1e9 / `rate` ns from `start` (ns UTC) on.

    All of them are made beforehand, so that making them takes nothing from what is measured.
    """

    def __init__(self, rate: int, instruments: int, seconds: float) -> None:
        self.load = Load(instruments, rate)
        self.rate, self.start, self.made = rate, 0, 0
        self.status_at = 0
        each = int(rate * seconds) // instruments + rate  # a second more than are due
        self.prepared = [self.load.trades(which, each, 1) for which in range(instruments)]
        for which, records in enumerate(self.prepared):
            numbers = np.arange(each)
            records["ts_recv"] = (numbers * instruments + which) * 1_000_000_000 // rate
            records["ts_event"] = records["ts_recv"] - TRIP_NS
            records["trade_id"] = numbers + 1
        self.subjects = [
            subjects.md("trade", d.venue, d.symbol, partition(d.pair))
            for d in self.load.definitions
        ]

    def begin(self, start: int) -> None:
        """Let it begin at `start` (ns UTC)."""
        self.start = self.status_at = start
        for records in self.prepared:
            records["ts_recv"] += start
            records["ts_event"] += start

    def due(self, now: int) -> list[Item]:
        """Return what is due by `now` (ns UTC) and was not returned before."""
        count = len(self.subjects)
        ready = max(0, (now - self.start) * self.rate // 1_000_000_000)
        items: list[Item] = []
        for which, subject in enumerate(self.subjects):
            first = (self.made - which + count - 1) // count
            last = (ready - which + count - 1) // count
            if last > first:
                items.append(Batch(subject, TRADE, self.prepared[which][first:last], -8, -8))
        self.made = ready
        if now >= self.status_at:
            self.status_at += STATUS_NS
            record = STATUS.empty(1)
            record["ts_recv"], record["venue_time"] = now, now - TRIP_NS
            items.append(Batch(subjects.md("status", VENUE, "SPOT", ALL), STATUS, record))
        return items


async def run(rate: int, instruments: int, seconds: float) -> dict[str, Any]:
    """Append for `seconds`, then wait until all is stored; raises Fenced beside another one."""
    async with streams(settings().nats_engine, "generator") as opened:
        schedule = Schedule(rate, instruments, seconds)
        opening = [fact for fact in schedule.load.opening() if ".instrument." in fact[0]]
        owner = Appender(opened.log, f"md.*.{VENUE}.*.*")
        await owner.own()
        await owner.append(opening)
        venue = cast(Venue, SimpleNamespace(venue=VENUE, product="SPOT"))
        writer: Writer[Item] = Writer(opened.log, f"md.*.{VENUE}.*.*", FeedSource(venue))
        await writer.open()
        writing = asyncio.create_task(writer.run())
        schedule.begin(time.time_ns())
        cpu, late = time.process_time(), 0
        step = schedule.start
        while (now := time.time_ns()) < schedule.start + seconds * 1e9:
            late = max(late, now - step)
            await writer.put(schedule.due(now))
            step = max(step + int(STEP_S * 1e9), time.time_ns())
            await asyncio.sleep((step - time.time_ns()) / 1e9)
        await writer.drain()
        took = (time.time_ns() - schedule.start) / 1e9
        writing.cancel()
        return {
            "offered": schedule.made,
            "achieved_per_s": round((schedule.made - writer.given_up) / took),
            "given_up": writer.given_up,
            "flushes": writer.flushes,
            "step_late_max_ms": round(late / 1e6, 1),
            "cpu_s": round(time.process_time() - cpu, 2),
        }


def main() -> None:
    rate, instruments, seconds = sys.argv[1:]
    result = uvloop.run(run(int(rate), int(instruments), float(seconds)))
    print(orjson.dumps(result).decode(), flush=True)


if __name__ == "__main__":
    main()
