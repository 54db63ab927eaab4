"""A price-time-priority limit order book and its matching engine over plain arrays.

`BookState` is a named tuple of five NumPy arrays; all zeros is an empty book, its bytes are its
snapshot. Prices are integer ticks, quantities integer lots (both int64), ids count from 1. Orders
of a price form a doubly linked queue in order of arrival; prices of a side form a sorted ladder
whose last entry is the best one, so that work near the touch moves few bytes. An order id is found
through an open-addressing table (Fibonacci hash, linear probing, backward-shift deletion: Knuth,
TAOCP 3, 6.4, algorithm R), so no tombstone accumulates.

`execute` does one operation, `apply` a batch; both write what happened into caller-given arrays:
one `RESULT_DTYPE` an operation, one `FILL_DTYPE` a trade, one `CHANGE_DTYPE` a changed level.
Nothing here knows fees, latency, time or accounts: `owner` and `client_id` are carried, not read
(orders of one owner may trade with each other: Binance's self-trade prevention mode NONE).
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tidemill.schemas.enums import OrderSide

# Operation kinds.
NEW, CANCEL, REDUCE = 1, 2, 3
# Sides.
BUY, SELL = int(OrderSide.BUY), int(OrderSide.SELL)
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
HEAD_DTYPE = np.dtype(
    [
        ("last_order_id", "i8"),
        ("last_trade_id", "i8"),
        ("update_id", "i8"),  # counts changed levels
        ("orders", "i4"),  # live orders
        ("orders_high", "i4"),  # slots ever used
        ("order_free", "i4"),  # first free slot below orders_high, 0 none
        ("levels_high", "i4"),
        ("level_free", "i4"),
        ("ladder", "i4", (2,)),  # prices a side: bids, asks
        ("resting", "i4", (2,)),  # live orders a side
    ],
    align=True,
)
ORDER_DTYPE = np.dtype(
    [
        ("order_id", "i8"),  # 0: free slot
        ("owner", "i8"),
        ("client_id", "i8"),
        ("price", "i8"),
        ("qty", "i8"),  # lots left
        ("level", "i4"),
        ("prev", "i4"),  # earlier in the queue
        ("next", "i4"),  # later in the queue; free list in a free slot
        ("side", "i1"),
    ],
    align=True,
)
LEVEL_DTYPE = np.dtype(
    [
        ("price", "i8"),
        ("qty", "i8"),
        ("count", "i4"),
        ("head", "i4"),  # oldest order; free list in a free slot
        ("tail", "i4"),
    ],
    align=True,
)


class BookState(NamedTuple):
    """The whole state of one book. Slots are counted from 1; slot 0 of each pool is unused.

    head    (1,)             HEAD_DTYPE
    orders  (orders_max+1,)  ORDER_DTYPE
    levels  (levels_max+1,)  LEVEL_DTYPE
    ladder  (2, levels_max)  int32, level slots from worst to best; row 0 bids, row 1 asks
    table   (2**k,)          int32, order slot by hash of its id
    """

    head: NDArray[np.void]
    orders: NDArray[np.void]
    levels: NDArray[np.void]
    ladder: NDArray[np.int32]
    table: NDArray[np.int32]


def empty_book(orders_max: int, levels_max: int) -> BookState:
    """An empty book that holds at most `orders_max` orders at `levels_max` prices a book."""
    table_size = 4
    while table_size < 2 * orders_max:
        table_size *= 2
    return BookState(
        np.zeros(1, HEAD_DTYPE),
        np.zeros(orders_max + 1, ORDER_DTYPE),
        np.zeros(levels_max + 1, LEVEL_DTYPE),
        np.zeros((2, levels_max), np.int32),
        np.zeros(table_size, np.int32),
    )


def to_bytes(book: BookState) -> bytes:
    """The snapshot: the arrays' bytes one after another. Equal histories give equal bytes."""
    return b"".join(array.tobytes() for array in book)


def from_bytes(snapshot: bytes, orders_max: int, levels_max: int) -> BookState:
    """The book of `to_bytes`. ValueError when the bytes are not of a book of these capacities."""
    book = empty_book(orders_max, levels_max)
    if len(snapshot) != sum(array.nbytes for array in book):
        raise ValueError("the snapshot is not of a book of these capacities")
    start = 0
    for array in book:
        part = np.frombuffer(snapshot, array.dtype, array.size, start)
        array[...] = part.reshape(array.shape)
        start += array.nbytes
    return book


# --- order id -> slot ------------------------------------------------------------------------


@njit(cache=True)
def _home(order_id: int, mask: int) -> int:
    mixed = np.uint64(order_id) * np.uint64(0x9E3779B97F4A7C15)
    return int(np.int64(mixed >> np.uint64(32))) & mask


@njit(cache=True)
def find(book: BookState, order_id: int) -> int:
    """The slot of a live order, 0 if there is none."""
    mask = book.table.size - 1
    at = _home(order_id, mask)
    while True:
        slot = book.table[at]
        if slot == 0 or book.orders[slot]["order_id"] == order_id:
            return int(slot)
        at = (at + 1) & mask


@njit(cache=True)
def _index(book: BookState, slot: int) -> None:
    mask = book.table.size - 1
    at = _home(book.orders[slot]["order_id"], mask)
    while book.table[at] != 0:
        at = (at + 1) & mask
    book.table[at] = slot


@njit(cache=True)
def _unindex(book: BookState, slot: int) -> None:
    table = book.table
    mask = table.size - 1
    hole = _home(book.orders[slot]["order_id"], mask)
    while table[hole] != slot:
        hole = (hole + 1) & mask
    at = hole
    while True:
        at = (at + 1) & mask
        if table[at] == 0:
            break
        home = _home(book.orders[table[at]]["order_id"], mask)
        if ((at - home) & mask) >= ((at - hole) & mask):
            table[hole] = table[at]
            hole = at
    table[hole] = 0


# --- price levels ----------------------------------------------------------------------------


@njit(cache=True)
def _rank(book: BookState, row: int, price: int) -> int:
    """Where in the ladder `price` is or belongs: the first entry not worse than it."""
    low, high = 0, int(book.head[0]["ladder"][row])
    while low < high:
        middle = (low + high) >> 1
        there = book.levels[book.ladder[row, middle]]["price"]
        worse = there < price if row == 0 else there > price
        if worse:
            low = middle + 1
        else:
            high = middle
    return low


@njit(cache=True)
def level_of(book: BookState, side: int, price: int) -> int:
    """The slot of the level at `price`, 0 if nothing rests there."""
    row = side - 1
    at = _rank(book, row, price)
    if at < book.head[0]["ladder"][row]:
        slot = book.ladder[row, at]
        if book.levels[slot]["price"] == price:
            return int(slot)
    return 0


@njit(cache=True)
def _open_level(book: BookState, row: int, price: int) -> int:
    """The level at `price`, made if absent; 0 when the pool is used up."""
    head, levels, ladder = book.head[0], book.levels, book.ladder
    at, size = _rank(book, row, price), int(head["ladder"][row])
    if at < size and levels[ladder[row, at]]["price"] == price:
        return int(ladder[row, at])
    slot = int(head["level_free"])
    if slot:
        head["level_free"] = levels[slot]["head"]
    elif head["levels_high"] + 1 < levels.size:
        head["levels_high"] += 1
        slot = int(head["levels_high"])
    else:
        return 0
    level = levels[slot]
    level["price"], level["qty"], level["count"] = price, 0, 0
    level["head"], level["tail"] = 0, 0
    for i in range(size, at, -1):
        ladder[row, i] = ladder[row, i - 1]
    ladder[row, at] = slot
    head["ladder"][row] = size + 1
    return slot


@njit(cache=True)
def _close_level(book: BookState, row: int, slot: int) -> None:
    head, ladder = book.head[0], book.ladder
    at, size = _rank(book, row, book.levels[slot]["price"]), int(head["ladder"][row])
    for i in range(at, size - 1):
        ladder[row, i] = ladder[row, i + 1]
    ladder[row, size - 1] = 0
    head["ladder"][row] = size - 1
    book.levels[slot]["head"] = head["level_free"]
    head["level_free"] = slot


@njit(cache=True)
def best(book: BookState, side: int) -> int:
    """The slot of the best level of a side, 0 if the side is empty."""
    size = int(book.head[0]["ladder"][side - 1])
    return int(book.ladder[side - 1, size - 1]) if size else 0


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


# --- orders ----------------------------------------------------------------------------------


@njit(cache=True)
def _rest(book: BookState, op: np.void, order_id: int, qty: int) -> bool:
    """Append an order to the queue of its price. False, and no change, when the book is full."""
    head = book.head[0]
    slot = int(head["order_free"])
    if slot == 0 and head["orders_high"] + 1 >= book.orders.size:
        return False
    level_slot = _open_level(book, op["side"] - 1, op["price"])
    if level_slot == 0:
        return False
    if slot:
        head["order_free"] = book.orders[slot]["next"]
    else:
        head["orders_high"] += 1
        slot = int(head["orders_high"])
    order, level = book.orders[slot], book.levels[level_slot]
    order["order_id"], order["owner"], order["client_id"] = order_id, op["owner"], op["client_id"]
    order["price"], order["qty"], order["side"] = op["price"], qty, op["side"]
    order["level"], order["prev"], order["next"] = level_slot, level["tail"], 0
    if level["tail"]:
        book.orders[level["tail"]]["next"] = slot
    else:
        level["head"] = slot
    level["tail"] = slot
    level["qty"] += qty
    level["count"] += 1
    head["orders"] += 1
    head["resting"][op["side"] - 1] += 1
    _index(book, slot)
    return True


@njit(cache=True)
def _remove(book: BookState, slot: int) -> None:
    """Take an order out of its queue and free its slot; an empty level goes too."""
    head, order = book.head[0], book.orders[slot]
    level_slot, row = int(order["level"]), int(order["side"]) - 1
    level = book.levels[level_slot]
    if order["prev"]:
        book.orders[order["prev"]]["next"] = order["next"]
    else:
        level["head"] = order["next"]
    if order["next"]:
        book.orders[order["next"]]["prev"] = order["prev"]
    else:
        level["tail"] = order["prev"]
    level["qty"] -= order["qty"]
    level["count"] -= 1
    if level["count"] == 0:
        _close_level(book, row, level_slot)
    _unindex(book, slot)
    order["order_id"], order["qty"], order["prev"] = 0, 0, 0
    order["next"] = head["order_free"]
    head["order_free"] = slot
    head["orders"] -= 1
    head["resting"][row] -= 1


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
                _remove(book, slot)
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
        _rest(book, op, order_id, left)
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
        _remove(book, slot)
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


@njit(cache=True)
def depth(
    book: BookState, side: int, prices: NDArray[np.int64], quantities: NDArray[np.int64]
) -> int:
    """Write the best levels of a side, best first, as far as the arrays reach; how many."""
    row = side - 1
    size = int(book.head[0]["ladder"][row])
    count = min(size, prices.size)
    for i in range(count):
        level = book.levels[book.ladder[row, size - 1 - i]]
        prices[i], quantities[i] = level["price"], level["qty"]
    return count


@njit(cache=True)
def queue_position(book: BookState, order_id: int) -> tuple[int, int]:
    """(orders ahead, lots ahead) of a live order at its price; (-1, -1) if it is not live."""
    slot = find(book, order_id) if order_id > 0 else 0
    if slot == 0:
        return -1, -1
    orders, lots = 0, 0
    ahead = int(book.orders[slot]["prev"])
    while ahead:
        orders += 1
        lots += book.orders[ahead]["qty"]
        ahead = int(book.orders[ahead]["prev"])
    return orders, lots
