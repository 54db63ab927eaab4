"""Seeded order flow: who places, takes and cancels orders, one operation a step.

Every step consumes one row of uniform draws and does one operation on the book, so a seed and a
number of steps decide every trade; nothing here knows the time. The regularities of real books that
matter downstream are in it: quotes cluster at the touch and thin out with a heavy tail; market
orders come in bursts of one side (trade clustering, long memory of signs); sizes are heavy-tailed;
cancels keep the book's size stable; and when the fundamental value leaves the book behind, makers
withdraw from the side that is run over and takers hit it, so the price follows with noise.
Zero-intelligence flow: Smith, Farmer, Gillemot, Krishnamurthy (2003), with an informed fraction.
"""

from math import exp

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tidemill.processors.kernels import matching as m
from tidemill.processors.kernels import order_book as b

DRAWS = 5  # uniforms a step
ORDERS_TARGET = 1_200  # live orders the flow settles at
ORDERS_MAX = 8_192
LEVELS_MAX = 4_096
SIDE_MIN = 50  # a side with fewer orders is only added to: quotes never run dry
SEED_ORDERS = 1_000

MARKET_SHARE = 0.02  # of steps that begin a burst
BURST_GO_ON = 0.65  # chance that a burst goes on after each of its orders
CANCEL_SHARE = 0.50  # of steps, at ORDERS_TARGET live orders
LIQUIDATION_SHARE = 2e-4  # of steps of a contract: takers that are liquidated
LIQUIDATED = 1  # the owner of their orders
SIZE_TAIL = 0.75  # sizes are log-logistic: median * (u / (1 - u)) ** SIZE_TAIL
SIZE_CAP = 80.0  # medians
DISTANCE_TAIL = 0.7  # distances are Pareto
DISTANCE_CAP = 0.04  # of the price

FLOW_DTYPE = np.dtype(
    [
        ("unit", "f8"),  # ticks: a typical distance between neighbouring quotes
        ("order_lots", "f8"),  # median size
        ("steps", "i8"),
        ("events", "i8"),  # trades and quotes so far
        ("bid", "i8"),  # the last quote
        ("bid_qty", "i8"),
        ("ask", "i8"),
        ("ask_qty", "i8"),
        ("burst_side", "i8"),  # 0: no burst
        ("liquidation_share", "f8"),
    ],
    align=True,
)
QUOTE_DTYPE = np.dtype(
    [
        ("update_id", "i8"),
        ("bid", "i8"),
        ("bid_qty", "i8"),
        ("ask", "i8"),
        ("ask_qty", "i8"),
        ("fills", "i8"),  # fills of the same call that came before it
    ],
    align=True,
)


def new_flow(
    price_ticks: float, order_lots: float, liquidation_share: float = 0.0
) -> NDArray[np.void]:
    """The state of a flow before its first step, shape (1,): distances are 0.2 basis points."""
    flow = np.zeros(1, FLOW_DTYPE)
    flow[0]["unit"] = max(1.0, price_ticks * 2e-5)
    flow[0]["order_lots"] = order_lots
    flow[0]["liquidation_share"] = liquidation_share
    return flow


@njit(cache=True)
def _lots(flow: np.void, u: float, scale: float) -> int:
    odds = min(u / (1.0 - u), 1e6)
    return int(1 + flow["order_lots"] * scale * min(odds**SIZE_TAIL, SIZE_CAP))


@njit(cache=True)
def _away(flow: np.void, u: float, value: float) -> float:
    """A distance in ticks, heavy-tailed."""
    tail = (1.0 - u) ** (-DISTANCE_TAIL) - 1.0
    return float(min(6.0 * flow["unit"] * tail, DISTANCE_CAP * value))


@njit(cache=True)
def _make_market(flow: np.void, op: np.void, side: int, draw: NDArray[np.float64]) -> None:
    op["kind"], op["side"], op["type"], op["tif"] = m.NEW, side, m.MARKET, m.IOC
    op["qty"] = _lots(flow, draw[3], 0.7)
    flow["burst_side"] = side if draw[4] < BURST_GO_ON else 0


@njit(cache=True)
def _make_cancel(book: b.BookState, op: np.void, gap: float, draw: NDArray[np.float64]) -> None:
    """Cancel any order; or, when the value has left the touch behind, the last one of the touch
    that is being run over."""
    head = book.head[0]
    slot = 0
    if abs(gap) > 1.5 and draw[1] < 0.6:
        level = book.levels[b.best(book, b.SELL if gap > 0 else b.BUY)]
        slot = int(level["tail"])
    else:
        slot = 1 + int(draw[4] * head["orders_high"])
        while book.orders[slot]["order_id"] == 0:
            slot = slot % int(head["orders_high"]) + 1
    if head["resting"][book.orders[slot]["side"] - 1] > SIDE_MIN:
        op["kind"], op["order_id"] = m.CANCEL, book.orders[slot]["order_id"]


@njit(cache=True)
def _limit_price(
    flow: np.void, sign: int, own: float, other: float, value: float, draw: NDArray[np.float64]
) -> float:
    """The price of a limit order in ticks, by its distance from the touch of its own side.

    `sign` is +1 for a buyer; own and other are the best prices of the two sides. A buyer above the
    value steps back to it; one far below it crosses; the rest joins, improves or rests behind.
    """
    unit, style, u = float(flow["unit"]), float(draw[2]), float(draw[4])
    edge = sign * (value - other)  # what taking the other side would earn
    if style < 0.10 and edge > 0.5 * unit:
        return other + sign * edge * u
    base = own if sign * (value - own) > 0.0 else value - sign * unit * (0.5 + u)
    room = sign * (other - own)
    if style < 0.40:
        return base
    if style < 0.60 and room > 1.0:
        return base + sign * (1.0 + u * min(room - 1.0, 2.0 * unit))
    return base - sign * (1.0 + _away(flow, u, value))


@njit(cache=True)
def _make_limit(
    book: b.BookState, flow: np.void, op: np.void, value: float, draw: NDArray[np.float64]
) -> None:
    bids, asks = book.head[0]["resting"]
    side = b.BUY if draw[1] * (bids + asks) < asks else b.SELL
    sign = 1 if side == b.BUY else -1
    own = float(book.levels[b.best(book, side)]["price"])
    other = float(book.levels[b.best(book, b.BUY + b.SELL - side)]["price"])
    price = _limit_price(flow, sign, own, other, value, draw)
    op["kind"], op["side"], op["type"] = m.NEW, side, m.LIMIT
    op["tif"] = m.GTC
    op["price"] = max(1, int(price) if sign > 0 else -int(-price))
    op["qty"] = _lots(flow, draw[3], 1.0)


@njit(cache=True)
def choose(
    book: b.BookState, flow: np.void, value: float, draw: NDArray[np.float64], op: np.void
) -> None:
    """Decide the next operation from the book, the value in ticks and DRAWS uniforms."""
    op["kind"], op["order_id"], op["qty"], op["price"], op["owner"] = 0, 0, 0, 0, 0
    head, unit = book.head[0], flow["unit"]
    bid = book.levels[b.best(book, b.BUY)]["price"]
    ask = book.levels[b.best(book, b.SELL)]["price"]
    gap = (value - 0.5 * (bid + ask)) / unit
    scarce = min(head["resting"][0], head["resting"][1]) < SIDE_MIN
    cancel_share = min(0.6, CANCEL_SHARE * head["orders"] / ORDERS_TARGET)
    if flow["burst_side"] and not scarce:
        _make_market(flow, op, flow["burst_side"], draw)
    elif draw[0] < MARKET_SHARE and not scarce:
        buyers = 1.0 / (1.0 + exp(-0.5 * max(-20.0, min(20.0, gap))))
        _make_market(flow, op, b.BUY if draw[1] < buyers else b.SELL, draw)
        op["owner"] = LIQUIDATED if draw[0] < flow["liquidation_share"] else 0
    elif draw[0] < MARKET_SHARE + cancel_share:
        _make_cancel(book, op, gap, draw)
    if op["kind"] == 0:
        _make_limit(book, flow, op, value, draw)


@njit(cache=True)
def open_book(
    book: b.BookState,
    flow: NDArray[np.void],
    value: float,
    draws: NDArray[np.float64],
    changes: NDArray[np.void],
) -> None:
    """Fill an empty book around `value` with draws.shape[0] orders, a side each in turn."""
    ops, results = np.zeros(1, m.OP_DTYPE), np.zeros(1, m.RESULT_DTYPE)
    fills = np.zeros(1, m.FILL_DTYPE)
    op = ops[0]
    op["kind"], op["type"], op["tif"] = m.NEW, m.LIMIT, m.GTX
    for i in range(draws.shape[0]):
        op["side"] = b.BUY if i % 2 == 0 else b.SELL
        distance = 0.5 + _away(flow[0], draws[i, 2], value)
        op["price"] = max(1, int(value - distance if i % 2 == 0 else value + distance + 1.0))
        op["qty"] = _lots(flow[0], draws[i, 3], 1.0)
        m.execute(book, op, results[0], fills, 0, changes, 0)


@njit(cache=True)
def _quote(
    flow: np.void, result: np.void, fill_at: int, quotes: NDArray[np.void], quote_at: int
) -> int:
    """Note the best prices if they or their quantities changed. Returns the next free quote."""
    same = flow["bid"] == result["bid"] and flow["bid_qty"] == result["bid_qty"]
    if same and flow["ask"] == result["ask"] and flow["ask_qty"] == result["ask_qty"]:
        return quote_at
    flow["bid"], flow["bid_qty"] = result["bid"], result["bid_qty"]
    flow["ask"], flow["ask_qty"] = result["ask"], result["ask_qty"]
    quote = quotes[quote_at]
    quote["update_id"], quote["fills"] = result["update_id"], fill_at
    quote["bid"], quote["bid_qty"] = result["bid"], result["bid_qty"]
    quote["ask"], quote["ask_qty"] = result["ask"], result["ask_qty"]
    return quote_at + 1


@njit(cache=True)
def advance(
    book: b.BookState,
    flow: NDArray[np.void],
    value: float,
    events_until: int,
    draws: NDArray[np.float64],
    fills: NDArray[np.void],
    changes: NDArray[np.void],
    quotes: NDArray[np.void],
) -> tuple[int, int, int, int]:
    """Step until `events_until` trades and quotes in all have happened, or draws or room run out.

    `value` is the fundamental in ticks, `draws` has shape (steps, DRAWS). `fills` needs ORDERS_MAX
    rows, `changes` one more, `quotes` at least one. Returns (steps done, fills, changes, quotes).
    """
    ops, results = np.zeros(1, m.OP_DTYPE), np.zeros(1, m.RESULT_DTYPE)
    state = flow[0]
    fill_at, change_at, quote_at, step = 0, 0, 0, 0
    while step < draws.shape[0] and state["events"] < events_until:
        room = int(book.head[0]["orders"]) + 1
        short = fill_at + room > fills.size or change_at + room > changes.size
        if short or quote_at == quotes.size:
            break
        choose(book, state, value, draws[step], ops[0])
        before = fill_at + quote_at
        fill_at, change_at = m.execute(book, ops[0], results[0], fills, fill_at, changes, change_at)
        quote_at = _quote(state, results[0], fill_at, quotes, quote_at)
        state["events"] += fill_at + quote_at - before
        state["steps"] += 1
        step += 1
    return step, fill_at, change_at, quote_at
