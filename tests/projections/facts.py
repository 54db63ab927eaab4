"""Facts and derived records for tests of projections: seeded, as LOG and OUT would hold them."""

from collections.abc import Iterable, Sequence
from decimal import Decimal

import numpy as np
import orjson

from tidemill.processors import catalog
from tidemill.schemas import examples
from tidemill.schemas.enums import OrderSide, RecordFlag
from tidemill.schemas.events import Event
from tidemill.schemas.events import encode as encode_event
from tidemill.schemas.events.feed import (
    BookGapDetected,
    BookResynced,
    ChecksumMismatch,
    ClockSkew,
    FeedConnected,
    FeedStale,
    TradeGapDetected,
    TradeGapSuspected,
)
from tidemill.schemas.events.instrument import InstrumentDefined
from tidemill.schemas.frame import encode
from tidemill.schemas.identifiers import ALL, PARTITIONS, pair, partition
from tidemill.schemas.kinds import KINDS
from tidemill.schemas.kinds.bar import BAR
from tidemill.schemas.kinds.book import BOOK
from tidemill.schemas.kinds.derivative import DERIVATIVE
from tidemill.schemas.kinds.liquidation import LIQUIDATION
from tidemill.schemas.kinds.price import PRICE
from tidemill.schemas.kinds.quote import QUOTE
from tidemill.schemas.kinds.time import TIME
from tidemill.schemas.kinds.trade import TRADE
from tidemill.schemas.kinds.venue_bar import VENUE_BAR
from tidemill.schemas.rows import from_rows
from tidemill.streams import subjects
from tidemill.streams.log import Checkpoint, Log
from tidemill.streams.memory import MemoryLog

DAY_NS = 86_400_000_000_000
T0_NS = 1_760_054_399_000_000_000  # a second before a midnight: inserts touch two days
INSTRUMENTS = (
    ("BTC", "USDT", "BINANCE"),
    ("ETH", "USDT", "BINANCE"),
    ("BTC", "USDT", "BINANCE_US"),
)
Facts = list[tuple[str, bytes]]
PROCESSORS = tuple(processor.name for processor in catalog.PROCESSORS)


def logs() -> tuple[MemoryLog, MemoryLog]:
    """LOG and OUT in memory."""
    return MemoryLog("LOG", subjects.LOG_SUBJECTS), MemoryLog("OUT", subjects.OUT_SUBJECTS)


def trades(index: int, count: int = 7) -> tuple[str, bytes]:
    """A frame of trades, the same for the same index."""
    random = np.random.default_rng(index)
    base, quote, venue = INSTRUMENTS[index % 3]
    records = TRADE.empty(count)
    records["ts_event"] = T0_NS + index * 37_000_000 + np.sort(random.integers(0, 9_999, count))
    records["ts_recv"] = records["ts_event"] + 1_000_003
    records["trade_id"] = np.arange(count) + index * count
    records["price"] = random.integers(1, 10**13, count)
    records["quantity"] = random.integers(1, 10**12, count)
    records["aggressor_side"] = random.integers(0, 3, count)
    records["flags"] = random.integers(0, 64, count)
    payload = encode(TRADE, records, index, -8 if index % 2 else -2, -8)
    return subjects.md("trade", venue, base + quote, partition(pair(base, quote))), payload


def quotes(index: int, count: int = 2) -> tuple[str, bytes]:
    """A frame of quotes, some without an event time."""
    random = np.random.default_rng(10_000 + index)
    base, quote, venue = INSTRUMENTS[index % 3]
    records = QUOTE.empty(count)
    records["ts_event"] = np.where(random.random(count) < 0.5, -(1 << 63), T0_NS + index)
    records["ts_recv"] = T0_NS + index * 37_000_000 + np.arange(count)
    records["update_id"] = index * count + np.arange(count)
    for name in ("bid_price", "bid_quantity", "ask_price", "ask_quantity"):
        records[name] = random.integers(0, 10**12, count)
    payload = encode(QUOTE, records, index, -8, -8)
    return subjects.md("quote", venue, base + quote, partition(pair(base, quote))), payload


def time(index: int) -> tuple[str, bytes]:
    """A time record."""
    records = TIME.empty(1)
    records["ts"] = T0_NS + index * 37_000_000
    return "time", encode(TIME, records, index)


def instrument(index: int, tick_size: str = "0.01") -> tuple[str, bytes]:
    """A definition of one of the instruments."""
    base, quote, venue = INSTRUMENTS[index % 3]
    event = InstrumentDefined(
        sequence=index,
        venue=venue,
        symbol=base + quote,
        product="SPOT",
        base=base,
        quote=quote,
        tick_size=tick_size,
        lot_size="12345678901234567890.123456789012345678",
        ts_event=T0_NS + index,
    )
    subject = subjects.md("instrument", venue, base + quote, partition(pair(base, quote)))
    return subject, encode_event(event)


def _subject(kind: str, index: int) -> str:
    base, quote, venue = INSTRUMENTS[index % 3]
    return subjects.md(kind, venue, base + quote, partition(pair(base, quote)))


def book(index: int, count: int = 9) -> tuple[str, bytes]:
    """A frame of one message of a book: each fourth a snapshot, the others changes."""
    random = np.random.default_rng(20_000 + index)
    records = BOOK.empty(count)
    records["ts_event"] = T0_NS + index * 37_000_000
    records["ts_recv"] = records["ts_event"] + 2_000_001
    records["first_update_id"], records["last_update_id"] = index * 10, index * 10 + 9
    records["price"] = random.integers(1, 10**12, count)
    records["quantity"] = np.where(random.random(count) < 0.3, 0, random.integers(1, 10**12, count))
    records["side"] = random.integers(1, 3, count)
    records["flags"] = RecordFlag.SNAPSHOT if index % 4 == 0 else RecordFlag.NONE
    records["flags"][-1] |= RecordFlag.LAST
    return _subject("book", index), encode(BOOK, records, index, -2, -8)


def derivative(index: int, count: int = 3) -> tuple[str, bytes]:
    """A frame of what a venue says of a contract: not everything in every record."""
    random = np.random.default_rng(30_000 + index)
    records = DERIVATIVE.empty(count)
    records["ts_event"] = records["ts_recv"] = T0_NS + index * 37_000_000 + np.arange(count)
    for name in ("mark_price", "index_price", "open_interest"):
        records[name] = random.integers(1, 10**13, count)
    records["funding_rate"] = random.integers(-(10**10), 10**10, count)
    records["next_funding_time"], records["funding_interval_s"] = T0_NS + 8 * 3600 * 10**9, 28_800
    records["fields"] = random.integers(1, 64, count)
    return _subject("derivative", index), encode(DERIVATIVE, records, index, -8, -3)


def liquidation(index: int) -> tuple[str, bytes]:
    """A frame of one forced order."""
    records = LIQUIDATION.empty(1)
    records["ts_event"] = records["ts_recv"] = T0_NS + index * 37_000_000
    records["price"], records["quantity"] = 6_000_000 + index, 3 * index + 1
    records["average_price"], records["filled_quantity"] = 6_000_100, index
    records["side"], records["flags"] = OrderSide.SELL, RecordFlag.LIQUIDATION
    return _subject("liquidation", index), encode(LIQUIDATION, records, index, -2, -3)


def venue_bar(index: int) -> tuple[str, bytes]:
    """A frame of one bar that a venue made."""
    records = VENUE_BAR.empty(1)
    records["ts_event"] = records["ts_recv"] = T0_NS + index * 37_000_000
    records["ts_open"], records["interval_s"] = T0_NS - 60 * 10**9, 60
    for name in ("open", "high", "low", "close"):
        records[name] = 6_000_000 + index
    records["volume_lo"], records["quote_volume_lo"], records["quote_volume_hi"] = index, 5, 1
    records["trade_count"] = index
    return _subject("venue_bar", index), encode(VENUE_BAR, records, index, -2, -3)


def feed_event(index: int) -> tuple[str, bytes]:
    """What a feed says of itself, of one type after the other."""
    base, quote, venue = INSTRUMENTS[index % 3]
    one = {"sequence": index, "venue": venue, "symbol": base + quote, "ts_recv": T0_NS + index}
    feed = {"sequence": index, "venue": venue, "product": "SPOT", "ts_recv": T0_NS + index}
    ids = {"expected_id": index * 10 + 10, "received_id": index * 10 + 12}
    made: tuple[Event, ...] = (
        FeedConnected.model_validate({**feed, "connection": index}),
        BookGapDetected.model_validate({**one, **ids, "last_update_id": index, "reason": "GAP"}),
        BookResynced.model_validate(
            {**one, "last_update_id": index, "invalid_ns": 2**40, "attempts": 2}
        ),
        ChecksumMismatch.model_validate(
            {**one, "last_update_id": index, "expected": -5, "computed": 7}
        ),
        TradeGapDetected.model_validate({**one, "first_id": 3, "last_id": 5}),
        TradeGapSuspected.model_validate(
            {**one, "ts_from": T0_NS, "ts_to": T0_NS + 1, "reason": "RECONNECTED"}
        ),
        ClockSkew.model_validate({**feed, "offset_ns": -3 * index, "latency_ns": 2**64 - 1}),
    )
    event = made[index // 3 % len(made)]
    if "product" in vars(event):
        return subjects.md("event", venue, "SPOT", ALL), encode_event(event)
    return _subject("event", index), encode_event(event)


def everything(count: int, start: int = 0) -> Facts:
    """`facts`, with the other kinds in place of some quotes."""
    others = (book, derivative, liquidation, venue_bar, feed_event, screen, quotes)
    return [
        others[index // 8 % len(others)](index) if index % 8 == 3 else message
        for index, message in enumerate(facts(count, start), start)
    ]


def facts(count: int, start: int = 0, rows: int = 7) -> Facts:
    """`count` messages as a busy LOG has them: definitions, trades, quotes, time."""
    made: Facts = []
    for index in range(start, start + count):
        match index % 8:
            case _ if index == start + count - 1:
                made.append(time(index))  # so that every table can tell that it is complete
            case 0 if index < 64:
                made.append(instrument(index // 8, f"0.{index + 1:04d}"))
            case 3 | 6:
                made.append(quotes(index))
            case 7:
                made.append(time(index))
            case _:
                made.append(trades(index, rows))
    return made


async def append(log: Log, messages: Iterable[tuple[str, bytes]]) -> int:
    """Append messages in batches; return the last sequence."""
    batch, last = list(messages), 0
    for at in range(0, len(batch), 500):
        last = await log.append(batch[at : at + 500], None)
    return last


def bar(
    r: int, n: int = 0, instrument: int = 0, interval_s: int = 60, revision: int = 0, i: int = 0
) -> tuple[str, bytes]:
    """A frame of one bar that was derived at (r, i)."""
    base, quote, venue = INSTRUMENTS[instrument]
    random = np.random.default_rng(r * 1_000 + n)
    part = partition(pair(base, quote))
    record = BAR.empty(1)
    record["at_r"], record["at_i"], record["n"] = r, i, part << 24 | n
    record["ts_open"], record["interval_s"] = T0_NS + r * 1_000_000_000, interval_s
    record["revision"] = revision
    for name in ("open", "high", "low", "close"):
        record[name] = random.integers(1, 10**13)
    record["volume_lo"], record["volume_hi"] = random.integers(0, 2**62), 0
    record["quote_volume_lo"], record["quote_volume_hi"] = random.integers(0, 2**62), 3
    record["trade_count"] = 3
    spec = f"{interval_s}s" if interval_s < 60 else f"{interval_s // 60}m"
    subject = subjects.derived("bars", spec, venue, base + quote, part)
    return subject, encode(BAR, record, r, -8, -8)


def price(r: int, n: int = 0) -> tuple[str, bytes]:
    """A frame of one price of BTC/USDT."""
    part = partition("BTC/USDT")
    record = PRICE.empty(1)
    record["at_r"], record["n"], record["ts"] = r, part << 24 | n, T0_NS + r
    record["volume_lo"], record["quote_volume_lo"], record["last_price_sum_lo"] = r, 2 * r, 3 * r
    record["best_bid"], record["best_ask"] = 10**9 + r, 10**9 + 2 * r
    record["best_bid_venue"], record["best_ask_venue"] = b"BINANCE", b"BINANCE_US"
    record["venues"] = 2
    return subjects.derived("prices", "24h", "ALL", "BTC/USDT", part), encode(
        PRICE, record, r, -10, -8
    )


def feed_state(r: int) -> tuple[str, bytes]:
    """A feed that turned stale, or fresh again, at root r."""
    event = FeedStale(
        at_r=r,
        at_i=0,
        n=1,
        venue="BINANCE",
        product="SPOT",
        ts=T0_NS + r,
        silent_ns=r,
        state="STALE" if r % 2 else "FRESH",
    )
    return subjects.derived("feeds", "stale", "BINANCE", "SPOT", ALL), encode_event(event)


def derived(root: str, spec: str, r: int) -> tuple[str, bytes]:
    """The example of a derived kind, as if it had been derived at root r."""
    kind = KINDS[subjects.DERIVED[root]]
    records = from_rows(kind, examples.ROWS[kind.name])
    part = partition("BTC/USDT")
    records["at_r"], records["at_i"] = r, 0
    records["n"] = part << 24 | np.arange(len(records))
    time = "ts" if "ts" in (kind.dtype.names or ()) else "ts_open"
    records[time] = T0_NS + r * 37_000_000
    subject = subjects.derived(root, spec, "BINANCE", "BTCUSDT", part)
    return subject, encode(kind, records, r, *examples.exponents(kind.name))


def screen(r: int) -> tuple[str, bytes]:
    """A screen that is defined, changed to the score, and removed."""
    tag = "ScreenRemoved.v1" if r % 3 == 2 else "ScreenDefined.v1"
    event = examples.EVENTS[tag]
    if r % 3 == 1:
        event = event.model_copy(update={"condition": ""})
    return "ctl.screens.oversold", encode_event(event)


DERIVED = (
    *(("books", "1s"), ("levels", "top"), ("snapshots", "full")),
    *(
        ("derivatives", "1m"),
        ("arbitrage", "spot"),
        ("activity_bars", "tick"),
        ("resampled_bars", "3m"),
        ("composite_bars", "1m"),
        ("indicators", "1m"),
        ("signals", "oversold"),
        ("anomalies", "watch"),
    ),
)
"""Roots and specs of what `derived` can make."""


class Shards:
    """Writes OUT as shards would: outputs and checkpoints of the partitions each of them owns."""

    def __init__(self, out: Log, log_uuid: str, processors: Sequence[str] = PROCESSORS) -> None:
        self._out, self._log_uuid, self._processors = out, log_uuid, list(processors)
        self._lasts: dict[str, int] = {}

    async def commit(
        self, outputs: Facts, done: int, partitions: Iterable[int] = (*range(PARTITIONS), ALL)
    ) -> None:
        """One transaction: outputs, then a checkpoint of each partition."""
        checkpoints = []
        for number in partitions:
            subject = subjects.checkpoint("main", number)
            payload = orjson.dumps(
                {
                    "graph": "main",
                    "partition": number,
                    "done": done,
                    "processors": self._processors,
                    "code_hash": "0" * 64,
                    "log": self._log_uuid,
                }
            )
            checkpoints.append(Checkpoint(subject, payload, self._lasts.get(subject, 0)))
        self._lasts |= await self._out.transact(outputs, checkpoints)


def amount(mantissa: int, exponent: int) -> Decimal:
    """mantissa x 10^exponent."""
    return Decimal(mantissa).scaleb(exponent)
