"""Binance USD-M's words: payloads, as JSON text, of what happened in a market.

After the examples of the USD-M documents as of 2026 (`st`, `ps` are since 2025) and captures of the
real exchange (a trade's `X`); numbers with the places of their instrument, update ids that count up
with holes: a depth update begins where the one before ended by `pu` alone.

    depth      {"e":"depthUpdate","E":..,"T":..,"s":"BTCUSDT","ps":"BTCUSDT","st":1,"U":157,"u":160,
                "pu":149,"b":[["0.0024","10"]],"a":[]}
    markPrice  {"e":"markPriceUpdate","E":..,"s":"BTCUSDT","p":"11794.15","i":"11784.62","P":"..",
                "r":"0.00038167","T":1562306400000,"st":1}
    forceOrder {"e":"forceOrder","E":..,"o":{"s":"BTCUSDT","S":"SELL","o":"LIMIT","f":"IOC",
                "q":"0.014","p":"9910","ap":"9910","X":"FILLED","l":"0.014","z":"0.014","T":..}}
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidemill.deploy.exchange import binance_messages as spot
from tidemill.deploy.exchange.contract import Derivative, next_funding_us
from tidemill.deploy.exchange.depth import Changes
from tidemill.deploy.exchange.market import Liquidation
from tidemill.deploy.exchange.numbers import fixed, plain
from tidemill.deploy.exchange.record import Book
from tidemill.deploy.exchange.symbols import Symbol
from tidemill.processors.kernels.order_book import BUY

FIRST_BOOK_ID, BOOK_ID_STEP = 5_000_000_000_000, 7
ONBOARDED_MS = 1_569_398_400_000
DELIVERED_MS = 4_133_404_800_000  # "never", of a perpetual
ORDER_TYPES = ("LIMIT", "MARKET")


def book_id(update_id: int) -> int:
    """The venue's update id of the market's: they count up, but not by one."""
    return FIRST_BOOK_ID + BOOK_ID_STEP * update_id


def trade(symbol: Symbol, row: Any, unit_us: int) -> str:
    """One history.TRADE_DTYPE row, as a tuple."""
    trade_id, price, qty, time_us, _, maker = row
    time = time_us // unit_us
    return (
        f'{{"e":"trade","E":{time},"T":{time},"s":"{symbol.raw}","t":{trade_id}'
        f',"p":"{symbol.price_text(price)}","q":"{symbol.qty_text(qty)}","X":"MARKET"'
        f',"m":{spot.flag(maker)}}}'
    )


def agg_trade(symbol: Symbol, rows: list[Any], unit_us: int) -> str:
    """An aggregate of the trades of one taker order at one price."""
    time = rows[0][3] // unit_us
    fields = spot.agg_fields(symbol, rows, unit_us)
    return f'{{"e":"aggTrade","E":{time},"s":"{symbol.raw}",{fields},"st":1}}'


def book_ticker(symbol: Symbol, row: Any, time_us: int, unit_us: int) -> str:
    """One flow.QUOTE_DTYPE row, as a tuple."""
    update_id, bid, bid_qty, ask, ask_qty, _ = row
    time = time_us // unit_us
    return (
        f'{{"e":"bookTicker","u":{book_id(update_id)},"s":"{symbol.raw}","ps":"{symbol.raw}"'
        f',"b":"{symbol.price_text(bid)}","B":"{symbol.qty_text(bid_qty)}"'
        f',"a":"{symbol.price_text(ask)}","A":"{symbol.qty_text(ask_qty)}"'
        f',"T":{time},"E":{time},"st":1}}'
    )


def depth_update(symbol: Symbol, now_us: int, changes: Changes, unit_us: int) -> str:
    """What changed since the update before: quantity zero for a level that is gone."""
    time = now_us // unit_us
    return (
        f'{{"e":"depthUpdate","E":{time},"T":{time},"s":"{symbol.raw}","ps":"{symbol.raw}","st":1'
        f',"U":{book_id(changes.first_id)},"u":{book_id(changes.last_id)}'
        f',"pu":{book_id(changes.previous_id)}'
        f',"b":{spot.levels(symbol, changes.bid_rows())}'
        f',"a":{spot.levels(symbol, changes.ask_rows())}}}'
    )


def depth_snapshot(symbol: Symbol, book: Book, now_us: int) -> str:
    """REST's answer."""
    return (
        f'{{"lastUpdateId":{book_id(book.update_id)},"E":{now_us // 1_000},"T":{now_us // 1_000}'
        f',"bids":{spot.levels(symbol, book.bids)},"asks":{spot.levels(symbol, book.asks)}}}'
    )


def kline(
    symbol: Symbol,
    interval: str,
    row: NDArray[np.void],
    close_time_us: int,
    now_us: int,
    unit_us: int,
) -> str:
    """As spot's."""
    return spot.kline(symbol, interval, row, close_time_us, now_us, unit_us)


def mark_price(symbol: Symbol, values: Derivative, now_us: int) -> str:
    """Mark price, index, estimated settle price, rate and time of the next funding."""
    mark, index = fixed(values.mark, 8), fixed(values.index, 8)
    return (
        f'{{"e":"markPriceUpdate","E":{now_us // 1_000},"s":"{symbol.raw}","p":"{mark}"'
        f',"i":"{index}","P":"{index}","r":"{fixed(values.funding_rate, 8)}"'
        f',"T":{next_funding_us(now_us) // 1_000},"st":1}}'
    )


def force_order(symbol: Symbol, order: Liquidation, now_us: int) -> str:
    """A liquidation as it was filled; its average price is cut off after eight places."""
    qty, price = symbol.qty_text(order.qty), symbol.price_text(order.price)
    average = order.ticks_times_lots * symbol.tick // order.qty
    side = "BUY" if order.side == BUY else "SELL"
    return (
        f'{{"e":"forceOrder","E":{now_us // 1_000},"o":{{"s":"{symbol.raw}","S":"{side}"'
        f',"o":"LIMIT","f":"IOC","q":"{qty}","p":"{price}","ap":"{fixed(average, 8)}"'
        f',"X":"FILLED","l":"{qty}","z":"{qty}","T":{order.time_us // 1_000}}}}}'
    )


def contract_info(symbol: Symbol, status: str, now_us: int) -> str:
    """What !contractInfo says when a contract is listed or its status changes."""
    return (
        f'{{"e":"contractInfo","E":{now_us // 1_000},"s":"{symbol.raw}","ps":"{symbol.raw}"'
        f',"ct":"PERPETUAL","dt":{DELIVERED_MS},"ot":{ONBOARDED_MS},"cs":"{status}"}}'
    )


def exchange_symbol(symbol: Symbol, status: str) -> dict[str, Any]:
    """One entry of exchangeInfo's `symbols`."""
    tick, lot = plain(1, symbol.price_places), plain(1, symbol.qty_places)
    quantities = {"stepSize": lot, "maxQty": "100000000", "minQty": lot}
    return {
        "symbol": symbol.raw,
        "pair": symbol.raw,
        "contractType": "PERPETUAL",
        "deliveryDate": DELIVERED_MS,
        "onboardDate": ONBOARDED_MS,
        "status": status,
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": symbol.base,
        "quoteAsset": symbol.quote,
        "marginAsset": symbol.quote,
        "pricePrecision": symbol.price_places,
        "quantityPrecision": symbol.qty_places,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": [],
        "settlePlan": 0,
        "triggerProtect": "0.0500",
        "liquidationFee": "0.012000",
        "marketTakeBound": "0.30",
        "filters": [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": tick,
                "maxPrice": "4529764",
                "tickSize": tick,
            },
            {"filterType": "LOT_SIZE", **quantities},
            {"filterType": "MARKET_LOT_SIZE", **quantities},
            {"filterType": "MAX_NUM_ORDERS", "limit": 200},
            {"filterType": "MAX_NUM_ALGO_ORDERS", "limit": 10},
            {"filterType": "MIN_NOTIONAL", "notional": "5"},
            {
                "filterType": "PERCENT_PRICE",
                "multiplierDown": "0.8500",
                "multiplierUp": "1.1500",
                "multiplierDecimal": "4",
            },
        ],
        "orderTypes": list(ORDER_TYPES),
        "timeInForce": ["GTC", "IOC", "FOK", "GTX"],
    }
