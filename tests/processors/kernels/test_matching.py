"""The matching engine against a slow book that is obviously right, and what its users rely on."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.processors.kernels import matching as m
from tidemill.processors.kernels import order_book as b

ORDERS_MAX, LEVELS_MAX = 24, 12
OWNERS = 3


@dataclass
class Resting:
    order_id: int
    owner: int
    client_id: int
    side: int
    price: int
    qty: int


@dataclass
class Oracle:
    """A list of resting orders in order of arrival. Every question is answered by looking at all
    of them."""

    resting: list[Resting] = field(default_factory=list)
    trades: list[tuple[int, ...]] = field(default_factory=list)
    orders_given: int = 0

    def levels(self, side: int) -> list[tuple[int, int]]:
        total: dict[int, int] = {}
        for order in self.resting:
            if order.side == side:
                total[order.price] = total.get(order.price, 0) + order.qty
        return sorted(total.items(), reverse=side == b.BUY)

    def crossed(self, op: "Op") -> list[Resting]:
        """The orders `op` may trade with, in the order in which it must."""
        other = [order for order in self.resting if order.side != op.side]
        if op.type == m.LIMIT and op.side == b.BUY:
            other = [order for order in other if order.price <= op.price]
        elif op.type == m.LIMIT:
            other = [order for order in other if order.price >= op.price]
        sign = 1 if op.side == b.BUY else -1
        return sorted(other, key=lambda order: (sign * order.price, order.order_id))

    def refusal(self, op: "Op") -> int:
        if op.type == m.MARKET:
            return m.ACCEPTED if op.tif in (m.IOC, m.FOK) else m.BAD_OPERATION
        if op.tif == m.GTX and self.crossed(op):
            return m.WOULD_TRADE
        if op.tif in (m.GTC, m.GTX):
            levels = self.levels(b.BUY) + self.levels(b.SELL)
            known = op.price in [price for price, _ in self.levels(op.side)]
            if len(self.resting) >= ORDERS_MAX or (len(levels) >= LEVELS_MAX and not known):
                return m.BOOK_FULL
        return m.ACCEPTED

    def new(self, op: "Op") -> tuple[int, int]:
        reason = self.refusal(op)
        if reason:
            return m.REJECTED, reason
        self.orders_given += 1
        left = op.qty
        makers = self.crossed(op)
        if op.tif == m.FOK and sum(order.qty for order in makers) < op.qty:
            return m.CANCELED, m.ACCEPTED
        for maker in makers:
            qty = min(left, maker.qty)
            if qty == 0:
                break
            maker.qty -= qty
            left -= qty
            self.trades.append(
                (maker.price, qty, maker.order_id, self.orders_given, maker.owner, op.owner)
            )
        self.resting = [order for order in self.resting if order.qty > 0]
        if left == 0:
            return m.FILLED, m.ACCEPTED
        if op.type == m.MARKET or op.tif in (m.IOC, m.FOK):
            return m.CANCELED, m.ACCEPTED
        self.resting.append(
            Resting(self.orders_given, op.owner, op.client_id, op.side, op.price, left)
        )
        return m.RESTING, m.ACCEPTED

    def take_away(self, op: "Op") -> tuple[int, int]:
        found = [order for order in self.resting if order.order_id == op.order_id]
        if not found:
            return m.REJECTED, m.UNKNOWN_ORDER
        if op.kind == m.REDUCE and op.qty < found[0].qty:
            found[0].qty -= op.qty
            return m.RESTING, m.ACCEPTED
        self.resting.remove(found[0])
        return m.CANCELED, m.ACCEPTED

    def do(self, op: "Op") -> tuple[int, int]:
        return self.new(op) if op.kind == m.NEW else self.take_away(op)


@dataclass(frozen=True)
class Op:
    kind: int
    side: int = b.BUY
    type: int = m.LIMIT
    tif: int = m.GTC
    price: int = 0
    qty: int = 0
    order_id: int = 0
    owner: int = 0
    client_id: int = 0


def as_array(ops: list[Op]) -> np.ndarray:
    array = np.zeros(len(ops), m.OP_DTYPE)
    for i, op in enumerate(ops):
        for name in m.OP_DTYPE.names or ():
            array[i][name] = getattr(op, name)
    return array


@dataclass
class Run:
    book: b.BookState
    results: np.ndarray
    fills: np.ndarray
    changes: np.ndarray


def run(
    ops: list[Op], *, parts: int = 1, orders_max: int = ORDERS_MAX, levels_max: int = LEVELS_MAX
) -> Run:
    """Apply `ops` in `parts` pieces, with output arrays so small that calls must be repeated."""
    book = b.empty_book(orders_max, levels_max)
    results, fills, changes = [], [], []
    for part in np.array_split(as_array(ops), parts):
        while part.size:
            result = np.zeros(part.size, m.RESULT_DTYPE)
            fill = np.zeros(orders_max, m.FILL_DTYPE)
            change = np.zeros(orders_max + 1, m.CHANGE_DTYPE)
            done, fill_count, change_count = m.apply(book, part, result, fill, change)
            assert done > 0
            results.append(result[:done])
            fills.append(fill[:fill_count])
            changes.append(change[:change_count])
            part = part[done:]
    return Run(book, np.concatenate(results), np.concatenate(fills), np.concatenate(changes))


def levels(book: b.BookState, side: int) -> list[tuple[int, int]]:
    prices, quantities = np.zeros(100, np.int64), np.zeros(100, np.int64)
    count = b.depth(book, side, prices, quantities)
    return list(zip(prices[:count].tolist(), quantities[:count].tolist(), strict=True))


PRICES, LOTS = st.integers(95, 105), st.integers(1, 9)
limits = st.builds(
    Op,
    kind=st.just(m.NEW),
    side=st.sampled_from([b.BUY, b.SELL]),
    tif=st.sampled_from([m.GTC, m.GTC, m.GTC, m.IOC, m.FOK, m.GTX]),
    price=PRICES,
    qty=LOTS,
    owner=st.integers(1, OWNERS),
    client_id=st.integers(0, 2**62),
)
markets = st.builds(
    Op,
    kind=st.just(m.NEW),
    side=st.sampled_from([b.BUY, b.SELL]),
    type=st.just(m.MARKET),
    tif=st.sampled_from([m.IOC, m.FOK, m.GTC]),
    qty=LOTS,
)
taken_away = st.builds(
    Op, kind=st.sampled_from([m.CANCEL, m.REDUCE]), order_id=st.integers(1, 60), qty=LOTS
)
operations = st.lists(st.one_of(limits, limits, limits, markets, taken_away), min_size=1)


@settings(max_examples=400, deadline=None)
@given(ops=operations, parts=st.integers(1, 5))
def test_any_operations_give_the_trades_and_the_book_of_the_oracle(ops: list[Op], parts: int):
    got, oracle = run(ops, parts=parts), Oracle()
    expected = []
    for op, result in zip(ops, got.results, strict=True):
        before = len(oracle.trades)
        expected.append(oracle.do(op))
        assert result["fill_count"] == len(oracle.trades) - before
        bid, ask = (oracle.levels(side)[:1] or [(0, 0)] for side in (b.BUY, b.SELL))
        assert [(result["bid"], result["bid_qty"])] == bid
        assert [(result["ask"], result["ask_qty"])] == ask
    assert [(int(r["status"]), int(r["reason"])) for r in got.results] == expected
    names = ["price", "qty", "maker_order_id", "taker_order_id", "maker_owner", "taker_owner"]
    assert [tuple(fill) for fill in got.fills[names].tolist()] == oracle.trades
    assert got.fills["trade_id"].tolist() == list(range(1, len(oracle.trades) + 1))
    for side in (b.BUY, b.SELL):
        assert levels(got.book, side) == oracle.levels(side)
    for order in oracle.resting:
        slot = got.book.orders[b.find(got.book, order.order_id)]
        assert (slot["qty"], slot["owner"], slot["client_id"]) == (
            order.qty,
            order.owner,
            order.client_id,
        )
        queue = [o for o in oracle.resting if (o.side, o.price) == (order.side, order.price)]
        ahead = queue[: queue.index(order)]
        assert b.queue_position(got.book, order.order_id) == (
            len(ahead),
            sum(o.qty for o in ahead),
        )
    head = got.book.head[0]
    assert head["orders"] == len(oracle.resting) == head["resting"].sum()


@settings(max_examples=100, deadline=None)
@given(ops=operations)
def test_the_changed_levels_alone_rebuild_the_book(ops: list[Op]):
    got = run(ops)
    rebuilt: dict[tuple[int, int], int] = {}
    for change in got.changes:
        rebuilt[int(change["side"]), int(change["price"])] = int(change["qty"])
    live = {key: qty for key, qty in rebuilt.items() if qty}
    assert live == {
        (side, price): qty for side in (b.BUY, b.SELL) for price, qty in levels(got.book, side)
    }
    assert got.changes["update_id"].tolist() == list(range(1, got.changes.size + 1))
    assert got.book.head[0]["update_id"] == got.changes.size


@settings(max_examples=100, deadline=None)
@given(ops=operations, cut=st.integers(0, 100), parts=st.integers(1, 7))
def test_a_snapshot_is_bytes_and_any_split_of_the_input_gives_the_same_ones(
    ops: list[Op], cut: int, parts: int
):
    whole = run(ops)
    assert b.to_bytes(run(ops, parts=parts).book) == b.to_bytes(whole.book)
    cut = cut % len(ops)
    half = b.from_bytes(b.to_bytes(run(ops[:cut]).book), ORDERS_MAX, LEVELS_MAX) if cut else None
    if half is not None:
        rest = as_array(ops[cut:])
        out = (np.zeros(rest.size, m.RESULT_DTYPE), np.zeros(4096, m.FILL_DTYPE))
        m.apply(half, rest, *out, np.zeros(8192, m.CHANGE_DTYPE))
        assert b.to_bytes(half) == b.to_bytes(whole.book)


def test_a_snapshot_of_another_capacity_is_refused():
    with pytest.raises(ValueError, match="capacities"):
        b.from_bytes(b.to_bytes(b.empty_book(4, 4)), 4, 5)


@pytest.mark.parametrize(
    "bad",
    [
        Op(m.NEW, side=0, price=1, qty=1),
        Op(m.NEW, side=3, price=1, qty=1),
        Op(m.NEW, price=0, qty=1),
        Op(m.NEW, price=1, qty=0),
        Op(m.NEW, price=1, qty=-4),
        Op(m.NEW, type=7, price=1, qty=1),
        Op(m.NEW, tif=0, price=1, qty=1),
        Op(m.NEW, type=m.MARKET, tif=m.GTC, qty=1),
        Op(m.REDUCE, order_id=1, qty=0),
        Op(9),
    ],
)
def test_a_bad_operation_is_rejected_and_changes_nothing(bad: Op):
    good = Op(m.NEW, price=5, qty=5)
    got = run([good, bad])
    assert (got.results[1]["status"], got.results[1]["reason"]) == (m.REJECTED, m.BAD_OPERATION)
    assert b.to_bytes(got.book) == b.to_bytes(run([good]).book)


def test_a_long_life_in_a_small_book_leaks_no_slot_and_loses_no_order():
    rng = np.random.default_rng(7)
    ops = []
    for i in range(20_000):
        side = int(rng.integers(1, 3))
        price = 100 + (-1 if side == b.BUY else 1) * int(rng.integers(1, 5))
        ops.append(Op(m.NEW, side=side, price=price, qty=1))
        if i >= 8:
            ops.append(Op(m.CANCEL, order_id=i - 7))
    got = run(ops)
    live = int(got.book.head[0]["orders"])
    assert live == 8
    assert not np.any(got.results["status"] == m.REJECTED)
    assert got.book.head[0]["orders_high"] == 9
    assert np.count_nonzero(got.book.table) == live


def test_every_live_order_is_found_however_its_neighbours_in_the_table_came_and_went():
    """Long-lived orders among short-lived ones: ids with gaps, so their hashes do collide."""
    rng, live, ops = np.random.default_rng(3), [], []
    for order_id in range(1, 20_001):
        ops.append(Op(m.NEW, price=100 + order_id % 50, qty=order_id))
        live.append(order_id)
        if len(live) == 200:
            ops.append(Op(m.CANCEL, order_id=live.pop(int(rng.integers(0, 200)))))
    got = run(ops, orders_max=200, levels_max=60)
    assert not np.any(got.results["status"] == m.REJECTED)
    table = got.book.table
    at_home = 0
    for order_id in live:
        slot = b.find(got.book, order_id)
        assert (got.book.orders[slot]["order_id"], got.book.orders[slot]["qty"]) == (
            order_id,
            order_id,
        )
        at_home += table[b.home(order_id, table.size - 1)] == slot
    assert np.count_nonzero(table) == len(live)
    assert at_home < len(live)  # some did collide, or this test shows nothing


def test_prices_and_quantities_near_the_end_of_int64_trade_exactly():
    got = run(
        [
            Op(m.NEW, side=b.SELL, price=2**61, qty=2**60),
            Op(m.NEW, side=b.SELL, price=2**61, qty=2**60 - 1),
            Op(m.NEW, side=b.BUY, price=2**61, qty=2**60 + 5),
        ]
    )
    assert got.fills["qty"].tolist() == [2**60, 5]
    assert levels(got.book, b.SELL) == [(2**61, 2**60 - 6)]
