"""One small market, row by row: two venues, a redefinition, a revised bar, rows that must not show.

Every table is complete up to r 100; rows beyond it are there and must never be seen.
"""

from collections.abc import Sequence
from typing import Any

from tidemill.projections.registry import TABLES
from tidemill.schemas.kinds.anomaly import EVIDENCE
from tidemill.tests.projections.stores import Stores

END = 100
T_NS = 1_723_118_400_000_000_000
"""2024-08-08T12:00:00Z"""
SECOND_NS = 1_000_000_000
_OPEN = 2**63 - 1


def at(seconds: float) -> int:
    """ns of so many seconds after T_NS."""
    return T_NS + int(seconds * SECOND_NS)


# _r, symbol, venue, event time in s, trade id, price, quantity, side, flags; received 5 ms later
_TRADES: list[tuple[Any, ...]] = [
    (10, "BTCUSDT", "BINANCE", 1, 1, "61837.63", "0.00015", "BUYER", 0),
    (11, "BTCUSDT", "BINANCE", 2, 2, "61837.62", "0.1", "SELLER", 0),
    (12, "BTCUSDT", "BINANCE_US", 3, 77, "61840.01", "2", "BUYER", 0),
    (13, "ETHUSDT", "BINANCE", 3, 5, "2450.5", "1.25", "SELLER", 0),
    # By position the newest, though the venue says that it happened first: a filled hole.
    (60, "BTCUSDT", "BINANCE", 0.5, 3, "61836", "0.000000000000000001", "BUYER", 1),
    (70, "BTCUSDT", "BINANCE_US", 65, 78, "61841.5", "1", "SELLER", 0),
    (END + 5, "BTCUSDT", "BINANCE", 99, 4, "99999", "9", "BUYER", 0),
]
# _r, symbol, venue, received in s, update id, bid, its quantity, ask, its quantity
_QUOTES: list[tuple[Any, ...]] = [
    (20, "BTCUSDT", "BINANCE", 10, 500, "61837.62", "1.5", "61837.63", "0.75"),
    (21, "BTCUSDT", "BINANCE_US", 11, 900, "61839", "3", "61842", "4"),
    (22, "ETHUSDT", "BINANCE", 12, 700, "0", "0", "2450.6", "2"),
    (80, "BTCUSDT", "BINANCE", 70, 501, "61838", "1", "61838.01", "2"),
    (END + 6, "BTCUSDT", "BINANCE", 100, 502, "1", "1", "2", "1"),
]
_MINUTES = {m: f"10{m} 11{m} 9{m} 10{m}.5 2 {200 + m} 1" for m in range(4)} | {
    -1: "99 109 89 99.5 2 199 1",
    -2: "98 108 88 98.5 2 198 1",
    -3: "97 107 87 97.5 2 197 1",
}
_FIRST = "3 185513 123677.63 61840.01 61837.62 61839 3 61837.63 0.75"
_SECOND = "2 123680.02 61840.01 61840.01 61840.01 61839 3 0 0"
_THIRD = "7 432887.7 123679.12 61841.5 61837.62 61838 1 61838.01 2"
CLOSES = {
    "BTCUSDT": dict(enumerate((100, 101, 103, 102, 105, 104))),
    "ETHUSDT": {0: 50, 1: 51, 3: 49, 4: 50, 5: 52},
}
"""Closes of five-minute bars by place; the last one opens 300 s before T_NS."""
# _r, symbol, venue, interval, opens in s, revision; open, high, low, close, volume, quote volume,
# taker buy volume; trades, first id, last id, flags
_BARS: list[tuple[Any, ...]] = [
    *(
        (30 + m, "BTCUSDT", "BINANCE", 60, 60 * m, 0, _MINUTES[m], "4 1 4", m == 2)
        for m in _MINUTES
    ),
    (50, "BTCUSDT", "BINANCE", 60, 60, 1, "101 200 91 101.5 3 403 1", "5 10 14", 2),
    (51, "BTCUSDT", "BINANCE_US", 60, 0, 0, "100 110 90 105 10 1000 5", "7 1 7", 0),
    *(  # five minutes each, the last of 0 s; ETHUSDT has none of the third
        (53, symbol, "BINANCE", 300, 300 * k - 1_800, 0, f"1 9 1 {close} 1 1 1", "1 1 1", k == 5)
        for symbol, closes in CLOSES.items()
        for k, close in closes.items()
    ),
    (52, "BTCUSDT", "BINANCE", 3600, 0, 0, "100 200 90 105 10 1000 5", "70 1 70", 0),
    (END + 7, "BTCUSDT", "BINANCE", 60, 60, 2, "1 1 1 1 1 1 1", "1 1 1", 0),
]
# _r, pair, ts in s; volume, quote volume, sum of last prices, high, low, best bid and quantity,
# best ask and quantity; high, low, bid and ask venue; venues, flags
_B, _U = "BINANCE", "BINANCE_US"
_PRICES: list[tuple[Any, ...]] = [
    (40, "BTC/USDT", 20, _FIRST, (_U, _B, _U, _B), 2, 0),
    (41, "BTC/USDT", 40.5, _SECOND, (_U, _U, _U, ""), 1, 12),
    (85, "BTC/USDT", 71, _THIRD, (_U, _B, _B, _B), 2, 4),
    (END + 8, "BTC/USDT", 99, "1 1 1 1 1 1 1 1 1", (_B, _B, _B, _B), 1, 0),
]
# _r, symbol, venue, aggregation, sequence, s of its first and last trade, revision, step and
# threshold; open, high, low, close, volume, quote volume, taker buy volume; trades, ids, flags
_ACTIVITY_BARS: list[tuple[Any, ...]] = [
    (50, "BTCUSDT", "BINANCE", "TICK", 0, 0, 3, 0, "3 3", "100 103 99 101 6 606 4", "3 1 3", 4),
    (55, "BTCUSDT", "BINANCE", "TICK", 1, 3, 5, 0, "3 3", "101 105 101 105 9 909 1", "3 4 6", 0),
    (60, "BTCUSDT", "BINANCE", "TICK", 1, 3, 5, 1, "3 3", "101 105 101 105 9 909 1", "3 4 6", 1),
    (61, "BTCUSDT", "BINANCE", "TICK", 2, 6, 9, 0, "5 5", "105 106 104 104 5 525 5", "5 7 11", 0),
    (50, "BTCUSDT", "BINANCE", "VOLUME", 0, 0, 9, 0, "0 0", "1 2 1 2 3 4 1", "1000 1 1000", 4),
    (END + 7, "BTCUSDT", "BINANCE", "TICK", 3, 9, 9, 0, "5 5", "1 1 1 1 1 1 1", "5 12 16", 0),
]
# _r, symbol, venue, interval, s of its begin and end, revision; as bars
_RESAMPLED: list[tuple[Any, ...]] = [
    (50, "BTCUSDT", "BINANCE", 180, 0, 180, 0, "100 103 99 101 6 606 4", "3 1 3", 4),
    (60, "BTCUSDT", "BINANCE", 180, 180, 360, 0, "101 105 101 105 9 909 1", "3 4 6", 0),
    (61, "BTCUSDT", "BINANCE", 180, 180, 360, 1, "101 106 101 105 10 1009 1", "4 4 7", 2),
    (52, "BTCUSDT", "BINANCE", 0, -86_400, 2_592_000, 0, "100 200 90 105 10 1000 5", "70 1 70", 0),
    (END + 7, "BTCUSDT", "BINANCE", 180, 360, 540, 0, "1 1 1 1 1 1 1", "1 8 8", 0),
]
# _r, interval, s of its begin, revision; as bars; trades; venues in it, missing, late; flags
_COMPOSITES: list[tuple[Any, ...]] = [
    (50, 60, 0, 0, "100 103 99 101 6 606 4", 3, ("BINANCE", "BINANCE_US", ""), 8),
    (60, 60, 0, 1, "100 105 99 101 9 909 1", 5, ("BINANCE,BINANCE_US", "", "BINANCE_US"), 2),
    (61, 60, 60, 0, "101 106 101 105 10 1009 1", 4, ("BINANCE_US", "", ""), 0),
    (52, 3600, 0, 0, "100 200 90 105 10 1000 5", 70, ("BINANCE", "", ""), 0),
    (END + 7, 60, 120, 0, "1 1 1 1 1 1 1", 1, ("BINANCE", "", ""), 0),
]
# _r, _n, symbol, venue, bars, indicator, output, opens in s, revision, value, flags
_INDICATORS: list[tuple[Any, ...]] = [
    (30, 1, "BTCUSDT", "BINANCE", "1m", "sma(20)", "sma", 0, 0, 100.25, 0),
    (31, 1, "BTCUSDT", "BINANCE", "1m", "macd(12,26,9)", "macd", 60, 0, 3.5, 0),
    (31, 2, "BTCUSDT", "BINANCE", "1m", "macd(12,26,9)", "signal", 60, 0, 2.5, 0),
    (31, 3, "BTCUSDT", "BINANCE", "1m", "macd(12,26,9)", "histogram", 60, 0, 1.0, 0),
    (31, 4, "BTCUSDT", "BINANCE", "1m", "sma(20)", "sma", 60, 0, 101.5, 0),
    (50, 1, "BTCUSDT", "BINANCE", "1m", "sma(20)", "sma", 60, 1, 102.5, 2),
    (52, 1, "BTCUSDT", "BINANCE", "1h", "sma(20)", "sma", 0, 0, 7.0, 0),
    (END + 7, 1, "BTCUSDT", "BINANCE", "1m", "sma(20)", "sma", 120, 0, 9.0, 0),
]
# _r, symbol, bars, opens in s, revision, severity, detector, score, flags
_ANOMALIES: list[tuple[Any, ...]] = [
    (31, "BTCUSDT", "1m", -60, 0, "CRITICAL", "return_z(60)", -25.5, 0),
    (50, "BTCUSDT", "1m", -60, 1, "HIGH", "return_z(60)", -13.0, 2),
    (51, "ETHUSDT", "1m", -60, 0, "LOW", "volume_z(30)", 3.5, 0),
    (52, "ETHUSDT", "1m", -60, 1, "NONE", "volume_z(30)", 1.5, 0),
    (53, "BTCUSDT", "tick", -60, 0, "MEDIUM", "pump_and_dump(60)", 62.5, 0),
    (END + 7, "BTCUSDT", "1m", 60, 0, "LOW", "return_z(60)", 3.0, 0),
]
# _r, screen, symbol, bars, opens in s, revision, status, recommendation, score and its terms, flags
_SIGNALS: list[tuple[Any, ...]] = [
    (30, "oversold", "BTCUSDT", "1m", -60, 0, "RAISED", "NONE", None, "", 0),
    (31, "oversold", "ETHUSDT", "1m", -60, 0, "RAISED", "BUY", 65.0, "15 -10 0 10 0", 0),
    (32, "score", "BTCUSDT", "1m", -60, 0, "SCORED", "HOLD", 45.0, "0 10 -10 0 -5", 0),
    (50, "score", "BTCUSDT", "1m", -60, 1, "SCORED", "SELL", 30.0, "-15 10 -20 0 5", 2),
    (52, "score", "BTCUSDT", "1m", 0, 0, "SCORED", "STRONG_BUY", 80.0, "0 10 20 0 0", 0),
    (53, "oversold", "ETHUSDT", "1m", -60, 1, "WITHDRAWN", "HOLD", 50.0, "0 10 -10 0 0", 2),
    (54, "hourly", "ETHUSDT", "1h", -3600, 0, "RAISED", "STRONG_SELL", 20.0, "0 -10 -20 0 0", 0),
    (END + 7, "score", "BTCUSDT", "1m", 10, 0, "SCORED", "BUY", 60.0, "0 10 0 0 0", 0),
]
# _r, name, status, bars, condition
_SCREENS: list[tuple[Any, ...]] = [
    (10, "oversold", "DEFINED", "1m", "rsi(14) < 30"),
    (11, "score", "DEFINED", "1m", ""),
    (12, "hourly", "DEFINED", "1h", "close < 5"),
    (31, "oversold", "DEFINED", "1m", "rsi(14) < 20"),
    (60, "hourly", "REMOVED", "", ""),
    (END + 1, "score", "REMOVED", "", ""),
]
# _r, r_to, symbol, venue, base, status, tick size
_INSTRUMENTS: list[tuple[Any, ...]] = [
    (1, 45, "BTCUSDT", "BINANCE", "BTC", "TRADING", "0.01"),
    (2, _OPEN, "BTCUSDT", "BINANCE_US", "BTC", "TRADING", "0.01"),
    (3, _OPEN, "ETHUSDT", "BINANCE", "ETH", "TRADING", "0.0001"),
    (4, _OPEN, "XRPUSDT", "BINANCE", "XRP", "HALTED", "0.0001"),
    (45, _OPEN, "BTCUSDT", "BINANCE", "BTC", "TRADING", "0.10"),
    (46, _OPEN, "BTCUSDT", "COMPOSITE", "BTC", "TRADING", "0"),
]
# _r, seconds after T_NS
_TIMES: list[tuple[int, float]] = [(5, 0), (15, 5), (25, 15), (65, 60), (90, 75), (END + 1, 99)]


def _time(ns: int) -> str:
    return f"fromUnixTimestamp64Nano({ns})"


def _values(row: Sequence[Any]) -> str:
    return f"({', '.join(value if type(value) is str else str(value) for value in row)})"


def _text(value: str) -> str:
    return f"'{value}'"


def _exact(value: str) -> str:
    return f"toDecimal128('{value}', 18)"


def _trade(row: tuple[Any, ...]) -> list[Any]:
    r, symbol, venue, seconds, trade_id, price, quantity, side, flags = row
    event, received = _time(at(seconds)), _time(at(seconds) + 5_000_000)
    return [
        *(r, 0, 0, _text(symbol), _text(venue), event, received, trade_id),
        *(_exact(price), _exact(quantity), _text(side), flags),
    ]


def _quote(row: tuple[Any, ...]) -> list[Any]:
    r, symbol, venue, seconds, update_id, *sides = row
    received = _time(at(seconds))
    return [
        *(r, 0, 0, _text(symbol), _text(venue), "NULL", received, update_id),
        *(_exact(value) for value in sides),
        0,
    ]


def _bar(row: tuple[Any, ...]) -> list[Any]:
    r, symbol, venue, interval_s, seconds, revision, exact, counts, flags = row
    return [
        *(r, 0, 7, _text(symbol), _text(venue), interval_s, _time(at(seconds)), revision),
        *(_exact(value) for value in exact.split()),
        *(*counts.split(), int(flags)),
    ]


def _activity_bar(row: tuple[Any, ...]) -> list[Any]:
    r, symbol, venue, what, sequence, first, last, revision, steps, exact, counts, flags = row
    return [
        *(r, 0, 7, _text(symbol), _text(venue), _text(what), sequence),
        *(_time(at(first)), _time(at(last)), revision),
        *(_exact(value) for value in (*steps.split(), *exact.split())),
        *(*counts.split(), int(flags)),
    ]


def _resampled_bar(row: tuple[Any, ...]) -> list[Any]:
    r, symbol, venue, interval_s, begin, end, revision, exact, counts, flags = row
    return [
        *(r, 0, 7, _text(symbol), _text(venue), interval_s),
        *(_time(at(begin)), _time(at(end)), revision),
        *(_exact(value) for value in exact.split()),
        *(*counts.split(), int(flags)),
    ]


def _composite_bar(row: tuple[Any, ...]) -> list[Any]:
    r, interval_s, begin, revision, exact, trades, venues, flags = row
    return [
        *(r, 0, 7, _text("BTCUSDT"), _text("COMPOSITE"), interval_s, _time(at(begin)), revision),
        *(_exact(value) for value in exact.split()),
        *(trades, *(_text(names) for names in venues), flags),
    ]


def _indicator(row: tuple[Any, ...]) -> list[Any]:
    r, n, symbol, venue, bars, name, output, opens, revision, value, flags = row
    return [
        *(r, 0, n, _text(symbol), _text(venue), _text(bars), _text(name), _text(output)),
        *(_time(at(opens)), _time(at(opens + 60)), revision, value, flags),
    ]


def _signal(row: tuple[Any, ...]) -> list[Any]:
    r, screen, symbol, bars, opens, revision, status, recommendation, score, terms, flags = row
    length = 3_600 if bars == "1h" else 60
    trend = "NONE" if score is None else "BULLISH" if score >= 60 else "BEARISH"
    points = terms.split() or ["nan"] * 5
    return [
        *(r, 0, 7, _text(screen), _text(symbol), _text("BINANCE"), _text(bars)),
        *(_time(at(opens)), _time(at(opens + length)), 0, revision, flags, _text(status)),
        *(_text(recommendation), _text(trend), _text("WEAK"), _text("LOW")),
        *("nan" if score is None else score, *points, 101.5, *range(1, 13)),
    ]


def _anomaly(row: tuple[Any, ...]) -> list[Any]:
    r, symbol, bars, opens, revision, severity, detector, score, flags = row
    known = {0: 100.5, 1: 2.25} if "_z" in detector else {3: 30, 4: 15, 5: 12.5, 6: 5}
    evidence = [known.get(k, "nan") for k in range(len(EVIDENCE))]
    return [
        *(r, 0, 7, _text("watch"), _text(symbol), _text("BINANCE"), _text(bars)),
        *(_time(at(opens)), _time(at(opens + 60)), 0, revision, flags),
        *(_text(detector), _text(severity), score, 3, 101.5, *evidence),
    ]


def _screen(row: tuple[Any, ...]) -> list[Any]:
    r, name, status, bars, condition = row
    on = "*,ETHUSDT.BINANCE" if status == "DEFINED" else ""
    return [r, 0, 0, *(_text(value) for value in (name, status, on, bars, condition))]


def _price(row: tuple[Any, ...]) -> list[Any]:
    r, pair, seconds, exact, names, venues, flags = row
    return [
        *(r, 0, 7, _text(pair), _text("24h"), _time(at(seconds))),
        *(_exact(value) for value in exact.split()),
        *(*(_text(name) for name in names), venues, flags),
    ]


async def fill(stores: Stores) -> None:
    """Insert everything, and say how far every table is."""
    tables = (("trades", _TRADES, _trade), ("quotes", _QUOTES, _quote))
    derived = (("bars", _BARS, _bar), ("prices", _PRICES, _price))
    derived = (*derived, ("activity_bars", _ACTIVITY_BARS, _activity_bar))
    derived = (*derived, ("resampled_bars", _RESAMPLED, _resampled_bar))
    derived = (*derived, ("composite_bars", _COMPOSITES, _composite_bar))
    derived = (*derived, ("indicators", _INDICATORS, _indicator))
    derived = (*derived, ("signals", _SIGNALS, _signal), ("screens", _SCREENS, _screen))
    derived = (*derived, ("anomalies", _ANOMALIES, _anomaly))
    for name, rows, form in (*tables, *derived):
        values = ", ".join(_values(form(row)) for row in rows)
        await stores.clickhouse.command(f"INSERT INTO {TABLES[name].physical} VALUES {values}")
    times = ", ".join(f"({r}, 0, 0, {_time(at(seconds))})" for r, seconds in _TIMES)
    await stores.clickhouse.command(f"INSERT INTO {TABLES['times'].physical} VALUES {times}")
    for r, r_to, symbol, venue, base, status, tick in _INSTRUMENTS:
        await stores.pool.execute(
            f"INSERT INTO {TABLES['instruments'].physical} VALUES ($1, 0, 0, $3, $4, $8, $5,"
            f" 'USDT', $6, -8, -8, {tick}, 0.00001, 5, $7, 'VENUE',"
            " 'SPOT', '', 0, '', 1, 0, 0, 0, $2)",
            *(r, r_to, symbol, venue, base, status, T_NS),
            venue if venue == "COMPOSITE" else "SPOT",
        )
    for name in TABLES:
        await reach(stores, name, END)


async def reach(stores: Stores, name: str, root: int) -> None:
    """Say that a table is complete up to `root`."""
    await stores.pool.execute(
        "INSERT INTO sink (t, log_uuid, epoch, position, floor, mark_root, mark_sequence,"
        " roots_max, rows_max) VALUES ($1, 'log', 1, $2, 0, 0, 1, 1, 1)"
        " ON CONFLICT (t) DO UPDATE SET position = excluded.position",
        TABLES[name].physical,
        root,
    )
