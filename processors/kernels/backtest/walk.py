"""The walk of a backtest: records of all instruments in order of time, bars closed, orders matched.

At one moment, first every bar that ends then is matched in its range and valued, then what is
decided on them is placed, then equity is noted, then records that begin then are matched at their
open: so nothing is sized or decided by a price of later. A walk is left wherever its caller wants
to look, and goes on from there: a strategy in Python and a column of targets go the same way.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import from_dtype, njit, types
from numpy.typing import NDArray

from tidemill.processors.kernels.backtest.fills import BOOKS, Books, Rows, aim, note, see
from tidemill.processors.kernels.backtest.matching import at_open, in_range
from tidemill.processors.kernels.backtest.state import (
    CLOSE,
    DECIDE,
    DONE,
    FILLS_A_MOMENT,
    HOLD,
    INT64_MAX,
    OPEN,
    PAUSE_BAR,
    PAUSE_FILL,
    PAUSE_RECORD,
    POINT,
)

_NamedUniTuple: Callable[..., types.Type] = types.NamedUniTuple
MILLION = 1_000_000


class Series(NamedTuple):
    """Records and bars of all instruments, one instrument after the other.

    Records (R,): `ts` (ns, begins), `open`, `high`, `low`, `close` (mantissas). Bars (B,): `ends`,
    one more than the bar's last record; `close_ts` (ns), past every record of it; `targets` (B,)
    millionths or HOLD, or none of them.
    """

    ts: NDArray[np.int64]
    open: NDArray[np.int64]
    high: NDArray[np.int64]
    low: NDArray[np.int64]
    close: NDArray[np.int64]
    ends: NDArray[np.int64]
    close_ts: NDArray[np.int64]
    targets: NDArray[np.int64]


SERIES = _NamedUniTuple(types.int64[::1], 8, Series)


@njit(cache=True)
def next_of(market: Any, ts: Any, ends: Any, close_ts: Any) -> None:
    """Note when the next record of an instrument begins, or its bar ends."""
    if market.bar >= market.bar_end:
        market.next_ts = INT64_MAX
    elif market.record < ends[market.bar]:
        market.next_ts = ts[market.record]
    else:
        market.next_ts = close_ts[market.bar]


@njit(cache=True)
def _close(
    books: Books, series: Series, account: Any, markets: Any, ends: Any, close: Any, bars: bool
) -> None:
    """Go to the next moment, and work through the bars that end at it."""
    now = INT64_MAX
    for j in range(len(markets)):
        now = min(now, markets[j].next_ts)
    account.phase = DONE if now == INT64_MAX else DECIDE
    if now == INT64_MAX:
        return
    account.ts = now
    for j in range(len(markets)):
        market = markets[j]
        if market.next_ts != now or market.record < ends[market.bar]:
            continue
        if bars:
            record = market.record - 1
            if market.orders:
                range_of(books, series, j, record)
            see(account, market, close[record])
        market.ended = 1
        account.ended = 1


@njit(cache=True)
def range_of(books: Books, series: Series, j: int, record: int) -> None:
    """Match the orders of `j` in the range of a bar."""
    ts, opened = series.ts[record], series.open[record]
    in_range(books, j, record, ts, opened, series.high[record], series.low[record])


@njit(cache=True)
def _decide(
    books: Books, account: Any, markets: Any, columns: Any, targets: Any, points: Any, now: bool
) -> None:
    """Place what is decided on the bars that ended, and note the equity. `now`: fill there too."""
    ts, ends, close_ts = columns
    for j in range(len(markets)):
        market = markets[j]
        if not market.ended:
            continue
        if len(targets) and targets[market.bar] != HOLD:
            aim(books, j, targets[market.bar])
        if now and market.orders:
            at_open(books, j, market.record - 1, account.ts, market.last)
        market.ended = 0
        market.bar += 1
        next_of(market, ts, ends, close_ts)
    account.ended = 0
    note(account, points)


@njit(cache=True)
def _open(
    books: Books, account: Any, markets: Any, columns: Any, opens: Any, pause: int, most: int
) -> bool:
    """Match the records that begin now; return whether the caller is to look, or to make room."""
    ts, ends, close_ts = columns
    told = account.fills
    for j in range(len(markets)):
        market = markets[j]
        while market.next_ts == account.ts and market.record < ends[market.bar]:
            record = market.record
            see(account, market, opens[record])
            if market.orders:
                at_open(books, j, record, account.ts, opens[record])
            market.record = record + 1
            next_of(market, ts, ends, close_ts)
            if pause & PAUSE_RECORD:
                account.look = j + 1
            looks = account.look or (pause & PAUSE_FILL and account.fills != told)
            if looks or account.fills > most:
                return True
    account.phase = CLOSE
    return False


@njit(cache=True)
def _quiet(account: Any, market: Any, columns: Any, close: Any, targets: Any, points: Any) -> None:
    """Go over all bars of the one instrument until something is decided, while no order is open:
    what the other steps do, in one loop."""
    ts, ends, close_ts = columns
    while market.bar < market.bar_end and targets[market.bar] == HOLD:
        bar = market.bar
        market.record = ends[bar]
        see(account, market, close[market.record - 1])
        account.ts = close_ts[bar]
        note(account, points)
        market.bar = bar + 1
    next_of(market, ts, ends, close_ts)


@njit(types.void(BOOKS, SERIES), cache=True)
def begin(books: Books, series: Series) -> None:
    """Make ready for the first `walk`, once cursors are set."""
    for j in range(len(books[2])):
        next_of(books[2][j], series.ts, series.ends, series.close_ts)


@njit(types.boolean(BOOKS, SERIES, from_dtype(POINT)[::1], types.int64), cache=True)
def walk(books: Books, series: Series, points: Rows, pause: int) -> bool:
    """Go on to the next pause, or until there is too little room in fills or trips; false: to the
    end. `points` has room for all bars.

    Arrays are taken out of tuples once: in the loop each would cost a count of its references.
    """
    settings, account, markets = books[0][0], books[1][0], books[2]
    columns = series.ts, series.ends, series.close_ts
    ends, opens, close, targets = series.ends, series.open, series.close, series.targets
    most = len(books[4]) - len(markets) * FILLS_A_MOMENT
    bars, at_close = settings.bars != 0, settings.at_close != 0
    alone = len(markets) == 1 and len(targets) > 0
    while account.phase != DONE:
        told = account.fills
        if told > most:
            return True
        looks = False
        if account.phase == CLOSE:
            _close(books, series, account, markets, ends, close, bars)
            looks = (pause & PAUSE_BAR) != 0 and account.ended != 0
        elif account.phase == DECIDE:
            if account.ended:
                _decide(books, account, markets, columns, targets, points, at_close)
            account.phase = OPEN
            if alone and pause == 0 and markets[0].orders == 0:
                _quiet(account, markets[0], columns, close, targets, points)
        elif _open(books, account, markets, columns, opens, pause, most):
            return True
        if looks or (pause & PAUSE_FILL and account.fills != told):
            return True
    return False
