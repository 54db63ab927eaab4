"""What a feed puts into a log: frames in their order, and what was given up is declared."""

import asyncio
from typing import Any

import numpy as np
import pytest

from tidemill.schemas import events, kinds
from tidemill.schemas.enums import RecordFlag
from tidemill.schemas.events.feed import (
    BookGapDetected,
    BookResynced,
    RecordsGivenUp,
    TradeGapDeclared,
    TradeGapDetected,
)
from tidemill.schemas.kinds.book import BOOK
from tidemill.schemas.kinds.quote import QUOTE
from tidemill.schemas.kinds.status import STATUS
from tidemill.schemas.kinds.trade import TRADE
from tidemill.streams.feeds.binance_spot import BinanceSpot
from tidemill.streams.feeds.connections import Turn, socket_message
from tidemill.streams.feeds.feed import Batch, Endpoints, Instruments
from tidemill.streams.feeds.frames import FRAME_BYTES, cut, cut_flush
from tidemill.streams.feeds.intake import Intake
from tidemill.streams.feeds.items import Fact
from tidemill.streams.feeds.live import LiveFeed
from tidemill.streams.feeds.outlet import FeedSource
from tidemill.streams.feeds.role import Nowhere
from tidemill.streams.memory import MemoryLog
from tidemill.streams.subjects import LOG_SUBJECTS
from tidemill.streams.writer import Limits, Writer

MS = 1_000_000
VENUE = BinanceSpot()


def trades(*ids: int, at_ms: int = 0, symbol: str = "BTCUSDT") -> Batch:
    records = TRADE.empty(len(ids))
    records["trade_id"], records["ts_recv"] = ids, [(at_ms + i) * MS for i in range(len(ids))]
    records["ts_event"] = [i * 10 for i in ids]
    return Batch(f"md.trade.BINANCE.{symbol}.33", TRADE, records, -8, -8)


def quotes(count: int, at_ms: int = 0, symbol: str = "BTCUSDT") -> Batch:
    records = QUOTE.empty(count)
    records["ts_recv"] = at_ms * MS
    return Batch(f"md.quote.BINANCE.{symbol}.33", QUOTE, records, -8, -8)


def hold(on: int, at_ms: int) -> Batch:
    record = STATUS.empty(1)
    record["hold"], record["ts_recv"] = on, at_ms * MS
    return Batch("md.status.BINANCE.BTCUSDT.33", STATUS, record)


def detected(at_ms: int) -> Fact:
    event = TradeGapDetected(
        venue="BINANCE", symbol="BTCUSDT", first_id=3, last_id=4, ts_recv=at_ms * MS
    )
    return Fact("md.event.BINANCE.BTCUSDT.33", event, event.ts_recv)


def ids(payload: bytes) -> list[int]:
    return [int(i) for i in kinds.decode(payload).records["trade_id"]]


def test_records_of_one_cell_share_a_frame_and_cells_do_not():
    messages = cut([trades(1, 2, 3, 4, 5, 6, 7, at_ms=1)], 9)
    assert [ids(p) for _, p in messages] == [[1, 2, 3, 4], [5, 6, 7]]
    assert [kinds.decode(p).sequence for _, p in messages] == [9, 10]


def test_a_live_flush_is_one_frame_of_each_instrument_however_long_it_took():
    items = [trades(k, at_ms=10 * k, symbol=symbol) for k in range(1, 9) for symbol in ("A", "B")]
    messages = cut_flush(items, 9)
    assert [ids(p) for _, p in messages] == [[1, 2, 3, 4, 5, 6, 7, 8]] * 2
    assert [kinds.decode(p).sequence for _, p in messages] == [9, 10]


def test_a_live_flush_goes_kind_by_kind_but_never_past_what_was_told_of_its_instrument():
    items = [
        *(quotes(1), quotes(1, symbol="A"), trades(1), trades(1, symbol="A")),
        *(detected(1), quotes(2), hold(0, 2), trades(5, at_ms=3)),
    ]
    told = [subject.split(".")[1:4:2] for subject, _ in cut_flush(items, 1)]
    assert told == [
        *(["trade", "A"], ["trade", "BTCUSDT"], ["quote", "A"], ["quote", "BTCUSDT"]),
        *(["event", "BTCUSDT"], ["quote", "BTCUSDT"]),
        *(["status", "BTCUSDT"], ["trade", "BTCUSDT"]),
    ]


def test_what_concerns_the_whole_feed_stays_between_the_records_of_a_live_flush():
    feed = hold(0, 2)._replace(subject="md.status.BINANCE.SPOT.all")
    messages = cut_flush([trades(1, 2), feed, trades(3, at_ms=2), trades(1, symbol="A")], 1)
    told = [(subject.split(".")[3], kinds.decode(p).sequence) for subject, p in messages]
    assert told == [("BTCUSDT", 1), ("SPOT", 2), ("A", 3), ("BTCUSDT", 4)]


def test_batches_of_one_subject_are_joined():
    messages = cut([trades(1, 2), quotes(2), trades(3, at_ms=2), quotes(1, at_ms=2)], 1)
    assert [len(kinds.decode(p).records) for _, p in messages] == [3, 3]


def test_an_event_parts_the_trades_before_it_from_those_behind():
    items = [trades(1, 2), hold(1, 1), detected(1), trades(5, at_ms=1), hold(0, 2)]
    story: list[Any] = []
    for _, payload in cut(items, 1):
        if payload.startswith(b"{"):
            story.append(events.decode(payload).tag())
        else:
            frame = kinds.decode(payload)
            name = "hold" if frame.kind is STATUS else "trade_id"
            story += [(name, int(v)) for v in frame.records[name]]
    assert story == [
        *(("trade_id", 1), ("trade_id", 2), ("hold", 1)),
        *("TradeGapDetected.v1", ("trade_id", 5), ("hold", 0)),
    ]


def test_trades_that_waited_come_after_what_filled_their_hole():
    filled = trades(3, 4, at_ms=50)
    waited = trades(5, 6, at_ms=2)
    messages = cut([trades(1, 2), filled, waited], 1)
    assert [i for _, p in messages for i in ids(p)] == [1, 2, 3, 4, 5, 6]


def test_a_frame_is_at_most_64_kb():
    batch = trades(*range(5000))
    batch.records["ts_recv"] = 7
    messages = cut([batch], 1)
    assert all(len(p) <= FRAME_BYTES for _, p in messages) and len(messages) > 1
    assert [i for _, p in messages for i in ids(p)] == list(range(5000))


def test_what_is_given_up_is_declared_with_its_ids_and_holds_are_said_again():
    source = FeedSource(VENUE)
    source.give_up([trades(7, 8), quotes(3), hold(1, 5), hold(0, 9), trades(9, at_ms=20)])
    items = source.declare()
    declared = [item.event for item in items if isinstance(item, Fact)]
    given_up = [e for e in declared if isinstance(e, RecordsGivenUp)]
    gaps = [e for e in declared if isinstance(e, TradeGapDeclared)]
    assert [e.records for e in given_up] == [6]
    assert [(e.symbol, e.first_id, e.last_id, e.ts_from, e.ts_to) for e in gaps] == [
        ("BTCUSDT", 7, 9, 70, 90)
    ]
    holds = [item for item in items if isinstance(item, Batch)]
    assert [int(b.records["hold"][0]) for b in holds] == [0], "only the newest counts"
    assert source.declare() == []


def test_a_lost_definition_is_said_again():
    source = FeedSource(VENUE)
    definition = VENUE.infer("BTCUSDT")
    assert definition is not None
    fact = Fact("md.instrument.BINANCE.BTCUSDT.33", definition, 1)
    source.give_up([fact])
    assert list(source.declare()) == [fact]


async def test_records_that_a_log_does_not_take_in_time_are_declared_when_it_is_back():
    log = MemoryLog("LOG", LOG_SUBJECTS)
    source = FeedSource(VENUE)
    writer = Writer(log, "md.*.BINANCE.*.*", source, Limits(give_up_s=0.1))
    await writer.open()
    running = asyncio.create_task(writer.run())
    log.away = True
    await writer.put([trades(1, 2)])
    await asyncio.sleep(0.05)
    await writer.put([trades(3, 4), quotes(2)])
    await asyncio.sleep(0.5)
    log.away = False
    await writer.put([trades(5)])
    await writer.drain()
    running.cancel()
    reader = await log.read(1, LOG_SUBJECTS)
    stored = await reader.pull(100, 1 << 20, 0.1)
    found = [i for m in stored if ".trade." in m.subject for i in ids(m.payload)]
    gaps = [e for m in stored if m.payload[:1] == b"{" for e in [events.decode(m.payload)]]
    lost = [e for e in gaps if isinstance(e, TradeGapDeclared)]
    missing = {i for e in lost for i in range(e.first_id, e.last_id + 1)}
    assert sorted(missing | set(found)) == [1, 2, 3, 4, 5] and not missing & set(found)
    assert missing, "something had to be given up"
    assert any(isinstance(e, RecordsGivenUp) for e in gaps)


def test_two_connections_are_merged_by_ids():
    intake = Intake(VENUE, Instruments(infer=VENUE.infer))
    turns = [Turn("public", i, "OPENING", "", ("BTCUSDT",)) for i in (1, 2)]
    intake.take([MS] * 2, [socket_message(turn) for turn in turns])

    def quote(i: int) -> bytes:
        return b'{"u":%d,"s":"BTCUSDT","b":"1","B":"1","a":"2","A":"1"}' % i

    order = [1, 2, 1, 3, 2, 3, 4, 4, 5]
    items = intake.take([MS] * len(order), [quote(i) for i in order])
    (batch,) = [item for item in items if isinstance(item, Batch)]
    assert list(batch.records["update_id"]) == [1, 2, 3, 4, 5]
    assert intake.counts["duplicates"] == 4


def test_a_feed_of_many_instruments_takes_as_many_lines_as_the_venue_wants():
    symbols = [f"A{i}USDT" for i in range(1200)]
    lines = LiveFeed(VENUE, symbols, Endpoints("ws://x", "http://x"), Nowhere()).lines
    plans = lines.plans(symbols)
    for socket in VENUE.sockets:
        mine = [plan.symbols for plan in plans if plan.socket == socket]
        assert [symbol for plan in mine for symbol in plan] == symbols
        assert max(map(len, mine)) * len(socket.channels) <= VENUE.limits.streams_max
        assert len(mine) == -(-1200 // (VENUE.limits.streams_max // len(socket.channels)))


@pytest.mark.parametrize("seed", range(5))
def test_any_split_of_items_keeps_each_instruments_order(seed):
    rng = np.random.default_rng(seed)
    delays = rng.integers(0, 9, 60)
    items = [trades(i, at_ms=int(i + delays[i]), symbol=s) for i in range(60) for s in "AB"]
    for symbol in "AB":
        whole = [i for s, p in cut(items, 1) if f".{symbol}." in s for i in ids(p)]
        assert whole == list(range(60))


def book(*ids: int, snapshot: bool = False, symbol: str = "BTCUSDT") -> Batch:
    records = BOOK.empty(len(ids))
    records["first_update_id"] = records["last_update_id"] = ids
    records["ts_recv"], records["price"], records["side"] = [i * MS for i in ids], 1, 1
    records["flags"] = RecordFlag.LAST | (RecordFlag.SNAPSHOT if snapshot else 0)
    return Batch(f"md.book.BINANCE.{symbol}.33", BOOK, records, -8, -8)


def update_ids(messages: list[tuple[str, bytes]], symbol: str = "BTCUSDT") -> list[int]:
    frames = [p for s, p in messages if s.startswith(f"md.book.BINANCE.{symbol}.")]
    return [int(i) for p in frames for i in kinds.decode(p).records["last_update_id"]]


def test_of_a_book_that_was_torn_nothing_is_appended_before_its_next_snapshot():
    source = FeedSource(VENUE)
    source.give_up([book(7, 8), book(9)])
    assert source.torn() == ["BTCUSDT"] and source.torn() == []
    gaps = [i.event for i in source.declare() if isinstance(i, Fact)]
    (gap,) = [e for e in gaps if isinstance(e, BookGapDetected)]
    assert (gap.symbol, gap.last_update_id, gap.expected_id, gap.received_id) == (
        "BTCUSDT",
        6,
        7,
        9,
    )
    assert gap.reason == "OVERFLOW"
    assert update_ids(source.cut([book(10), trades(1), book(4, symbol="ETHUSDT")], 1)) == []
    both = source.cut([book(11), book(20, snapshot=True), book(21)], 1)
    assert update_ids(both) == [20, 21]
    assert update_ids(source.cut([book(22)], 1)) == [22]


def test_that_a_book_was_torn_is_declared_once_and_its_next_snapshot_says_that_it_is_back():
    intake, source = Intake(VENUE, Instruments(infer=VENUE.infer)), FeedSource(VENUE)

    def snapshot(last: int) -> bytes:
        path = b"rest:/api/v3/depth?symbol=BTCUSDT&limit=1000"
        data = b'{"lastUpdateId":%d,"bids":[["1","1"]],"asks":[["2","1"]]}' % last
        return b'{"stream":"%b","data":%b}' % (path, data)

    source.give_up([i for i in intake.take([MS], [snapshot(5)]) if isinstance(i, Batch)])
    intake.renew(source.torn(), 2 * MS)
    assert intake.wanting() == ["BTCUSDT"]
    items = [*source.declare(), *intake.take([3 * MS], [snapshot(9)])]
    events = [i.event for i in items if isinstance(i, Fact)]
    books = [e for e in events if isinstance(e, BookGapDetected | BookResynced)]
    assert [type(e) for e in books] == [BookGapDetected, BookResynced]
    assert intake.events["BookGapDetected"] == 0
    assert update_ids(source.cut([i for i in items if isinstance(i, Batch)], 1)) == [9, 9]


def test_a_torn_book_spares_the_others_and_all_that_is_no_book():
    source = FeedSource(VENUE)
    source.give_up([book(7)])
    messages = source.cut([trades(1), book(8), book(8, symbol="ETHUSDT"), hold(1, 5)], 1)
    assert update_ids(messages, "ETHUSDT") == [8] and update_ids(messages) == []
    assert any(s.startswith("md.trade.") for s, _ in messages)
    assert any(s.startswith("md.status.") for s, _ in messages)


def test_losses_are_declared_by_product():
    source = FeedSource(VENUE, {"BTCUSDT": "SPOT", "BTCUSDT-PERP": "USDM"})
    source.give_up([quotes(2), quotes(3, symbol="BTCUSDT-PERP")])
    facts = [item for item in source.declare() if isinstance(item, Fact)]
    assert [(f.subject, f.event.product, f.event.records) for f in facts] == [
        ("md.event.BINANCE.SPOT.all", "SPOT", 2),
        ("md.event.BINANCE.USDM.all", "USDM", 3),
    ]


async def test_what_a_writer_refuses_comes_after_what_waits_and_is_declared_with_the_next():
    log = MemoryLog("LOG", LOG_SUBJECTS)
    writer = Writer(log, "md.*.BINANCE.*.*", FeedSource(VENUE), Limits())
    await writer.open()
    running = asyncio.create_task(writer.run())
    await writer.put([trades(1, 2)])
    await writer.refuse([trades(3)])
    await writer.refuse([trades(4, 5), book(9)])
    assert (await log.identity()).last == 1
    await writer.put([trades(6), book(10)])
    await writer.drain()
    running.cancel()
    reader = await log.read(1, LOG_SUBJECTS)
    stored = await reader.pull(100, 1 << 20, 0.1)
    told: list[Any] = []
    for m in stored:
        if m.payload[:1] == b"{":
            told.append(events.decode(m.payload))
        else:
            told += ids(m.payload) if ".trade." in m.subject else [m.subject]
    gaps = [e for e in told if isinstance(e, TradeGapDeclared)]
    assert [(e.first_id, e.last_id) for e in gaps] == [(3, 5)]
    assert [e for e in told if isinstance(e, int)] == [1, 2, 6]
    assert told.index(2) < told.index(gaps[0]) < told.index(6)
    assert not [e for e in told if isinstance(e, str)], "nothing of a torn book"
    assert writer.given_up == 3
