"""Markets that backtests are tested on: real hours, seeded walks, and bars written by hand."""

from collections.abc import Sequence

import numpy as np
import orjson

from tidemill.processors.kernels.backtest.market import Market, Prices
from tidemill.schemas.exact import mantissas_of
from tidemill.tests.processors.kernels.klines import HOURS, there

HOUR, MINUTE = 3_600_000_000_000, 60_000_000_000
BTC, ETH = "BTCUSDT.BINANCE", "ETHUSDT.BINANCE"


def real_hours() -> Market:
    """Return 1,468 hours of BTCUSDT, prices exact at 2 decimals, quantities at 5."""
    rows = orjson.loads(there(HOURS).read_bytes())
    prices = [mantissas_of([row[k] for row in rows], -2) for k in (1, 2, 3, 4)]
    opened = np.array([row[0] for row in rows], np.int64) * 1_000_000
    volume = np.array([float(row[5]) for row in rows])
    return Market(BTC, -2, -5, Prices(opened, opened + HOUR, *prices, volume))


def by_hand(rows: Sequence[tuple[int, int, int, int]], name: str = BTC) -> Market:
    """Return minutes of (open, high, low, close), prices whole, quantities at 3 decimals."""
    columns = [np.array(column, np.int64) for column in zip(*rows, strict=True)]
    opened = np.arange(len(rows), dtype=np.int64) * MINUTE
    return Market(name, 0, -3, Prices(opened, opened + MINUTE, *columns, np.ones(len(rows))))


def walk(seed: int, count: int, name: str = BTC, digits: int = 2) -> Market:
    """Return seeded minutes; some are missing, as where nobody traded."""
    random = np.random.default_rng(seed)
    close = (50_000 * 10**digits * np.exp(random.normal(0, 2e-3, count).cumsum())).astype(np.int64)
    before = np.concatenate([close[:1], close[:-1]])
    opened = before + random.integers(-50, 51, count)
    high = np.maximum(opened, close) + random.integers(0, 5_000, count)
    low = np.minimum(opened, close) - random.integers(0, 5_000, count)
    ts = np.cumsum(random.integers(1, 3, count)) * MINUTE
    return Market(
        name, -digits, -5, Prices(ts, ts + MINUTE, opened, high, low, close, np.ones(count))
    )


def trades_of(market: Market, seed: int, each: int = 8) -> Market:
    """Return a market with seeded trades within the ranges of another's bars, and their bars."""
    random = np.random.default_rng(seed)
    bars = market.bars
    count = len(bars.close)
    ts = bars.ts_open[:, None] + np.sort(random.integers(0, MINUTE, (count, each)), axis=1)
    price = random.integers(bars.low[:, None], bars.high[:, None] + 1, (count, each))
    price[:, 0], price[:, -1] = bars.open, bars.close
    quantity = random.random(count * each)
    exponents = market.price_exponent, market.quantity_exponent
    flat = ts.ravel(), price.ravel(), quantity
    return Market.of_trades(market.instrument, exponents, *flat, MINUTE)
