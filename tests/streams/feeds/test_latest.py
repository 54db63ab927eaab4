"""Latest values over two connections: each once, while one connection's repetitions all count."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tidemill.schemas.kinds.liquidation import LIQUIDATION
from tidemill.streams.feeds.latest import KEPT_MAX, Latest


def liquidations(*prices: int, at: int = 0) -> np.ndarray:
    records = LIQUIDATION.empty(len(prices))
    records["price"], records["ts_recv"] = prices, at
    return records


def prices(records: np.ndarray) -> list[int]:
    return [int(price) for price in records["price"]]


def test_what_a_second_connection_repeats_vanishes_whenever_it_came():
    latest = Latest()
    assert prices(latest.unseen("liquidation", 0, liquidations(1, 2), False)) == [1, 2]
    later = liquidations(2, 3, 2, at=7)
    assert prices(latest.unseen("liquidation", 0, later, True)) == [3]


def test_of_one_connection_everything_counts():
    latest = Latest()
    twice = liquidations(1, 1)
    assert prices(latest.unseen("liquidation", 0, twice, False)) == [1, 1]
    assert prices(latest.unseen("liquidation", 0, twice, False)) == [1, 1]


def test_instruments_and_kinds_are_apart():
    latest = Latest()
    one = liquidations(1)
    assert prices(latest.unseen("liquidation", 0, one, True)) == [1]
    assert prices(latest.unseen("liquidation", 1, one, True)) == [1]
    assert prices(latest.unseen("derivative", 0, one, True)) == [1]


@given(
    st.lists(st.integers(0, 3 * KEPT_MAX), unique=True, max_size=2 * KEPT_MAX),
    st.integers(0, 50),
)
def test_two_connections_one_behind_the_other_are_one(stream, lag):
    latest, out = Latest(), []
    for at in range(len(stream) + lag):
        for position in (at, at - lag):
            if 0 <= position < len(stream):
                given = liquidations(stream[position], at=at)
                out += prices(latest.unseen("liquidation", 0, given, True))
    assert out == stream
