"""Facts and derived records for tests of projections: seeded, as LOG and OUT would hold them."""

from collections.abc import Iterable, Sequence
from decimal import Decimal

import numpy as np
import orjson

from tidemill.schemas.events import encode as encode_event
from tidemill.schemas.events.instrument import InstrumentDefined
from tidemill.schemas.frame import encode
from tidemill.schemas.identifiers import ALL, PARTITIONS, pair, partition
from tidemill.schemas.kinds.bar import BAR
from tidemill.schemas.kinds.price import PRICE
from tidemill.schemas.kinds.quote import QUOTE
from tidemill.schemas.kinds.time import TIME
from tidemill.schemas.kinds.trade import TRADE
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


class Shards:
    """Writes OUT as shards would: outputs and checkpoints of the partitions each of them owns."""

    def __init__(
        self, out: Log, log_uuid: str, processors: Sequence[str] = ("bars", "price")
    ) -> None:
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
