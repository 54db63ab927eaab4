"""The log's disk: feeds stop at 95 % and declare what they left out, and go on below 94 %."""

import asyncio
from pathlib import Path

from tidemill.schemas import events
from tidemill.schemas.events.feed import RecordsGivenUp, TradeGapDeclared
from tidemill.schemas.kinds.trade import TRADE
from tidemill.streams.feeds import disk
from tidemill.streams.feeds.binance_spot import BinanceSpot
from tidemill.streams.feeds.disk import Disk, usage_of
from tidemill.streams.feeds.feed import Batch, Endpoints
from tidemill.streams.feeds.role import Feed, Subscription
from tidemill.streams.memory import MemoryLog
from tidemill.streams.subjects import LOG_SUBJECTS


def test_full_from_95_percent_until_it_is_below_94():
    parts = [0.5, 0.8, 0.949, 0.95, 0.949, 0.94, 0.939, 0.945, 0.96]
    used = iter(parts)
    watched = Disk(lambda: next(used))
    seen = []
    for _ in parts:
        watched.look(0.0)
        seen.append(watched.full)
    assert seen == [False, False, False, True, True, True, False, False, True]


def test_from_80_percent_on_it_is_said_once_a_minute(monkeypatch):
    told: list[str] = []

    class Log:
        def warning(self, text: str, **_: object) -> None:
            told.append(text)

    monkeypatch.setattr(disk, "log", Log())
    watched = Disk(lambda: 0.85)
    for now in range(0, 130, 10):
        watched.look(float(now))
    assert len(told) == 3 and not watched.full
    Disk(lambda: 0.79).look(0.0)
    assert len(told) == 3


def test_the_used_part_is_of_the_file_system(tmp_path: Path):
    assert 0.0 < usage_of(tmp_path)() < 1.0


def trades(*ids: int) -> Batch:
    records = TRADE.empty(len(ids))
    records["trade_id"], records["ts_event"] = ids, [i * 10 for i in ids]
    return Batch("md.trade.BINANCE.BTCUSDT.33", TRADE, records, -8, -8)


async def test_while_the_disk_is_full_nothing_is_appended_and_afterwards_the_gap_is_declared():
    log = MemoryLog("LOG", LOG_SUBJECTS)
    used = 0.5
    subscription = Subscription(BinanceSpot(), ["BTCUSDT"], Endpoints("ws://x", "http://x"))
    feed = Feed(log, [subscription], usage=lambda: used)
    await feed.writer.open()
    writing = asyncio.create_task(feed.writer.run())
    try:
        await feed.put([trades(1)])
        await feed.writer.drain()
        used = 0.95
        feed.disk.look(0.0)
        await feed.put([trades(2, 3)])
        await feed.put([trades(4)])
        assert (await log.identity()).last == 1
        used = 0.9
        feed.disk.look(0.0)
        await feed.put([trades(5)])
        await feed.writer.drain()
    finally:
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
    reader = await log.read(2, LOG_SUBJECTS)
    stored = await reader.pull(10, 1 << 20, 0.1)
    told = [events.decode(m.payload) for m in stored if m.payload.startswith(b"{")]
    gaps = [e for e in told if isinstance(e, TradeGapDeclared)]
    assert [(e.first_id, e.last_id) for e in gaps] == [(2, 4)]
    assert [e.records for e in told if isinstance(e, RecordsGivenUp)] == [3]
    assert [m.subject.split(".")[1] for m in stored] == ["event", "event", "trade"]
