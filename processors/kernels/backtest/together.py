"""The walk over bars of many instruments in one account, while nobody looks: moment by moment.

It does what the steps of `walk` do, in their order. What every instrument costs at every moment is
what all of it costs: so cursors are columns of their own, and a window of `WINDOW` bars of each is
laid out by rows, which stay in the processor's cache. One column of everything, an instrument after
the other, would be gigabytes that are copied first, and hundreds of places to wait for.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import from_dtype, njit, types
from numpy.typing import NDArray

from tidemill.processors.kernels.backtest.fills import BOOKS, Books, aim, note, see
from tidemill.processors.kernels.backtest.market import Market
from tidemill.processors.kernels.backtest.matching import at_open, in_range
from tidemill.processors.kernels.backtest.state import (
    DONE,
    FILLS_A_MOMENT,
    HOLD,
    INT64_MAX,
    POINT,
)

WINDOW = 512
OPENS, CLOSES, OPEN, HIGH, LOW, CLOSE, TARGET = range(7)
"""Columns of a window: times (ns), prices (mantissas), millionths or HOLD."""
Ints = NDArray[np.int64]


class Window:
    """The next bars of each of I instruments: `rows` (I, WINDOW, 7), row 0 of an instrument being
    its bar `first` (I,), of `have` (I,) that are there. `targets` are one column for each."""

    def __init__(self, markets: Sequence[Market], targets: Sequence[Ints]) -> None:
        self.rows = np.zeros((len(markets), WINDOW, 7), np.int64)
        self.first = np.zeros(len(markets), np.int64)
        self.have = np.zeros(len(markets), np.int64)
        self._columns = [
            (b.ts_open, b.ts_close, b.open, b.high, b.low, b.close, of)
            for b, of in zip((one.bars for one in markets), targets, strict=True)
        ]
        counts = [len(of) for of in targets]
        self._begins = np.cumsum([0, *counts])[:-1].tolist()

    def move(self, positions: NDArray[np.void]) -> None:
        """Lay out the bars from where the instruments are."""
        self.first[:] = positions["bar"]
        for j, columns in enumerate(self._columns):
            start = int(self.first[j]) - self._begins[j]
            for k, column in enumerate(columns):
                part = column[start : start + WINDOW]
                self.rows[j, : len(part), k] = part
            self.have[j] = len(columns[0][start : start + WINDOW])


@njit(cache=True, inline="always")
def _close(
    books: Books, account: Any, markets: Any, at: Any, first: Any, rows: Any, due: Any, ended: int
) -> None:
    """Work through the bars of the `due` instruments, which end now."""
    for i in range(ended):
        j = due[i]
        k = at[j] - first[j]
        if markets[j].orders:
            began, opened = rows[j, k, OPENS], rows[j, k, OPEN]
            in_range(books, j, at[j], began, opened, rows[j, k, HIGH], rows[j, k, LOW])
        see(account, markets[j], rows[j, k, CLOSE])


@njit(cache=True, inline="always")
def _decide(
    books: Books, account: Any, markets: Any, at: Any, first: Any, rows: Any, due: Any, ended: int
) -> None:
    """Place what is decided on them."""
    at_close = books[0][0].at_close != 0
    for i in range(ended):
        j = due[i]
        k = at[j] - first[j]
        if rows[j, k, TARGET] != HOLD:
            aim(books, j, rows[j, k, TARGET])
        if at_close and markets[j].orders:
            at_open(books, j, at[j], account.ts, rows[j, k, CLOSE])


@njit(cache=True, inline="always")
def _next(markets: Any, at: Any, cursors: Any, rows: Any, have: Any, due: Any, ended: int) -> bool:
    """Go to the next bar of each of them; return whether one is the last of its window only."""
    first, next_ts, closing = cursors
    short = False
    for i in range(ended):
        j = due[i]
        at[j] += 1
        k = at[j] - first[j]
        closing[j] = False
        next_ts[j] = rows[j, k, OPENS] if at[j] < markets[j].bar_end else INT64_MAX
        short = short or (k + 1 == have[j] and at[j] + 1 < markets[j].bar_end)
    return short


@njit(cache=True, inline="always")
def _open(books: Books, account: Any, markets: Any, at: Any, cursors: Any, rows: Any) -> None:
    """Match the bars that begin now at their open; from then on they are to close."""
    first, next_ts, closing = cursors
    now = account.ts
    for j in range(len(markets)):
        if next_ts[j] == now and not closing[j]:
            k = at[j] - first[j]
            see(account, markets[j], rows[j, k, OPEN])
            if markets[j].orders:
                at_open(books, j, at[j], now, rows[j, k, OPEN])
            next_ts[j] = rows[j, k, CLOSES]
            closing[j] = True


@njit(
    types.boolean(
        BOOKS,
        types.int64[:, :, ::1],
        types.int64[::1],
        types.int64[::1],
        from_dtype(POINT)[::1],
    ),
    cache=True,
)
def together(books: Books, rows: Any, first: Any, have: Any, points: Any) -> bool:
    """Go on from the begin of a moment until the window is to be moved, or there is too little room
    for fills; false: to the end."""
    account, markets = books[1][0], books[2]
    count = len(markets)
    most = len(books[4]) - count * FILLS_A_MOMENT
    at, next_ts = markets["bar"].copy(), markets["next_ts"].copy()
    closing = markets["record"] > at
    cursors = first, next_ts, closing
    due = np.empty(count, np.int64)
    short = False
    while not short and account.fills <= most:
        moment = INT64_MAX
        for j in range(count):
            moment = min(moment, next_ts[j])
        if moment == INT64_MAX:
            account.phase = DONE
            break
        account.ts = moment
        ended = 0
        for j in range(count):
            if next_ts[j] == moment and closing[j]:
                due[ended] = j
                ended += 1
        if ended:
            _close(books, account, markets, at, first, rows, due, ended)
            _decide(books, account, markets, at, first, rows, due, ended)
            note(account, points)
            short = _next(markets, at, cursors, rows, have, due, ended)
        _open(books, account, markets, at, cursors, rows)
    for j in range(count):
        markets[j].bar, markets[j].next_ts = at[j], next_ts[j]
        markets[j].record = at[j] + closing[j]
    return bool(account.phase != DONE)
