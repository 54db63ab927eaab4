"""Binance spot's words: payloads, as JSON text, of what happened in a market.

After "WebSocket Streams for Binance" and "Public Rest API for Binance" (see binance.py), key order
and number formats as in captures of the real exchange. Written by hand, not by a JSON encoder:
every value is a number or a string of digits made here.

    trade      {"e":"trade","E":..,"s":"BTCUSDT","t":12345,"p":"0.001","q":"100","T":..,"m":true,
                "M":true}
    aggTrade   {"e":"aggTrade","E":..,"s":"BTCUSDT","a":12345,"p":"0.001","q":"100","f":100,"l":105,
                "T":..,"m":true,"M":true}
    bookTicker {"u":400900217,"s":"BTCUSDT","b":"25.35","B":"31.21","a":"25.36","A":"40.66"}
    depth      {"e":"depthUpdate","E":..,"s":"BTCUSDT","U":157,"u":160,"b":[["0.0024","10"]],"a":[]}
"""

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidemill.deploy.exchange.depth import Changes, Rows
from tidemill.deploy.exchange.numbers import DECIMALS, decimal
from tidemill.deploy.exchange.record import Book
from tidemill.deploy.exchange.symbols import Symbol

NOT_OFFERED = (
    "icebergAllowed",
    "ocoAllowed",
    "otoAllowed",
    "opoAllowed",
    "quoteOrderQtyMarketAllowed",
    "allowTrailingStop",
    "cancelReplaceAllowed",
    "amendAllowed",
    "pegInstructionsAllowed",
)


def flag(value: int) -> str:
    """A JSON boolean."""
    return "true" if value else "false"


def trade(symbol: Symbol, row: Any, unit_us: int) -> str:
    """One history.TRADE_DTYPE row, as a tuple; times in units of `unit_us` microseconds."""
    trade_id, price, qty, time_us, _, maker = row
    time = time_us // unit_us
    return (
        f'{{"e":"trade","E":{time},"s":"{symbol.raw}","t":{trade_id}'
        f',"p":"{symbol.price_text(price)}","q":"{symbol.qty_text(qty)}"'
        f',"T":{time},"m":{flag(maker)},"M":true}}'
    )


def agg_fields(symbol: Symbol, rows: list[Any], unit_us: int) -> str:
    """The fields an aggregate trade has on WebSocket and REST, of its trades' rows; spot adds M."""
    first_id, price, _, time_us, agg_id, maker = rows[0]
    qty = sum(row[2] for row in rows)
    return (
        f'"a":{agg_id},"p":"{symbol.price_text(price)}","q":"{symbol.qty_text(qty)}"'
        f',"f":{first_id},"l":{rows[-1][0]},"T":{time_us // unit_us}'
        f',"m":{flag(maker)}'
    )


def aggregates(rows: Iterable[Any]) -> Iterator[list[Any]]:
    """The trades of each aggregate: one taker order at one price."""
    for _, group in groupby(rows, key=lambda row: row[4]):
        yield list(group)


def agg_trade(symbol: Symbol, rows: list[Any], unit_us: int) -> str:
    time = rows[0][3] // unit_us
    fields = agg_fields(symbol, rows, unit_us)
    return f'{{"e":"aggTrade","E":{time},"s":"{symbol.raw}",{fields},"M":true}}'


def book_ticker(symbol: Symbol, row: Any, time_us: int, unit_us: int) -> str:
    """One flow.QUOTE_DTYPE row, as a tuple; spot's has no time in it."""
    update_id, bid, bid_qty, ask, ask_qty, _ = row
    return (
        f'{{"u":{update_id},"s":"{symbol.raw}","b":"{symbol.price_text(bid)}"'
        f',"B":"{symbol.qty_text(bid_qty)}","a":"{symbol.price_text(ask)}"'
        f',"A":"{symbol.qty_text(ask_qty)}"}}'
    )


def levels(symbol: Symbol, rows: Rows) -> str:
    """A JSON array of [price, quantity] of (ticks, lots)."""
    texts = (f'["{symbol.price_text(price)}","{symbol.qty_text(qty)}"]' for price, qty in rows)
    return f"[{','.join(texts)}]"


def depth_update(symbol: Symbol, now_us: int, changes: Changes, unit_us: int) -> str:
    """What changed since the update before: quantity zero for a level that is gone."""
    return (
        f'{{"e":"depthUpdate","E":{now_us // unit_us},"s":"{symbol.raw}"'
        f',"U":{changes.first_id},"u":{changes.last_id}'
        f',"b":{levels(symbol, changes.bid_rows())}'
        f',"a":{levels(symbol, changes.ask_rows())}}}'
    )


def depth_snapshot(symbol: Symbol, book: Book) -> str:
    """A partial-depth stream's payload and REST's answer; it has no time in it."""
    return (
        f'{{"lastUpdateId":{book.update_id},"bids":{levels(symbol, book.bids)}'
        f',"asks":{levels(symbol, book.asks)}}}'
    )


def kline(
    symbol: Symbol,
    interval: str,
    row: NDArray[np.void],
    close_time_us: int,
    now_us: int,
    unit_us: int,
) -> str:
    """One history.KLINE_DTYPE row of shape (1,); it is closed (x) once `now_us` is past its end."""
    k = {name: int(row[0][name]) for name in row.dtype.names or ()}
    open_, high = symbol.price_text(k["open"]), symbol.price_text(k["high"])
    low, close = symbol.price_text(k["low"]), symbol.price_text(k["close"])
    return (
        f'{{"e":"kline","E":{now_us // unit_us},"s":"{symbol.raw}","k":{{'
        f'"t":{k["open_us"] // unit_us},"T":{close_time_us // unit_us},"s":"{symbol.raw}"'
        f',"i":"{interval}","f":{k["first_id"]},"L":{k["last_id"]}'
        f',"o":"{open_}","c":"{close}","h":"{high}","l":"{low}"'
        f',"v":"{symbol.qty_text(k["volume"])}","n":{k["count"]}'
        f',"x":{flag(now_us > close_time_us)},"q":"{symbol.value_text(k["quote_volume"])}"'
        f',"V":"{symbol.qty_text(k["taker_volume"])}"'
        f',"Q":"{symbol.value_text(k["taker_quote_volume"])}","B":"0"}}}}'
    )


def kline_array(
    symbol: Symbol, row: NDArray[np.void], close_time_us: int, unit_us: int
) -> list[Any]:
    """The same row as REST answers it."""
    k = {name: int(row[0][name]) for name in row.dtype.names or ()}
    prices = [symbol.price_text(k[name]) for name in ("open", "high", "low", "close")]
    return [
        k["open_us"] // unit_us,
        *prices,
        symbol.qty_text(k["volume"]),
        close_time_us // unit_us,
        symbol.value_text(k["quote_volume"]),
        k["count"],
        symbol.qty_text(k["taker_volume"]),
        symbol.value_text(k["taker_quote_volume"]),
        "0",
    ]


def rest_trade(symbol: Symbol, row: Any, unit_us: int) -> dict[str, Any]:
    """One history.TRADE_DTYPE row, as a tuple, as REST answers it."""
    trade_id, price, qty, time_us, _, maker = row
    return {
        "id": trade_id,
        "price": symbol.price_text(price),
        "qty": symbol.qty_text(qty),
        "quoteQty": symbol.value_text(price * qty),
        "time": time_us // unit_us,
        "isBuyerMaker": bool(maker),
    }


def exchange_symbol(symbol: Symbol, status: str = "TRADING") -> dict[str, Any]:
    """One entry of exchangeInfo's `symbols`: LIMIT and MARKET orders."""
    tick, lot = decimal(symbol.tick), decimal(symbol.lot)
    order_types = ["LIMIT", "LIMIT_MAKER", "MARKET"]
    off = dict.fromkeys(NOT_OFFERED, False)
    filters: list[dict[str, Any]] = [
        {
            "filterType": "PRICE_FILTER",
            "minPrice": tick,
            "maxPrice": "1000000.00000000",
            "tickSize": tick,
        },
        {"filterType": "LOT_SIZE", "minQty": lot, "maxQty": "900000000.00000000", "stepSize": lot},
        {
            "filterType": "NOTIONAL",
            "minNotional": "5.00000000" if symbol.quote.startswith("USD") else "0.00010000",
            "applyMinToMarket": True,
            "maxNotional": "9000000.00000000",
            "applyMaxToMarket": False,
            "avgPriceMins": 5,
        },
    ]
    return {
        "symbol": symbol.raw,
        "status": status,
        "baseAsset": symbol.base,
        "baseAssetPrecision": DECIMALS,
        "quoteAsset": symbol.quote,
        "quotePrecision": DECIMALS,
        "quoteAssetPrecision": DECIMALS,
        "baseCommissionPrecision": DECIMALS,
        "quoteCommissionPrecision": DECIMALS,
        "orderTypes": order_types,
        **off,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": filters,
        "permissions": [],
        "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": "NONE",
        "allowedSelfTradePreventionModes": ["NONE"],
    }
