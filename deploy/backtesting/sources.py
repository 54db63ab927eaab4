"""Markets from files of bars or trades, and from LOG or its archive.

Read are, gzipped or not, what venues and their clients publish:

- JSON: Binance's klines ([[open time ms, open, high, low, close, volume, close time ms, ...]]),
  Coinbase's candles ({"candles": [{start (s), open, ...}]}), and trades as ccxt has them ([{info:
  {p, q, T}, ...}], or timestamp (ms), price, amount);
- CSV with a header: bars with open, high, low, close; trades with price and amount, quantity or
  size; volume where there is one; the time in a column of these: timestamp, time, open_time, date,
  datetime; as ISO 8601, s, ms, us or ns;
- Parquet with the columns of CSV.

Numbers are taken as they are written. Only Parquet and JSON numbers that are floats are read by
the shortest text that is that float.
"""

import csv
import gzip
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow.parquet as pq  # type: ignore[import-untyped]  # the package ships no types

from tidemill.deploy.backtesting.numbers import Ints, columns_of, lot_of, of_arrow
from tidemill.processors.kernels.backtest.market import Market, Prices
from tidemill.schemas.bar_type import INTERVALS_S
from tidemill.schemas.errors import Unreadable
from tidemill.streams import scan

TIMES = ("open_time", "timestamp", "time", "start", "datetime", "date")
QUANTITIES = ("amount", "quantity", "size", "qty")
PRICES = ("open", "high", "low", "close")
Rows = dict[str, list[str]]
"""Columns of text, by lower-case name."""


@dataclass(frozen=True)
class Source:
    """Where one instrument's market is: a file, or LOG and its archive.

    `interval` is that of the bars made of trades, and of bars whose file leaves it open.
    """

    instrument: str
    path: Path | None = None
    archive: str = ""
    nats: str = ""
    interval: str = "1m"
    lot: str = "0.00001"


def read(source: Source) -> Market:
    """Return a market. Raises ValueError, Unreadable or FileNotFoundError saying what is wrong."""
    if source.interval not in INTERVALS_S:
        raise ValueError(f"--interval is one of {', '.join(INTERVALS_S)}")
    lot, exponent = lot_of(source.lot)
    if source.path is None:
        market = _of_log(source)
    else:
        try:
            rows = _rows(source.path)
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise Unreadable(f"{source.path}: {error}") from error
        market = _of_rows(source, rows)
    if not len(market.bars.close):
        raise ValueError(f"there is nothing of {source.instrument} in that data")
    return replace(market, quantity_exponent=exponent, lot=lot)


def _of_log(source: Source) -> Market:
    table = scan("trade", [source.instrument], archive=source.archive, nats=source.nats)
    ts = table["ts_event"].to_numpy().astype(np.int64)
    order = np.argsort(ts, kind="stable")
    price, exponent = of_arrow(table["price"])
    quantity = table["quantity"].cast("float64").to_numpy()
    ns = INTERVALS_S[source.interval] * 1_000_000_000
    columns = ts[order], price[order], quantity[order]
    return Market.of_trades(source.instrument, (exponent, 0), *columns, ns)


def _of_rows(source: Source, rows: Rows) -> Market:
    ts = times(rows[next(name for name in TIMES if name in rows)])
    order = np.argsort(ts, kind="stable")
    ns = INTERVALS_S[source.interval] * 1_000_000_000
    if "close" not in rows:
        (price,), exponent = columns_of([rows["price"]])
        amount = next((rows[name] for name in QUANTITIES if name in rows), None)
        quantity = np.array(amount or ["1"] * len(ts), np.float64)
        columns = ts[order], price[order], quantity[order]
        return Market.of_trades(source.instrument, (exponent, 0), *columns, ns)
    prices, exponent = columns_of([rows[name] for name in PRICES])
    volume = np.array([float(text) for text in rows.get("volume", ["0"] * len(ts))])
    opened = ts[order]
    apart = int(np.diff(opened).min()) if len(opened) > 1 else ns
    closed = opened + max(apart, 0)
    opens, high, low, close = (column[order] for column in prices)
    bars = Prices(opened, closed, opens, high, low, close, volume[order])
    return Market(source.instrument, exponent, -8, bars)


def _rows(path: Path) -> Rows:
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        return {
            name.lower(): [str(value) for value in table[name].to_pylist()]
            for name in table.column_names
        }
    raw = path.read_bytes()
    text = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    if text.lstrip()[:1] in (b"[", b"{"):
        return _json(orjson.loads(text))
    records = list(csv.reader(io.StringIO(text.decode())))
    head = [name.strip().lower() for name in records[0]]
    return {name: [row[k] for row in records[1:]] for k, name in enumerate(head)}


def _json(found: Any) -> Rows:
    rows = found["candles"] if isinstance(found, dict) else found
    if rows and isinstance(rows[0], list):
        names = ("open_time", *PRICES, "volume")
        return {name: [str(row[k]) for row in rows] for k, name in enumerate(names)}
    if rows and isinstance(rows[0].get("info"), dict) and "p" in rows[0]["info"]:
        raw = {"timestamp": "T", "price": "p", "amount": "q"}
        return {name: [str(row["info"][key]) for row in rows] for name, key in raw.items()}
    keys = rows[0].keys() if rows else ()
    return {name.lower(): [str(row[name]) for row in rows] for name in keys}


def times(texts: Sequence[str]) -> Ints:
    """Return ns UTC (N,) of times as ISO 8601 (without a zone: UTC), s, ms, us or ns."""
    if texts and texts[0].lstrip("-").replace(".", "", 1).isdigit():
        whole = np.array([int(float(text)) if "." in text else int(text) for text in texts])
        scale = next(n for n in (10**9, 10**6, 10**3, 1) if abs(int(whole.max())) * n < 10**19)
        return np.asarray(whole * scale, np.int64)
    return np.array([_iso(text) for text in texts], np.int64)


def _iso(text: str) -> int:
    moment = datetime.fromisoformat(text)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    apart = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (apart.days * 86_400 + apart.seconds) * 1_000_000_000 + apart.microseconds * 1_000
