"""What a bar says of its trades, and bars kept by time: shared by the kernels of all bars.

`to`, `one` and `other` are records with a bar's fields: kept, staged or of a kind.
"""

from typing import Any

from numba import njit

Bar = Any


@njit(cache=True)
def copy(to: Bar, one: Bar) -> None:
    """Copy prices, sums and the number of trades."""
    to.open = one.open
    to.high = one.high
    to.low = one.low
    to.close = one.close
    to.volume_lo = one.volume_lo
    to.volume_hi = one.volume_hi
    to.quote_volume_lo = one.quote_volume_lo
    to.quote_volume_hi = one.quote_volume_hi
    to.taker_buy_volume_lo = one.taker_buy_volume_lo
    to.taker_buy_volume_hi = one.taker_buy_volume_hi
    to.trade_count = one.trade_count


@njit(cache=True)
def copy_with_ids(to: Bar, one: Bar) -> None:
    """Copy the same, and the ids of the first and last trade."""
    copy(to, one)
    to.first_trade_id = one.first_trade_id
    to.last_trade_id = one.last_trade_id


@njit(cache=True)
def same(one: Bar, other: Bar) -> bool:
    """Return whether prices, sums and the number of trades are equal."""
    return bool(
        one.open == other.open
        and one.high == other.high
        and one.low == other.low
        and one.close == other.close
        and one.volume_lo == other.volume_lo
        and one.volume_hi == other.volume_hi
        and one.quote_volume_lo == other.quote_volume_lo
        and one.quote_volume_hi == other.quote_volume_hi
        and one.taker_buy_volume_lo == other.taker_buy_volume_lo
        and one.taker_buy_volume_hi == other.taker_buy_volume_hi
        and one.trade_count == other.trade_count
    )


@njit(cache=True)
def make_room(bars: Any, first: int, kept: int, most: int, ts_open: int) -> tuple[int, bool]:
    """Return the place of the bar that begins at `ts_open`, and whether it is new there.

    `kept` bars stand from `first` on by time, the oldest first. For a new one the later ones move
    up; of `most` the oldest goes. -1 for one that is older than all of them then.
    """
    place = first + kept
    while place > first and bars[place - 1].ts_open >= ts_open:
        place -= 1
    if place < first + kept and bars[place].ts_open == ts_open:
        return place, False
    if kept == most:
        if place == first:
            return -1, False
        place -= 1
        for older in range(first, place):
            bars[older] = bars[older + 1]
    else:
        for newer in range(first + kept, place, -1):
            bars[newer] = bars[newer - 1]
    return place, True
