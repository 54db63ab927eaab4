"""The matching engine: price-time priority over the arrays of `order_book`.

`execute` does one operation, `apply` a batch; both write what happened into caller-given arrays:
one `RESULT_DTYPE` an operation, one `FILL_DTYPE` a trade, one `CHANGE_DTYPE` a changed level, with
the book's best prices after every operation. Order, trade and update ids are the book's own and
have no holes. Orders of one owner may trade with each other (Binance's self-trade prevention mode
NONE).
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tidemill.processors.kernels.order_book import (
    BUY,
    SELL,
    BookState,
    append_order,
    best,
    find,
    level_of,
    remove_order,
)

# Operation kinds.
NEW, CANCEL, REDUCE = 1, 2, 3
# Order types.
LIMIT, MARKET = 1, 2
# Time in force. GTX is post-only: refused when it would trade.
GTC, IOC, FOK, GTX = 1, 2, 3, 4
# What became of an operation. NEW: RESTING (perhaps partly filled), FILLED, or CANCELED (the rest
# of a MARKET, IOC or FOK order). CANCEL and REDUCE: CANCELED or RESTING. REJECTED: nothing changed.
RESTING, FILLED, CANCELED, REJECTED = 1, 2, 3, 4
# Why an operation was rejected.
ACCEPTED, UNKNOWN_ORDER, BAD_OPERATION, WOULD_TRADE, BOOK_FULL = 0, 1, 2, 3, 4

OP_DTYPE = np.dtype(
    [
        ("price", "i8"),  # ticks; ignored for MARKET, CANCEL, REDUCE
        ("qty", "i8"),  # lots; REDUCE: the quantity to take away
        ("order_id", "i8"),  # CANCEL and REDUCE: which order
        ("owner", "i8"),
        ("client_id", "i8"),
        ("kind", "i1"),
        ("side", "i1"),
        ("type", "i1"),
        ("tif", "i1"),
    ],
    align=True,
)
RESULT_DTYPE = np.dtype(
    [
        ("order_id", "i8"),  # given by the book to a NEW order, 0 if rejected
        ("filled", "i8"),  # lots traded by this operation
        ("left", "i8"),  # lots resting afterwards
        ("update_id", "i8"),  # the book's, after this operation
        ("bid", "i8"),  # best prices and quantities afterwards, 0 where a side is empty
        ("bid_qty", "i8"),
        ("ask", "i8"),
        ("ask_qty", "i8"),
        ("fill_count", "i4"),
        ("status", "i1"),
        ("reason", "i1"),
    ],
    align=True,
)
FILL_DTYPE = np.dtype(
    [
        ("trade_id", "i8"),
        ("price", "i8"),
        ("qty", "i8"),
        ("maker_order_id", "i8"),
        ("taker_order_id", "i8"),
        ("maker_owner", "i8"),
        ("taker_owner", "i8"),
        ("maker_client_id", "i8"),
        ("taker_client_id", "i8"),
        ("maker_left", "i8"),  # lots of the maker still resting
        ("aggressor", "i1"),  # BUY or SELL: the taker's side
    ],
    align=True,
)
CHANGE_DTYPE = np.dtype(
    [("update_id", "i8"), ("price", "i8"), ("qty", "i8"), ("side", "i1")],  # qty 0: level is gone
    align=True,
)


@njit(cache=True)
def _changed(
    book: BookState, changes: NDArray[np.void], at: int, side: int, price: int, qty: int
) -> int:
    """Note that a level changed; the update id counts it. Returns the next free row."""
    book.head[0]["update_id"] += 1
    change = changes[at]
    change["update_id"] = book.head[0]["update_id"]
    change["price"], change["qty"], change["side"] = price, qty, side
    return at + 1


@njit(cache=True)
def _crosses(op: np.void, price: int) -> bool:
    if op["type"] == MARKET:
        return True
    return bool(op["price"] >= price) if op["side"] == BUY else bool(op["price"] <= price)


@njit(cache=True)
def _available(book: BookState, op: np.void) -> int:
    """How much of an order could trade at once, counted no further than its quantity."""
    row, total = 2 - op["side"], 0
    for i in range(book.head[0]["ladder"][row] - 1, -1, -1):
        level = book.levels[book.ladder[row, i]]
        if total >= op["qty"] or not _crosses(op, level["price"]):
            break
        total += level["qty"]
    return min(total, int(op["qty"]))


@njit(cache=True)
def _match(
    book: BookState,
    op: np.void,
    order_id: int,
    fills: NDArray[np.void],
    fill_at: int,
    changes: NDArray[np.void],
    change_at: int,
) -> tuple[int, int, int]:
    """Trade an order against the other side: best price first, oldest order first.

    Returns (lots left, next free fill, next free change).
    """
    other = BUY + SELL - op["side"]
    left = int(op["qty"])
    while left > 0:
        level_slot = best(book, other)
        if level_slot == 0 or not _crosses(op, book.levels[level_slot]["price"]):
            break
        level = book.levels[level_slot]
        price = int(level["price"])
        while left > 0 and level["count"] > 0:
            slot = int(level["head"])
            maker = book.orders[slot]
            qty = min(left, int(maker["qty"]))
            book.head[0]["last_trade_id"] += 1
            fill = fills[fill_at]
            fill["trade_id"] = book.head[0]["last_trade_id"]
            fill["price"], fill["qty"], fill["aggressor"] = price, qty, op["side"]
            fill["maker_order_id"], fill["taker_order_id"] = maker["order_id"], order_id
            fill["maker_owner"], fill["taker_owner"] = maker["owner"], op["owner"]
            fill["maker_client_id"], fill["taker_client_id"] = maker["client_id"], op["client_id"]
            fill["maker_left"] = maker["qty"] - qty
            fill_at += 1
            left -= qty
            level["qty"] -= qty
            maker["qty"] -= qty
            if maker["qty"] == 0:
                remove_order(book, slot)
        level_qty = int(level["qty"]) if level["count"] > 0 else 0
        change_at = _changed(book, changes, change_at, other, price, level_qty)
    return left, fill_at, change_at


# --- operations ------------------------------------------------------------------------------


@njit(cache=True)
def fills_max(book: BookState, op: np.void) -> int:
    """The most trades an operation can make: a trade takes an order or at least a lot."""
    if op["kind"] != NEW or op["side"] < BUY or op["side"] > SELL:
        return 0
    return max(0, min(int(book.head[0]["resting"][2 - op["side"]]), int(op["qty"])))


@njit(cache=True)
def _refusal(book: BookState, op: np.void) -> int:
    """Why a NEW order cannot be taken, ACCEPTED (0) if it can."""
    if op["side"] != BUY and op["side"] != SELL:
        return BAD_OPERATION
    if op["qty"] <= 0 or op["tif"] < GTC or op["tif"] > GTX:
        return BAD_OPERATION
    if op["type"] == MARKET:
        return ACCEPTED if op["tif"] == IOC or op["tif"] == FOK else BAD_OPERATION
    if op["type"] != LIMIT or op["price"] <= 0:
        return BAD_OPERATION
    if op["tif"] == GTX:
        touch = best(book, BUY + SELL - op["side"])
        if touch and _crosses(op, book.levels[touch]["price"]):
            return WOULD_TRADE
    # A full pool refuses a resting order before it trades, so that a refusal changes nothing.
    resting = op["tif"] == GTC or op["tif"] == GTX
    if resting and book.head[0]["orders"] + 1 >= book.orders.size:
        return BOOK_FULL
    levels = book.head[0]["ladder"][0] + book.head[0]["ladder"][1]
    if resting and levels + 1 >= book.levels.size and level_of(book, op["side"], op["price"]) == 0:
        return BOOK_FULL
    return ACCEPTED


@njit(cache=True)
def _new(
    book: BookState,
    op: np.void,
    result: np.void,
    fills: NDArray[np.void],
    fill_at: int,
    changes: NDArray[np.void],
    change_at: int,
) -> tuple[int, int]:
    reason = _refusal(book, op)
    if reason != ACCEPTED:
        result["status"], result["reason"] = REJECTED, reason
        return fill_at, change_at
    book.head[0]["last_order_id"] += 1
    order_id = int(book.head[0]["last_order_id"])
    result["order_id"], result["status"] = order_id, CANCELED
    if op["tif"] == FOK and _available(book, op) < op["qty"]:
        return fill_at, change_at
    left, fill_at, change_at = _match(book, op, order_id, fills, fill_at, changes, change_at)
    result["filled"] = op["qty"] - left
    if left == 0:
        result["status"] = FILLED
    elif op["type"] == LIMIT and (op["tif"] == GTC or op["tif"] == GTX):
        append_order(book, op, order_id, left)
        result["status"], result["left"] = RESTING, left
        level = book.levels[level_of(book, op["side"], op["price"])]
        change_at = _changed(book, changes, change_at, op["side"], op["price"], level["qty"])
    return fill_at, change_at


@njit(cache=True)
def _take_away(
    book: BookState, op: np.void, result: np.void, changes: NDArray[np.void], change_at: int
) -> int:
    """CANCEL the whole of an order, or REDUCE it by a quantity; the rest keeps its place."""
    slot = find(book, op["order_id"]) if op["order_id"] > 0 else 0
    if slot == 0:
        result["status"], result["reason"] = REJECTED, UNKNOWN_ORDER
        return change_at
    if op["kind"] == REDUCE and op["qty"] <= 0:
        result["status"], result["reason"] = REJECTED, BAD_OPERATION
        return change_at
    order = book.orders[slot]
    side, price = int(order["side"]), int(order["price"])
    result["order_id"] = op["order_id"]
    if op["kind"] == REDUCE and op["qty"] < order["qty"]:
        order["qty"] -= op["qty"]
        book.levels[order["level"]]["qty"] -= op["qty"]
        result["status"], result["left"] = RESTING, order["qty"]
    else:
        remove_order(book, slot)
        result["status"] = CANCELED
    level_slot = level_of(book, side, price)
    qty = int(book.levels[level_slot]["qty"]) if level_slot else 0
    return _changed(book, changes, change_at, side, price, qty)


@njit(cache=True)
def execute(
    book: BookState,
    op: np.void,
    result: np.void,
    fills: NDArray[np.void],
    fill_at: int,
    changes: NDArray[np.void],
    change_at: int,
) -> tuple[int, int]:
    """Do one operation. The caller has seen to it that `fills` has `fills_max` rows left and
    `changes` one more than that. Returns (next free fill, next free change)."""
    first = fill_at
    result["order_id"], result["filled"], result["left"] = 0, 0, 0
    result["status"], result["reason"] = REJECTED, ACCEPTED
    if op["kind"] == NEW:
        fill_at, change_at = _new(book, op, result, fills, fill_at, changes, change_at)
    elif op["kind"] == CANCEL or op["kind"] == REDUCE:
        change_at = _take_away(book, op, result, changes, change_at)
    else:
        result["reason"] = BAD_OPERATION
    result["fill_count"] = fill_at - first
    result["update_id"] = book.head[0]["update_id"]
    bid, ask = book.levels[best(book, BUY)], book.levels[best(book, SELL)]
    result["bid"], result["bid_qty"] = bid["price"], bid["qty"]
    result["ask"], result["ask_qty"] = ask["price"], ask["qty"]
    return fill_at, change_at


@njit(cache=True)
def apply(
    book: BookState,
    ops: NDArray[np.void],
    results: NDArray[np.void],
    fills: NDArray[np.void],
    changes: NDArray[np.void],
) -> tuple[int, int, int]:
    """Do `ops` in order until the end, or until an operation might not find room for its output.

    `results` has at least as many rows as `ops`. Returns (operations done, fills, changes); call
    again with the rest. Progress is certain when `fills` holds `orders_max` and `changes`
    `orders_max + 1` rows.
    """
    fill_at, change_at = 0, 0
    for i in range(ops.size):
        room = fills_max(book, ops[i])
        if fill_at + room > fills.size or change_at + room + 1 > changes.size:
            return i, fill_at, change_at
        fill_at, change_at = execute(book, ops[i], results[i], fills, fill_at, changes, change_at)
    return ops.size, fill_at, change_at
