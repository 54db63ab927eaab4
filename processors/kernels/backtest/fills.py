"""One fill: what it does to cash, position, fees and the trip that is open; and how much fills.

A fill never turns a position from one side to the other: closing and opening are two. Everything
is bounded by equity: what all positions are worth, whichever side they are on, is at most it.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import from_dtype, njit, types

from tidemill.processors.kernels.backtest.money import MILLION, Hi, affordable, cost, scale
from tidemill.processors.kernels.backtest.state import (
    ACCOUNT,
    FILL,
    FIXED,
    INT64_MAX,
    LIMIT,
    MARKET,
    ORDER,
    ORDERS_MAX,
    POSITION,
    SETTINGS,
    STOP,
    TRIP,
)
from tidemill.processors.kernels.ratios import divide
from tidemill.schemas.exact import add, subtract

_Tuple: Callable[..., types.Type] = types.Tuple
Rows = Any
Books = tuple[Rows, Rows, Rows, Rows, Rows, Rows]
BOOKS = _Tuple(
    [
        from_dtype(SETTINGS)[::1],
        from_dtype(ACCOUNT)[::1],
        from_dtype(POSITION)[::1],
        from_dtype(ORDER)[:, ::1],
        from_dtype(FILL)[::1],
        from_dtype(TRIP)[::1],
    ]
)
"""Settings, account, positions (I,), orders (I, ORDERS_MAX), fills and trips (capacities)."""


@njit(cache=True)
def see(account: Any, market: Any, price: int) -> None:
    """Value the position of an instrument at a new last price."""
    if market.position != 0 and price != market.last:
        hi, lo, over = cost(market.position, price - market.last, MILLION, market.factor)
        account.value_hi, account.value_lo, over2 = add(account.value_hi, account.value_lo, hi, lo)
        if over or over2:
            account.overflow = 1
    market.last = price


@njit(cache=True)
def room(books: Books, j: int, price: int, ppm: int) -> Hi:
    """Return how many lots of `j` can be opened at a price, fees paid."""
    account, markets = books[1][0], books[2]
    hi, lo, over = add(account.cash_hi, account.cash_lo, account.value_hi, account.value_lo)
    for k in range(len(markets)):
        held = markets[k].position
        if held != 0:
            worth_hi, worth_lo, over2 = cost(abs(held), markets[k].last, MILLION, markets[k].factor)
            hi, lo, over3 = subtract(hi, lo, worth_hi, worth_lo)
            over = over or over2 or over3
    if over:
        account.overflow = 1
    each = price * markets[j].lot
    return affordable(hi, lo, each, MILLION + ppm, markets[j].factor)


@njit(cache=True)
def sized(books: Books, j: int, target: int, price: int, ppm: int) -> Hi:
    """Return the lots that a target of so many millionths comes to, above zero on either side."""
    settings, account, market = books[0][0], books[1][0], books[2][j]
    part = abs(target)
    if settings.sizing == FIXED:
        return market.fixed // market.lot * part // MILLION
    share = settings.fraction_ppm * part // MILLION
    hi, lo, over = add(account.cash_hi, account.cash_lo, account.value_hi, account.value_lo)
    hi, lo, over2 = scale(hi, lo, share)
    if over or over2:
        account.overflow = 1
    if hi < 0:
        return 0
    hi, lo = divide(hi, lo, np.uint64(MILLION))  # twice rounded down is rounded down once
    return affordable(hi, lo, price * market.lot, MILLION + ppm, market.factor)


@njit(cache=True)
def _into_trip(books: Books, j: int, side: int, quantity: int, hi: Any, lo: Any) -> bool:
    """Count a notional to the entry or the exit of the open trip; return whether it overflowed."""
    account, market = books[1][0], books[2][j]
    if market.position == 0:
        market.entry_ts, market.entry_quantity = account.ts, 0
        market.entry_hi = market.entry_lo = market.exit_hi = market.exit_lo = 0
        market.fees_hi = market.fees_lo = 0
        account.positions += 1
    if market.position * side >= 0:
        market.entry_quantity += quantity
        market.entry_hi, market.entry_lo, over = add(market.entry_hi, market.entry_lo, hi, lo)
    else:
        market.exit_hi, market.exit_lo, over = add(market.exit_hi, market.exit_lo, hi, lo)
    return over


@njit(cache=True)
def _end_trip(books: Books, j: int, side: int) -> None:
    """Write the trip that a fill on `side` ended, and end what protected its position."""
    account, market, orders, trips = books[1][0], books[2][j], books[3], books[5]
    trip = trips[account.trips]
    trip.market, trip.side = j, -side
    trip.entry_ts, trip.exit_ts, trip.quantity = market.entry_ts, account.ts, market.entry_quantity
    trip.entry_hi, trip.entry_lo = market.entry_hi, market.entry_lo
    trip.exit_hi, trip.exit_lo = market.exit_hi, market.exit_lo
    trip.fees_hi, trip.fees_lo = market.fees_hi, market.fees_lo
    account.trips += 1
    account.positions -= 1
    for k in range(market.orders):
        if orders[j, k].bracket:
            orders[j, k].kind = 0


@njit(cache=True)
def trade(
    books: Books, j: int, order: Any, record: int, side: int, quantity: int, price: int, ppm: int
) -> None:
    """Buy (1) or sell (-1) a quantity at a price, at a fee of `ppm` of the notional."""
    settings, account, market = books[0][0], books[1][0], books[2][j]
    hi, lo, over = cost(quantity, price, MILLION, market.factor)
    fee_hi, fee_lo, over2 = cost(quantity, price, ppm, market.factor)
    worth_hi, worth_lo, over3 = cost(side * quantity, market.last, MILLION, market.factor)
    over = over or over2 or over3 or _into_trip(books, j, side, quantity, hi, lo)
    market.fees_hi, market.fees_lo, over2 = add(market.fees_hi, market.fees_lo, fee_hi, fee_lo)
    account.fees_hi, account.fees_lo, over3 = add(account.fees_hi, account.fees_lo, fee_hi, fee_lo)
    over = over or over2 or over3
    account.turnover_hi, account.turnover_lo, over2 = add(
        account.turnover_hi, account.turnover_lo, hi, lo
    )
    account.value_hi, account.value_lo, over3 = add(
        account.value_hi, account.value_lo, worth_hi, worth_lo
    )
    over = over or over2 or over3
    if side > 0:
        cash_hi, cash_lo, over2 = subtract(account.cash_hi, account.cash_lo, hi, lo)
    else:
        cash_hi, cash_lo, over2 = add(account.cash_hi, account.cash_lo, hi, lo)
    account.cash_hi, account.cash_lo, over3 = subtract(cash_hi, cash_lo, fee_hi, fee_lo)
    if over or over2 or over3:
        account.overflow = 1
    fill = books[4][account.fills]
    fill.order, fill.ts, fill.record, fill.market = order.id, account.ts, record, j
    fill.side, fill.kind, fill.bracket = side, order.kind, order.bracket
    fill.maker = ppm == settings.maker_ppm and order.kind == LIMIT
    fill.price, fill.quantity, fill.fee_hi, fill.fee_lo = price, quantity, fee_hi, fee_lo
    account.fills += 1
    market.position += side * quantity
    if market.position == 0:
        _end_trip(books, j, side)


@njit(cache=True)
def place(
    books: Books,
    j: int,
    kind: int,
    side: int,
    quantity: int,
    target: int,
    price: int,
    reduce: bool,
) -> int:
    """Place an order as of the account's time; return its id, 0 where there is no place for it."""
    settings, account, market = books[0][0], books[1][0], books[2][j]
    if market.orders == ORDERS_MAX:
        account.denied += 1
        return 0
    account.orders += 1
    order = books[3][j, market.orders]
    order.id, order.active_ts = account.orders, account.ts + settings.latency_ns
    order.quantity, order.target, order.price = quantity, target, price
    order.stop, order.take, order.born = 0, 0, -1
    order.side, order.kind, order.reduce, order.bracket, order.seen = side, kind, reduce, 0, 0
    market.orders += 1
    return int(order.id)


@njit(cache=True)
def protect(books: Books, j: int, order: Any, record: int, price: int, inside: bool) -> None:
    """Place the stop and the taking of profit of a position that was just opened at a price."""
    settings, account, market = books[0][0], books[1][0], books[2][j]
    side = 1 if market.position > 0 else -1
    stop, take = order.stop, order.take
    if stop == 0 and settings.stop_ppm > 0:
        stop = price - side * (price * settings.stop_ppm // MILLION)
    if take == 0 and settings.take_ppm > 0:
        take = price + side * (price * settings.take_ppm // MILLION)
    for kind, at in ((STOP, stop), (LIMIT, take)):
        if at > 0 and market.orders == ORDERS_MAX:
            account.denied += 1
        elif at > 0:
            place(books, j, kind, -side, INT64_MAX, 0, at, True)
            made = books[3][j, market.orders - 1]
            made.bracket, made.active_ts = 1, order.active_ts
            made.born = record if inside else -1


@njit(types.void(BOOKS, types.int64, types.int64), cache=True)
def aim(books: Books, j: int, target: int) -> None:
    """Place an order for a target that is not the newest one already."""
    market = books[2][j]
    if market.target != target and place(books, j, MARKET, 0, 0, target, 0, False):
        market.target = target


@njit(cache=True)
def note(account: Any, points: Any) -> None:
    """Note the equity of this moment."""
    point = points[account.points]
    hi, lo, over = add(account.cash_hi, account.cash_lo, account.value_hi, account.value_lo)
    if over:
        account.overflow = 1
    point.ts, point.equity_hi, point.equity_lo = account.ts, hi, lo
    account.points += 1
    account.held += account.positions > 0
