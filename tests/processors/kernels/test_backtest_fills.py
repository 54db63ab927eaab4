"""How orders fill: bars and trades by hand, and what holds for any orders whatever."""

from collections.abc import Callable
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.processors.kernels.backtest.market import Market
from tidemill.processors.kernels.backtest.ran import Ran
from tidemill.processors.kernels.backtest.rules import Rules
from tidemill.processors.kernels.backtest.simulation import Simulation
from tidemill.processors.kernels.backtest.strategy import Bar, Context, Fill, Strategy, Trade
from tidemill.tests.processors.kernels.markets import BTC, ETH, MINUTE, by_hand, trades_of, walk

FREE = Rules(Decimal(1_000_000), taker_ppm=0, maker_ppm=0, slippage_ppm=0)
Act = Callable[[Context], object]


class Scripted(Strategy):
    """Does what a script says after so many bars."""

    name = "scripted"
    inputs = ("bars", "fills")

    def __init__(self, script: dict[int, Act], on_fill: Act | None = None) -> None:
        super().__init__(short=True)
        self.script, self.answer = script, on_fill

    def on_start(self) -> None:
        self.bars, self.told = 0, list[Fill]()

    def on_bar(self, context: Context, bar: Bar) -> None:
        self.script.get(self.bars, lambda c: None)(context)
        self.bars += 1

    def on_fill(self, context: Context, fill: Fill) -> None:
        self.told.append(fill)
        if self.answer:
            self.answer(context)


def ran(
    rows: list[tuple[int, int, int, int]], script: dict[int, Act], rules: Rules = FREE
) -> list[tuple[int, int, int]]:
    """Return (record, side, price) of the fills over bars by hand."""
    found = run(by_hand(rows), Scripted(script), rules)
    return [(int(f["record"]), int(f["side"]), int(f["price"])) for f in found.fills]


def run(market: Market, strategy: Strategy, rules: Rules) -> Ran:
    rules = Rules(**{**vars(rules), "short": True})
    return Simulation([market], rules).run(strategy)


FLAT = (100, 110, 90, 105)


def test_a_market_order_fills_at_the_next_open() -> None:
    assert ran([FLAT, (103, 120, 80, 99)], {0: lambda c: c.buy(BTC, 1)}) == [(1, 1, 103)]


def test_at_the_close_when_the_rules_say_so() -> None:
    rules = Rules(**{**vars(FREE), "fill_at": "close"})
    assert ran([FLAT, FLAT], {0: lambda c: c.buy(BTC, 1)}, rules) == [(0, 1, 105)]


def test_slippage_is_a_whole_tick_against_the_order() -> None:
    rules = Rules(**{**vars(FREE), "slippage_ppm": 1_000})
    script: dict[int, Act] = {0: lambda c: c.buy(BTC, 1), 1: lambda c: c.close(BTC)}
    assert ran([FLAT] * 3, script, rules) == [(1, 1, 101), (2, -1, 99)]


@pytest.mark.parametrize(
    ("limit", "fill"),
    [(95, (1, 1, 95)), (101, (1, 1, 100)), (90, (1, 1, 90)), (89, None)],
    ids=["within the range", "beyond the open", "touched", "not reached"],
)
def test_a_limit_fills_at_its_price_or_a_better_open(
    limit: int, fill: tuple[int, int, int] | None
) -> None:
    found = ran([FLAT, FLAT], {0: lambda c: c.buy(BTC, 1, limit=limit)})
    assert found == ([fill] if fill else [])


def test_a_limit_that_is_only_touched_does_not_fill_when_it_must_be_traded_through() -> None:
    rules = Rules(**{**vars(FREE), "limits": "through"})
    assert ran([FLAT, FLAT], {0: lambda c: c.buy(BTC, 1, limit=90)}, rules) == []
    assert ran([FLAT, FLAT], {0: lambda c: c.buy(BTC, 1, limit=91)}, rules) == [(1, 1, 91)]


def test_a_limit_that_rested_fills_at_its_own_price_however_the_next_bar_opens() -> None:
    rows = [FLAT, FLAT, (80, 85, 75, 82)]
    assert ran(rows, {0: lambda c: c.buy(BTC, 1, limit=88)}) == [(2, 1, 88)]


def test_a_stop_fills_at_its_price_or_at_an_open_beyond_it() -> None:
    sold: dict[int, Act] = {0: lambda c: c.sell(BTC, 1, stop=95)}
    assert ran([FLAT, FLAT], sold) == [(1, -1, 95)]
    assert ran([FLAT, (92, 99, 91, 98)], sold) == [(1, -1, 92)]
    assert ran([FLAT, (100, 109, 96, 98)], sold) == []


def test_where_a_bar_reaches_both_the_stop_comes_before_the_taking_of_profit() -> None:
    script: dict[int, Act] = {0: lambda c: c.buy(BTC, 1, stop_loss=95, take_profit=108)}
    assert ran([FLAT, FLAT], script) == [(1, 1, 100), (1, -1, 95)]


def test_what_protects_a_position_ends_with_it() -> None:
    script: dict[int, Act] = {
        0: lambda c: c.buy(BTC, 1, stop_loss=50, take_profit=109),
        2: lambda c: c.buy(BTC, 1),
    }
    rows = [FLAT, FLAT, FLAT, FLAT, (40, 41, 39, 40)]
    assert ran(rows, script) == [(1, 1, 100), (1, -1, 109), (3, 1, 100)]


def test_profit_is_not_taken_within_the_bar_whose_range_opened_the_position() -> None:
    script: dict[int, Act] = {0: lambda c: c.buy(BTC, 1, limit=95, take_profit=108)}
    assert ran([FLAT, FLAT, FLAT], script) == [(1, 1, 95), (2, -1, 108)]


def test_nor_when_a_stop_opened_it() -> None:
    script: dict[int, Act] = {0: lambda c: c.buy(BTC, 1, stop=104, take_profit=108)}
    assert ran([FLAT, FLAT, FLAT], script) == [(1, 1, 104), (2, -1, 108)]


def test_a_stop_may_fill_within_the_bar_whose_range_opened_the_position() -> None:
    script: dict[int, Act] = {0: lambda c: c.buy(BTC, 1, limit=95, stop_loss=92)}
    assert ran([FLAT, FLAT], script) == [(1, 1, 95), (1, -1, 92)]


def test_such_a_stop_fills_at_its_price_though_the_bar_opened_beyond_it() -> None:
    script: dict[int, Act] = {0: lambda c: c.buy(BTC, 1, stop=108, stop_loss=104)}
    assert ran([FLAT, FLAT], script) == [(1, 1, 108), (1, -1, 104)]


def test_a_stop_that_is_beyond_the_price_when_it_is_placed_fills_at_the_price() -> None:
    strategy = Scripted({0: lambda c: c.buy(BTC, 1)}, lambda c: c.sell(BTC, 1, stop=104))
    found = run(by_hand([FLAT, FLAT]), strategy, FREE)
    assert found.fills["price"].tolist() == [100, 100]


def test_a_reversal_is_two_fills_and_two_trips() -> None:
    script: dict[int, Act] = {0: lambda c: c.buy(BTC, 1), 1: lambda c: c.sell(BTC, 3)}
    found = run(by_hand([FLAT] * 4), Scripted({**script, 2: lambda c: c.close(BTC)}), FREE)
    assert found.fills["quantity"].tolist() == [1_000, 1_000, 2_000, 2_000]
    assert found.trips["side"].tolist() == [1, -1]


def test_an_order_answered_to_a_fill_at_the_open_may_fill_in_the_same_bar() -> None:
    strategy = Scripted({0: lambda c: c.buy(BTC, 1)}, lambda c: c.sell(BTC, 1, stop=95))
    found = run(by_hand([FLAT, FLAT, (100, 101, 99, 100)]), strategy, FREE)
    assert [(int(f["record"]), int(f["price"])) for f in found.fills] == [(1, 100), (1, 95)]


def test_a_cancelled_order_does_not_fill_and_can_be_cancelled_once() -> None:
    told: list[bool] = []
    ids: list[int] = []
    script: dict[int, Act] = {
        0: lambda c: ids.append(c.buy(BTC, 1, limit=50)),
        1: lambda c: told.extend([c.cancel(ids[0]), c.cancel(ids[0])]),
    }
    assert ran([FLAT, FLAT, (50, 51, 40, 45)], script) == []
    assert told == [True, False]


def test_what_there_is_no_money_for_is_denied() -> None:
    found = run(by_hand([FLAT] * 2), Scripted({0: lambda c: c.buy(BTC, 10_001)}), FREE)
    assert (len(found.fills), found.account["denied"][0]) == (0, 1)
    found = run(by_hand([FLAT] * 2), Scripted({0: lambda c: c.buy(BTC, 10_000)}), FREE)
    assert found.money(found.account[0], "cash") == 0


def test_what_is_sold_short_takes_room_as_what_is_bought_does() -> None:
    script: dict[int, Act] = {0: lambda c: c.sell(BTC, 6_000), 1: lambda c: c.sell(BTC, 5_000)}
    found = run(by_hand([(100, 100, 100, 100)] * 4), Scripted(script), FREE)
    assert (len(found.fills), found.account["denied"][0]) == (1, 1)


def test_nothing_is_sold_short_where_the_rules_do_not_allow_it() -> None:
    strategy = Scripted({0: lambda c: c.sell(BTC, 1)})
    strategy.short = False
    found = Simulation([by_hand([FLAT] * 3)], FREE).run(strategy)
    assert (len(found.fills), found.account["denied"][0]) == (0, 1)


def test_makers_pay_their_own_fee_and_a_rebate_is_paid_out() -> None:
    rules = Rules(Decimal(1_000), taker_ppm=1_000, maker_ppm=-500, slippage_ppm=0)
    script: dict[int, Act] = {0: lambda c: c.buy(BTC, 1, limit=90), 1: lambda c: c.close(BTC)}
    found = run(by_hand([FLAT] * 3), Scripted(script), rules)
    assert [found.money(f, "fee") for f in found.fills] == [Decimal("-0.045"), Decimal("0.1")]
    assert found.final == Decimal("1000") + 10 + Decimal("0.045") - Decimal("0.1")


class Watching(Strategy):
    """Buys at a trade, and notes when its fill came."""

    name = "watching"
    inputs = ("trades", "fills")

    def on_start(self) -> None:
        self.trades, self.bought, self.filled = 0, 0, 0

    def on_trade(self, context: Context, trade: Trade) -> None:
        self.trades += 1
        if self.trades == 3:
            self.bought = trade.ts_event
            context.buy(trade.instrument, "0.01")

    def on_fill(self, context: Context, fill: Fill) -> None:
        self.filled = fill.ts


@pytest.mark.parametrize("latency", [0, 5_000_000_000])
def test_against_trades_an_order_fills_at_the_first_trade_after_its_latency(latency: int) -> None:
    market, strategy = trades_of(walk(1, 10), 1), Watching()
    run(market, strategy, Rules(**{**vars(FREE), "latency_ns": latency}))
    assert market.ts is not None and strategy.trades == len(market.ts)
    later = market.ts[3:][market.ts[3:] >= strategy.bought + latency]
    assert strategy.filled == later[0]


def test_bars_without_trades_or_books_refuse_a_strategy_that_asks_for_them() -> None:
    with pytest.raises(ValueError, match="asks for trades"):
        run(by_hand([FLAT]), Watching(), FREE)


def test_no_instrument_is_sized_by_another_s_price_of_later() -> None:
    """Both open at the same moment; the second closes far higher within that bar."""
    first = by_hand([(100, 100, 100, 100)] * 3)
    rows = [(100, 100, 100, 100), (100, 900, 100, 900), (900, 900, 900, 900)]
    script: dict[int, Act] = {0: lambda c: (c.target(BTC, 1.0), c.target(ETH, 1.0))}
    rules = Rules(Decimal(1_000), 0, 0, 0)
    strategy = Scripted(script)
    strategy.short = False
    found = Simulation([first, by_hand(rows, ETH)], rules).run(strategy)
    assert found.fills["quantity"].tolist() == [5_000, 5_000]
    assert found.points["ts"].tolist() == [MINUTE, 2 * MINUTE, 3 * MINUTE]
    assert found.equity.tolist() == [1_000, 5_000, 5_000]


def test_instruments_of_other_exponents_share_one_account() -> None:
    markets = [walk(3, 400, BTC, 2), walk(4, 400, ETH, 4)]
    strategy = Random(7, [BTC, ETH])
    rules = Rules(short=True)
    check(Simulation(markets, rules).run(strategy), rules)


class Random(Strategy):
    """Places, cancels and closes whatever a seed says."""

    name = "random"

    def __init__(self, seed: int, instruments: list[str]) -> None:
        super().__init__(short=True)
        self.seed, self.instruments = seed, instruments

    def on_start(self) -> None:
        self.random = np.random.default_rng(self.seed)
        self.orders: list[int] = []

    def on_bar(self, context: Context, bar: Bar) -> None:
        what, name = self.random.integers(0, 8), bar.instrument
        near = bar.close * float(1 + self.random.normal(0, 3e-3))
        amount = f"{self.random.integers(1, 9) / 100}"
        order = context.buy if self.random.integers(0, 2) else context.sell
        if what == 0:
            self.orders.append(order(name, amount))
        elif what == 1:
            self.orders.append(order(name, amount, limit=near, stop_loss=near * 0.99))
        elif what == 2:
            self.orders.append(order(name, amount, stop=near))
        elif what == 3:
            context.target(name, float(self.random.integers(-4, 5)) / 4)
        elif what == 4 and self.orders:
            context.cancel(self.orders.pop())
        elif what == 5:
            context.close(name)


def check(ran: Ran, rules: Rules) -> None:
    """Hold an account to its fills, and to what no account may do."""
    cash, fees, held = rules.initial, Decimal(0), [Decimal(0)] * len(ran.markets)
    for fill in ran.fills:
        j, market = int(fill["market"]), ran.markets[fill["market"]]
        quantity = Decimal(int(fill["quantity"])).scaleb(market.quantity_exponent)
        price = Decimal(int(fill["price"])).scaleb(market.price_exponent)
        fee = ran.money(fill, "fee")
        assert quantity > 0 and fee == quantity * price * rules.taker_ppm / 10**6
        cash -= int(fill["side"]) * quantity * price + fee
        held[j] += int(fill["side"]) * quantity
        fees += fee
        if market.ts is None:
            k = int(fill["record"])
            k -= sum(len(one.bars.close) for one in ran.markets[:j])
            slip = market.bars.high[k] * rules.slippage_ppm // 10**6 + 1
            low, high = market.bars.low[k] - slip, market.bars.high[k] + slip
            assert low <= fill["price"] <= high or fill["bracket"]
        assert rules.short or held[j] >= 0
    account = ran.account[0]
    assert ran.money(account, "cash") == cash and ran.money(account, "fees") == fees
    worth = sum(
        quantity * Decimal(int(market.bars.close[-1])).scaleb(market.price_exponent)
        for quantity, market in zip(held, ran.markets, strict=True)
    )
    assert ran.final == cash + worth == cash + ran.money(account, "value")
    assert (np.diff(ran.fills["ts"]) >= 0).all() and (np.diff(ran.points["ts"]) > 0).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.booleans(), st.sampled_from([0, 10_000_000_000]))
def test_the_account_is_the_sum_of_its_fills(seed: int, short: bool, latency: int) -> None:
    rules = Rules(short=short, latency_ns=latency, stop_ppm=4_000, take_ppm=6_000)
    strategy = Random(seed, [BTC])
    strategy.short = short
    check(Simulation([walk(seed, 300)], rules).run(strategy), rules)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000))
def test_a_run_is_the_same_whenever_it_is_run_and_however_often_it_is_left(seed: int) -> None:
    rules = Rules(short=True, stop_ppm=4_000)
    market = trades_of(walk(seed, 60), seed)

    class AtEveryTrade(Random):
        inputs = ("bars", "trades", "fills")

    first = Simulation([market], rules).run(Random(seed, [BTC]))
    second = Simulation([market], rules).run(AtEveryTrade(seed, [BTC]))
    assert first.fills.tolist() == second.fills.tolist()
    assert first.points.tolist() == second.points.tolist()
    check(first, rules)


def test_fills_and_trips_may_outgrow_the_room_that_there_was_at_first() -> None:
    market = by_hand([FLAT] * 12_000)
    script: dict[int, Act] = {
        k: (lambda c: c.buy(BTC, 1)) if k % 2 else (lambda c: c.close(BTC)) for k in range(12_000)
    }
    found = run(market, Scripted(script), FREE)
    assert (len(found.fills), len(found.trips)) == (11_998, 5_999)


def test_money_that_leaves_128_bits_is_an_error_not_a_number() -> None:
    market = by_hand([(10**11, 10**11, 10**11, 10**11)] * 3)
    with pytest.raises(ValueError, match="exponents"):
        Simulation([Market(BTC, 0, -3, market.bars, lot=10**9)], FREE)
