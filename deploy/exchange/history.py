"""What a market remembers for REST: its last trades, and klines of every interval.

Both are rings over arrays. Trade `i` is at row `i % trades_kept`; the kline that opens in bucket
`b` of an interval is at row `b % KLINES_KEPT` of it, so a bucket without trades is a row whose open
time is not its own. Klines are exact: volumes in lots, quote volumes in ticks times lots (int64).
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tidemill.processors.kernels.order_book import BUY

MINUTE_US = 60_000_000
INTERVALS_US = {
    "1s": 1_000_000,
    "1m": MINUTE_US,
    "3m": 3 * MINUTE_US,
    "5m": 5 * MINUTE_US,
    "15m": 15 * MINUTE_US,
    "30m": 30 * MINUTE_US,
    "1h": 60 * MINUTE_US,
    "2h": 120 * MINUTE_US,
    "4h": 240 * MINUTE_US,
    "6h": 360 * MINUTE_US,
    "8h": 480 * MINUTE_US,
    "12h": 720 * MINUTE_US,
    "1d": 1_440 * MINUTE_US,
    "3d": 3 * 1_440 * MINUTE_US,
    "1w": 7 * 1_440 * MINUTE_US,
}
# The epoch was a Thursday; Binance's weeks begin on Monday.
OFFSETS_US = {name: 4 * 1_440 * MINUTE_US if name == "1w" else 0 for name in INTERVALS_US}
LENGTHS = np.array(list(INTERVALS_US.values()), np.int64)
OFFSETS = np.array([OFFSETS_US[name] for name in INTERVALS_US], np.int64)
KLINES_KEPT = 1_024

TRADE_DTYPE = np.dtype(
    [
        ("trade_id", "i8"),
        ("price", "i8"),  # ticks
        ("qty", "i8"),  # lots
        ("time_us", "i8"),
        ("agg_id", "i8"),  # one a taker order and price
        ("buyer_is_maker", "i1"),
    ],
    align=True,
)
KLINE_DTYPE = np.dtype(
    [
        ("open_us", "i8"),
        ("open", "i8"),
        ("high", "i8"),
        ("low", "i8"),
        ("close", "i8"),
        ("volume", "i8"),
        ("quote_volume", "i8"),
        ("taker_volume", "i8"),
        ("taker_quote_volume", "i8"),
        ("first_id", "i8"),
        ("last_id", "i8"),
        ("count", "i8"),
    ],
    align=True,
)


def bucket_us(interval: str, time_us: int) -> int:
    """When the kline of `interval` that contains `time_us` opens."""
    length, offset = INTERVALS_US[interval], OFFSETS_US[interval]
    return (time_us - offset) // length * length + offset


@njit(cache=True)
def _fold(kline: np.void, trade: np.void, open_us: int) -> None:
    price, qty = trade["price"], trade["qty"]
    if kline["open_us"] != open_us or kline["count"] == 0:
        kline["open_us"], kline["open"], kline["high"], kline["low"] = open_us, price, price, price
        kline["volume"], kline["quote_volume"], kline["count"] = 0, 0, 0
        kline["taker_volume"], kline["taker_quote_volume"] = 0, 0
        kline["first_id"] = trade["trade_id"]
    kline["high"], kline["low"] = max(kline["high"], price), min(kline["low"], price)
    kline["close"], kline["last_id"] = price, trade["trade_id"]
    kline["volume"] += qty
    kline["quote_volume"] += price * qty
    kline["count"] += 1
    if trade["buyer_is_maker"] == 0:
        kline["taker_volume"] += qty
        kline["taker_quote_volume"] += price * qty


@njit(cache=True)
def record(
    trades: NDArray[np.void],
    klines: NDArray[np.void],
    fills: NDArray[np.void],
    agg_id: int,
    time_us: int,
    lengths: NDArray[np.int64],
    offsets: NDArray[np.int64],
) -> int:
    """Remember `fills`, all of which happened at `time_us`. Returns the last aggregate id.

    trades (trades_kept,) TRADE_DTYPE; klines (intervals, KLINES_KEPT) KLINE_DTYPE; `agg_id` is the
    last one given before.
    """
    taker, price = 0, 0
    for fill in fills:
        if fill["taker_order_id"] != taker or fill["price"] != price:
            agg_id += 1
            taker, price = fill["taker_order_id"], fill["price"]
        trade = trades[fill["trade_id"] % trades.size]
        trade["trade_id"], trade["price"], trade["qty"] = fill["trade_id"], price, fill["qty"]
        trade["time_us"], trade["agg_id"] = time_us, agg_id
        trade["buyer_is_maker"] = 0 if fill["aggressor"] == BUY else 1
        for i in range(lengths.size):
            bucket = (time_us - offsets[i]) // lengths[i]
            kline = klines[i, bucket % klines.shape[1]]
            _fold(kline, trade, bucket * lengths[i] + offsets[i])
    return agg_id


class History:
    """The last `trades_kept` trades and KLINES_KEPT klines an interval of one market."""

    def __init__(self, trades_kept: int) -> None:
        self._trades = np.zeros(trades_kept, TRADE_DTYPE)
        self._klines = np.zeros((len(INTERVALS_US), KLINES_KEPT), KLINE_DTYPE)
        self._agg_id = 0
        self.last_id = 0

    def record(self, fills: NDArray[np.void], time_us: int) -> NDArray[np.void]:
        """Remember fills (FILL_DTYPE, ids going on from the last); the trades they are."""
        if not fills.size:
            return self._trades[:0]
        first = self.last_id + 1
        self._agg_id = record(
            self._trades, self._klines, fills, self._agg_id, time_us, LENGTHS, OFFSETS
        )
        self.last_id += fills.size
        return self.trades(first, fills.size)

    def trades(self, first_id: int, limit: int) -> NDArray[np.void]:
        """At most `limit` trades from `first_id` on, or from the oldest that is remembered."""
        first = max(first_id, self.last_id - self._trades.size + 1, 1)
        count = max(0, min(limit, self.last_id + 1 - first))
        row = first % self._trades.size
        if row + count <= self._trades.size:
            return self._trades[row : row + count].copy()
        return self._trades[np.arange(first, first + count) % self._trades.size]

    def oldest_id(self) -> int:
        return max(1, self.last_id - self._trades.size + 1)

    def klines(self, interval: str, first_us: int, last_us: int) -> list[NDArray[np.void]]:
        """The klines that open from `first_us` to `last_us` (bucket times), one (1,) KLINE_DTYPE
        each. A bucket without trades repeats the close before it with volume 0, as Binance's do;
        before the first trade remembered there is none."""
        length = INTERVALS_US[interval]
        row = self._klines[list(INTERVALS_US).index(interval)]
        found: list[NDArray[np.void]] = []
        first_us = max(first_us, last_us - (KLINES_KEPT - 1) * length)
        close = self._close_before(interval, first_us)
        for open_us in range(first_us, last_us + 1, length):
            at = (open_us - OFFSETS_US[interval]) // length % KLINES_KEPT
            kline = row[at : at + 1].copy()
            if kline[0]["open_us"] != open_us or kline[0]["count"] == 0:
                if close == 0:
                    continue
                kline = np.zeros(1, KLINE_DTYPE)
                kline["open_us"], kline["first_id"], kline["last_id"] = open_us, -1, -1
                for name in ("open", "high", "low", "close"):
                    kline[name] = close
            close = int(kline[0]["close"])
            found.append(kline)
        return found

    def oldest_kline_us(self, interval: str) -> int:
        """When the oldest kline remembered opened; 0 if there is none."""
        row = self._klines[list(INTERVALS_US).index(interval)]
        opens = row["open_us"][row["count"] > 0]
        return int(opens.min()) if opens.size else 0

    def _close_before(self, interval: str, first_us: int) -> int:
        row = self._klines[list(INTERVALS_US).index(interval)]
        earlier = row[(row["open_us"] < first_us) & (row["count"] > 0)]
        return int(earlier[np.argmax(earlier["open_us"])]["close"]) if earlier.size else 0
