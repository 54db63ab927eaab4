"""Real hourly klines of Binance, and published results, where the shared data is."""

import csv
import io
import os
from functools import cache
from pathlib import Path

import numpy as np
import orjson
import pytest

from tidemill.processors.kernels.indicator import Values

DATA = Path(os.environ.get("TIDEMILL_DATA", "../shared/data"))
HOURS = DATA / "ohlcv" / "binance_raw_klines_BTCUSDT_1h_20200430-20200701.json"
PUBLISHED = DATA / "ta_reference"

Columns = dict[str, Values]


def there(path: Path) -> Path:
    """Return a path of the shared data, or skip the test."""
    if not path.exists():
        pytest.skip(f"no reference data at {path}: set TIDEMILL_DATA")
    return path


@cache
def hours() -> Columns:
    """Return 1,468 hours of BTCUSDT as the columns that indicators read."""
    rows = np.array([[float(v) for v in row] for row in orjson.loads(there(HOURS).read_bytes())])
    names = ("ts_open", "open", "high", "low", "close", "volume")
    found = {name: rows[:, k].copy() for k, name in enumerate(names)}
    found["ts_open"] *= 1e6
    for name, k in (("quote_volume", 7), ("trade_count", 8), ("taker_buy_volume", 9)):
        found[name] = rows[:, k].copy()
    return found


def walk(seed: int, count: int, start: float = 100.0) -> Columns:
    """Return seeded minutes and quotes as columns; all that an indicator may read."""
    random = np.random.default_rng(seed)
    close = start * np.exp(random.normal(0, 1e-3, count).cumsum())
    opened = np.concatenate([[start], close[:-1]])
    high = np.maximum(opened, close) * (1 + random.random(count) * 1e-3)
    low = np.minimum(opened, close) * (1 - random.random(count) * 1e-3)
    volume = random.random(count) * 100
    half = start * 1e-4
    return {
        "ts_open": np.arange(count) * 6e10,
        "open": opened,
        "high": high,
        "low": low,
        "close": close,
        "volume": volume,
        "quote_volume": volume * (high + low) / 2,
        "taker_buy_volume": volume * random.random(count),
        "trade_count": random.integers(1, 50, count).astype(np.float64),
        "bid": np.round(close / half) * half,
        "ask": np.round(close / half + 1) * half,
        "bid_size": random.random(count) * 10,
        "ask_size": random.random(count) * 10,
    }


def published(name: str) -> Columns:
    """Return the numbers of a table of StockCharts' by column, NaN where there is none."""
    path = there(PUBLISHED / "stockcharts_cs" / f"cs-{name}.csv")
    rows = list(csv.reader(io.StringIO(path.read_text(), newline=None)))
    made = {
        head.strip(): np.array([_number(row[k]) if k < len(row) else np.nan for row in rows[1:]])
        for k, head in enumerate(rows[0])
        if head.strip()
    }
    known = ~np.isnan(made.get("High", made.get("high", made.get("Close", np.zeros(0)))))
    return {head: values[known] for head, values in made.items()}


def _number(text: str) -> float:
    try:
        return float(text.replace(",", ""))
    except ValueError:
        return np.nan
