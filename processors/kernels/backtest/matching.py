"""Orders against one record: what fills, and at which price.

Where a bar does not say what came first, what is against the account did. At the open, market
orders fill there; so do stops that it is beyond, and limits that it is beyond when they are new: at
their own price when they rested. In the range of a bar, stops fill before limits, at their price or
the open when that is worse. A stop of a position that was opened within the range may fill in it,
its taking of profit may not. What takes liquidity pays slippage, rounded against it to a tick.
"""

from typing import Any

from numba import njit

from tidemill.processors.kernels.backtest.fills import Books, protect, room, sized, trade
from tidemill.processors.kernels.backtest.money import MILLION
from tidemill.processors.kernels.backtest.state import LIMIT, MARKET, STOP


@njit(cache=True)
def slipped(price: int, side: int, ppm: int) -> int:
    """Return the price that one who buys (1) or sells (-1) gets, at least one tick."""
    if side > 0:
        return price + (price * ppm + MILLION - 1) // MILLION
    return max(price - (price * ppm + MILLION - 1) // MILLION, 1)


@njit(cache=True)
def _to_target(
    books: Books, j: int, order: Any, record: int, open_: int, slip: int, ppm: int
) -> tuple[int, int]:
    """Trade towards what a target comes to; return the side and price of the last fill."""
    market, lot = books[2][j], books[2][j].lot
    side = 1 if order.target > 0 else -1
    if order.target == 0 or market.position * side < 0:
        held = market.position
        if held == 0:
            return 0, open_
        out = -1 if held > 0 else 1
        trade(books, j, order, record, out, abs(held), slipped(open_, out, slip), ppm)
        if order.target == 0:
            return out, open_
    if side < 0 and not books[0][0].short:
        return 0, open_
    held = abs(market.position)
    more = sized(books, j, order.target, slipped(open_, side, slip), ppm) * lot - held
    if more > 0:
        price = slipped(open_, side, slip)
        more = min(more // lot, room(books, j, price, ppm)) * lot
        if more > 0:
            trade(books, j, order, record, side, more, price, ppm)
            return side, price
        books[1][0].denied += 1
        return 0, price
    if more < 0:
        price = slipped(open_, -side, slip)
        trade(books, j, order, record, -side, -more, price, ppm)
        return -side, price
    return 0, open_


@njit(cache=True)
def execute(
    books: Books, j: int, order: Any, record: int, price: int, slip: int, ppm: int, inside: bool
) -> None:
    """Fill an order at a price that slippage is added to."""
    account, market = books[1][0], books[2][j]
    before = market.position
    if order.quantity == 0:
        side, at = _to_target(books, j, order, record, price, slip, ppm)
    else:
        side, at = int(order.side), slipped(price, order.side, slip)
        left = order.quantity
        if before * side < 0:
            closing = min(left, abs(before))
            trade(books, j, order, record, side, closing, at, ppm)
            left -= closing
        if left > 0 and not order.reduce:
            allowed = side > 0 or books[0][0].short
            if allowed and room(books, j, at, ppm) * market.lot >= left:
                trade(books, j, order, record, side, left, at, ppm)
            else:
                account.denied += 1
    after = market.position
    if after != 0 and (before == 0 or (before > 0) != (after > 0)):
        protect(books, j, order, record, at, inside)


@njit(cache=True)
def _tidy(books: Books, j: int) -> None:
    """Close the ranks of an instrument's orders."""
    market, orders = books[2][j], books[3]
    kept = 0
    for k in range(market.orders):
        if orders[j, k].kind != 0:
            if kept != k:
                orders[j, kept] = orders[j, k]
            kept += 1
    market.orders = kept


@njit(cache=True)
def at_open(books: Books, j: int, record: int, ts: int, price: int) -> None:
    """Match the orders of `j` at the open of a record, or at a trade."""
    settings, orders = books[0][0], books[3]
    taker, slip = settings.taker_ppm, settings.slippage_ppm
    for k in range(books[2][j].orders):
        order = orders[j, k]
        if order.kind == 0 or order.active_ts > ts:
            continue
        over = order.side * (price - order.price)
        if order.kind == MARKET or (order.kind == STOP and over >= 0):
            execute(books, j, order, record, price, slip, taker, False)
            order.kind = 0
        elif order.kind == LIMIT and over <= 0 and not order.seen:
            execute(books, j, order, record, price, 0, taker, False)
            order.kind = 0
        elif order.kind == LIMIT and (over < 0 or (over == 0 and not settings.through)):
            execute(books, j, order, record, order.price, 0, settings.maker_ppm, False)
            order.kind = 0
        order.seen = 1
    _tidy(books, j)


@njit(cache=True)
def _stops(books: Books, j: int, record: int, ts: int, open_: int, high: int, low: int) -> None:
    settings, orders = books[0][0], books[3]
    for k in range(books[2][j].orders):
        order = orders[j, k]
        if order.kind != STOP or order.active_ts > ts:
            continue
        if (order.side > 0 and high >= order.price) or (order.side < 0 and low <= order.price):
            at = order.price
            if order.born != record and order.side * (open_ - at) > 0:
                at = open_
            execute(books, j, order, record, at, settings.slippage_ppm, settings.taker_ppm, True)
            order.kind = 0


@njit(cache=True)
def in_range(books: Books, j: int, record: int, ts: int, open_: int, high: int, low: int) -> None:
    """Match the orders of `j` in the range of a bar."""
    settings, orders = books[0][0], books[3]
    touch = 0 if settings.through else 1
    _stops(books, j, record, ts, open_, high, low)
    for k in range(books[2][j].orders):
        order = orders[j, k]
        if order.kind != LIMIT or order.active_ts > ts or order.born == record:
            continue
        met = low < order.price + touch if order.side > 0 else high > order.price - touch
        if met:
            execute(books, j, order, record, order.price, 0, settings.maker_ppm, True)
            order.kind = 0
    _stops(books, j, record, ts, open_, high, low)
    _tidy(books, j)
