"""The order flow and the markets: deterministic, plausible, and remembered exactly."""

from fractions import Fraction
from itertools import groupby

import numpy as np
import pytest

from tidemill.deploy.exchange.__main__ import rates_of
from tidemill.deploy.exchange.fundamental import Fundamental, Outlook
from tidemill.deploy.exchange.history import INTERVALS_US, KLINES_KEPT, bucket_us
from tidemill.deploy.exchange.market import Market
from tidemill.deploy.exchange.symbols import CATALOGUE, symbol_of
from tidemill.deploy.exchange.venues import OUTLOOKS
from tidemill.schemas.errors import Unreadable

NOON_US = 1_723_161_600_000_000


def market(
    symbol: str = "BTCUSDT",
    *,
    venue: str = "BINANCE",
    seed: int = 1,
    rate: float = 140.0,
    kept: int = 50_000,
) -> Market:
    return Market(
        symbol_of(symbol),
        venue=venue,
        seed=seed,
        rate=rate,
        outlook=OUTLOOKS[venue],
        trades_kept=kept,
    )


def live(it: Market, events: int, *, chunk: int = 1_000, clock_us: int = NOON_US, step_us: int = 0):
    """Advance by chunks; everything that happened, in order."""
    happened = []
    while it.events < events:
        happened.append(it.advance(min(events, it.events + chunk), clock_us))
        clock_us += step_us
    return happened


def trades_of(happened) -> np.ndarray:
    return np.concatenate([what.trades for what in happened])


def quotes_of(happened) -> np.ndarray:
    return np.concatenate([what.quotes for what in happened])


FACTS = ["trade_id", "price", "qty", "agg_id", "buyer_is_maker"]


@pytest.mark.parametrize("rate", [3.0, 140.0, 99.7])
def test_the_clock_and_the_pace_decide_nothing_that_trades(rate: float):
    slow, fast = market(rate=rate), market(rate=rate)
    one = trades_of(live(slow, 4_000, chunk=7, clock_us=1, step_us=991))
    other = trades_of(live(fast, 4_000, chunk=4_000, clock_us=NOON_US))
    assert one[FACTS].tolist() == other[FACTS].tolist()
    assert len(one) > 500
    assert slow.snapshot() == fast.snapshot()
    assert slow.steps == fast.steps


def test_another_seed_another_symbol_and_another_venue_trade_otherwise():
    first = trades_of(live(market(), 2_000))[FACTS].tolist()
    for other in (market(seed=2), market("ETHUSDT"), market(venue="BINANCE_US")):
        assert trades_of(live(other, 2_000))[FACTS].tolist() != first


@pytest.mark.parametrize("symbol", ["BTCUSDT", "XRPUSDT", "ETHBTC", "TIDEUSDT"])
def test_spread_sizes_and_clustering_look_like_a_real_book(symbol: str):
    it = market(symbol)
    happened = live(it, 40_000)
    quotes, trades = quotes_of(happened), trades_of(happened)
    spread = quotes["ask"] - quotes["bid"]
    assert spread.min() >= 1
    assert np.mean(spread) / it.symbol.price_ticks < 5e-4
    assert min(quotes["bid_qty"].min(), quotes["ask_qty"].min()) > 0
    # The capture of the real BTCUSDT has 2.9 quotes a trade, and 0.89 of its trades take the same
    # side as the one before.
    assert 1.5 < len(quotes) / len(trades) < 6
    side = trades["buyer_is_maker"]
    assert 0.7 < np.mean(side[1:] == side[:-1]) < 0.98
    assert 0.2 < np.mean(side) < 0.8
    assert np.max(trades["qty"]) > 5 * np.median(trades["qty"])
    assert min(len(it.depth(1, 5_000)), len(it.depth(2, 5_000))) >= 20


def test_a_book_far_from_its_value_follows_it():
    it = market()
    live(it, 60_000)  # seven minutes of the fundamental
    value = Fundamental(1, "BINANCE", "BTCUSDT", it.symbol.price_ticks, OUTLOOKS["BINANCE"])
    now = value.at(60_000 * 10 // 140)
    bid, _, ask, _ = it.best()
    assert abs((bid + ask) / 2 / now - 1) < 1e-3
    assert abs(now / it.symbol.price_ticks - 1) > 1e-4


def test_two_venues_follow_one_fundamental_a_little_apart():
    one, two = market(), market(venue="BINANCE_US")
    apart = []
    for events in range(200, 20_000, 200):
        live(one, events)
        live(two, events)
        mids = [sum(it.best()[::2]) / 2 for it in (one, two)]
        apart.append(mids[0] / mids[1] - 1)
    assert max(abs(gap) for gap in apart) < 2e-3
    assert np.std(apart) > 1e-6


def test_a_lag_shows_the_same_values_later():
    early = Fundamental(5, "A", "X", 1_000.0, Outlook())
    late = Fundamental(5, "B", "X", 1_000.0, Outlook(lag_s=0.7))
    path = [early.at(step) for step in range(3_000)]
    assert [late.at(step + 7) for step in range(3_000)] == path
    assert len(set(path)) > 2_900


def test_quotes_tell_their_place_among_the_trades_and_the_changes_rebuild_them():
    it = market()
    book: dict[tuple[int, int], int] = {}
    for side in (1, 2):
        book |= {(side, price): qty for price, qty in it.depth(side, 5_000)}
    for what in live(it, 3_000, chunk=50):
        changes = what.changes.tolist()
        for quote in what.quotes.tolist():
            update_id, bid, bid_qty, ask, ask_qty, _ = quote
            while changes and changes[0][0] <= update_id:
                _, price, qty, side = changes.pop(0)
                book[side, price] = qty
            bids = [(p, q) for (side, p), q in book.items() if side == 1 and q]
            asks = [(p, q) for (side, p), q in book.items() if side == 2 and q]
            assert (max(bids), min(asks)) == ((bid, bid_qty), (ask, ask_qty))
        for _, price, qty, side in changes:
            book[side, price] = qty
        assert what.quotes["fills"].tolist() == sorted(what.quotes["fills"].tolist())


def test_history_keeps_the_last_trades_by_id_and_no_others():
    it = market(kept=100)
    trades = trades_of(live(it, 2_000))
    assert trades["trade_id"].tolist() == list(range(1, len(trades) + 1))
    last = it.history.last_id
    assert it.history.oldest_id() == last - 99
    assert it.history.trades(last - 5, 3)["trade_id"].tolist() == [last - 5, last - 4, last - 3]
    assert it.history.trades(1, 10)["trade_id"][0] == last - 99
    assert it.history.trades(last + 1, 10).size == 0
    assert it.history.trades(last - 50, 20).tolist() == trades[last - 51 : last - 31].tolist()


@pytest.mark.parametrize("interval", list(INTERVALS_US))
def test_klines_equal_the_trades_folded_by_hand(interval: str):
    it = market()
    length = INTERVALS_US[interval]
    happened = live(it, 3_000, chunk=40, step_us=max(length // 7, 100_000))
    trades = trades_of(happened).tolist()
    now = bucket_us(interval, trades[-1][3])
    klines = it.history.klines(interval, 0, now)
    by_hand = {
        open_us: list(group)
        for open_us, group in groupby(trades, key=lambda row: bucket_us(interval, row[3]))
    }
    assert set(by_hand) <= {int(row[0]["open_us"]) for row in klines}
    assert len(klines) == (now - min(by_hand)) // length + 1 <= KLINES_KEPT
    for row in klines:
        kline = row[0]
        rows = by_hand.get(int(kline["open_us"]))
        if rows is None:
            assert kline["volume"] == 0 and kline["count"] == 0
            assert kline["open"] == kline["high"] == kline["low"] == kline["close"]
            continue
        prices = [row[1] for row in rows]
        taken = [row for row in rows if not row[5]]
        assert kline["open"] == prices[0] and kline["close"] == prices[-1]
        assert kline["high"] == max(prices) and kline["low"] == min(prices)
        assert kline["volume"] == sum(row[2] for row in rows)
        assert kline["quote_volume"] == sum(row[1] * row[2] for row in rows)
        assert kline["taker_volume"] == sum(row[2] for row in taken)
        assert kline["taker_quote_volume"] == sum(row[1] * row[2] for row in taken)
        assert (kline["first_id"], kline["last_id"]) == (rows[0][0], rows[-1][0])
        assert kline["count"] == len(rows)


def test_a_week_opens_on_monday():
    monday = 1_723_420_800_000_000  # 2024-08-12 00:00 UTC
    assert bucket_us("1w", monday) == monday
    assert bucket_us("1w", monday - 1) == monday - INTERVALS_US["1w"]


@pytest.mark.parametrize("name", [*CATALOGUE, "TIDEUSDT", "FOOBTC", "PEPEEUR", "1000SATSUSDT"])
def test_ticks_and_lots_divide_prices_and_have_eight_decimals(name: str):
    symbol = symbol_of(name)
    assert symbol.base + symbol.quote == name
    assert symbol == symbol_of(name)
    tick = Fraction(symbol.tick, 10**8)
    assert symbol.price_ticks > 100
    assert Fraction(str(symbol.price)) % tick == 0
    assert symbol.order_lots >= 2


@pytest.mark.parametrize("name", ["", "USDT", "BTC", "btcusdt", "BTC-USDT", "FOO", "ÄUSDT"])
def test_what_is_no_symbol_is_unreadable(name: str):
    with pytest.raises(Unreadable):
        symbol_of(name)


def test_rates_keep_their_mean_and_fall_by_rank():
    names = [f"S{i}" for i in range(300)]
    rates = rates_of(names, 66.0, 1.0)
    assert sum(rates.values()) == pytest.approx(66.0 * 300)
    assert rates["S0"] == pytest.approx(10 * rates["S9"])
    assert set(rates_of(names, 5.0, 0.0).values()) == {5.0}
