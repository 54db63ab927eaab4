"""A limit order book over plain arrays: queues of orders by price, prices by side.

`BookState` is a named tuple of five NumPy arrays; all zeros is an empty book, its bytes are its
snapshot. Prices are integer ticks, quantities integer lots (both int64), ids count from 1. Orders
of a price form a doubly linked queue in order of arrival; prices of a side form a sorted ladder
whose last entry is the best one, so that work near the touch moves few bytes. An order id is found
through an open-addressing table (Fibonacci hash, linear probing, backward-shift deletion: Knuth,
TAOCP 3, 6.4, algorithm R), so no tombstone accumulates.

This file keeps the structure; `matching` decides what trades. It knows no fees, latency, time or
accounts: `owner` and `client_id` are carried, not read.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tidemill.schemas.enums import OrderSide

BUY, SELL = int(OrderSide.BUY), int(OrderSide.SELL)

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
def home(order_id: int, mask: int) -> int:
    """Where in the table an order id belongs."""
    mixed = np.uint64(order_id) * np.uint64(0x9E3779B97F4A7C15)
    return int(np.int64(mixed >> np.uint64(32))) & mask


@njit(cache=True)
def find(book: BookState, order_id: int) -> int:
    """The slot of a live order, 0 if there is none."""
    mask = book.table.size - 1
    at = home(order_id, mask)
    while True:
        slot = book.table[at]
        if slot == 0 or book.orders[slot]["order_id"] == order_id:
            return int(slot)
        at = (at + 1) & mask


@njit(cache=True)
def _index(book: BookState, slot: int) -> None:
    mask = book.table.size - 1
    at = home(book.orders[slot]["order_id"], mask)
    while book.table[at] != 0:
        at = (at + 1) & mask
    book.table[at] = slot


@njit(cache=True)
def _unindex(book: BookState, slot: int) -> None:
    table = book.table
    mask = table.size - 1
    hole = home(book.orders[slot]["order_id"], mask)
    while table[hole] != slot:
        hole = (hole + 1) & mask
    at = hole
    while True:
        at = (at + 1) & mask
        if table[at] == 0:
            break
        wanted = home(book.orders[table[at]]["order_id"], mask)
        if ((at - wanted) & mask) >= ((at - hole) & mask):
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


# --- orders ----------------------------------------------------------------------------------


@njit(cache=True)
def append_order(book: BookState, op: np.void, order_id: int, qty: int) -> bool:
    """Append an order to the queue of its price: side, price, owner and client_id of `op` (a record
    that has them), `qty` lots. False, and no change, when the book is full."""
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
def remove_order(book: BookState, slot: int) -> None:
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


# --- views ------------------------------------------------------------------------------------


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
