"""A replay says exactly what its files say: every trade and quote, and bars that add up."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import pytest

from tidemill.schemas.enums import BarFlag
from tidemill.tests.flow.conftest import Replayed
from tidemill.tests.flow.outcomes import rows_of
from tidemill.tests.flow.sources import Source

MIDNIGHT = 1_723_161_600_000_000_000
SECOND = 1_000_000_000
INTERVALS_S = (1, 60, 300, 900, 3_600, 14_400, 86_400)
SCALE = 10**18

Row = dict[str, Any]


def by_instrument(rows: Iterable[Row]) -> dict[tuple[str, str], list[Row]]:
    found = defaultdict(list)
    for row in rows:
        found[row["venue"], row["symbol"]].append(row)
    return found


def unplaced(row: Row) -> Row:
    return {name: value for name, value in row.items() if name not in ("_r", "_i", "_n")}


def once(trades: Iterable[Row]) -> list[Row]:
    """Each trade as it came first, by id."""
    first: dict[int, Row] = {}
    for trade in trades:
        first.setdefault(trade["trade_id"], trade)
    return [first[trade_id] for trade_id in sorted(first)]


async def test_every_trade_and_quote_of_the_files_and_no_other_in_every_field(
    played: Source, replayed: Replayed
) -> None:
    expected = played.told
    trades = by_instrument(await rows_of("trades", replayed.log, replayed.out))
    quotes = by_instrument(await rows_of("quotes", replayed.log, replayed.out))
    assert set(trades) == set(quotes) == set(expected)
    for instrument, (of_trades, of_quotes) in expected.items():
        assert [unplaced(row) for row in trades[instrument]] == once(of_trades)
        assert [unplaced(row) for row in quotes[instrument]] == of_quotes
        assert len(of_trades) > 100 and len(of_quotes) > 100
    if played.exact:
        assert len(once(t for one in expected.values() for t in one.trades)) == 19_904
        assert sum(len(one.quotes) for one in expected.values()) == 73_174


def bar_of(trades: list[Row]) -> Row:
    """The values of a bar from its trades, Python integers at 18 places; trades are by id."""
    prices = [trade["price"] for trade in trades]
    products = [trade["price"] * trade["quantity"] for trade in trades]
    assert not any(product % SCALE for product in products)
    return {
        "open": prices[0],
        "high": max(prices),
        "low": min(prices),
        "close": prices[-1],
        "volume": sum(trade["quantity"] for trade in trades),
        "quote_volume": sum(products) // SCALE,
        "taker_buy_volume": sum(t["quantity"] for t in trades if t["aggressor_side"] == 1),
        "trade_count": len(trades),
        "first_trade_id": trades[0]["trade_id"],
        "last_trade_id": trades[-1]["trade_id"],
    }


def bars_of(trades: list[Row]) -> dict[tuple[int, int], Row]:
    """(interval, open time) to the values of its bar."""
    inside: dict[tuple[int, int], list[Row]] = defaultdict(list)
    for trade in once(trades):
        for seconds in INTERVALS_S:
            length = seconds * SECOND
            inside[seconds, trade["ts_event"] // length * length].append(trade)
    return {key: bar_of(found) for key, found in inside.items()}


async def test_bars_equal_an_independent_computation_to_the_last_digit(
    played: Source, replayed: Replayed
) -> None:
    made = by_instrument(await rows_of("bars", replayed.log, replayed.out))
    for instrument, (trades, _) in played.told.items():
        expected = bars_of(trades)
        newest = {(bar["interval_s"], bar["ts_open"]): bar for bar in made[instrument]}
        assert {
            key: {name: bar[name] for name in expected[key]} for key, bar in newest.items()
        } == {key: expected[key] for key in newest}
        # nothing is invented after the files: of each interval the last bar is still open, or more
        # where the venue's time did not go on
        missing = expected.keys() - newest.keys()
        last = max(trade["ts_event"] for trade in trades)
        assert {key for key in missing if key[1] + (key[0] + 3) * SECOND <= last} == set()
        assert len(newest) > 20
        if played.exact:
            began = trades[0]["ts_event"]
            assert len(made[instrument]) == len(newest) == len(expected) - len(missing)
            assert len(missing) <= len(INTERVALS_S)
            for (_, ts_open), bar in newest.items():
                assert bar["flags"] == (BarFlag.PARTIAL if ts_open <= began else 0)


async def test_all_seven_intervals_close_at_midnight_at_one_record(
    played: Source, replayed: Replayed
) -> None:
    trades = await rows_of("trades", replayed.log, replayed.out)
    places = {(row["_r"], row["_i"]): row for row in trades}
    for instrument, bars in by_instrument(
        await rows_of("bars", replayed.log, replayed.out)
    ).items():
        first = [
            bar
            for bar in bars
            if bar["ts_open"] + bar["interval_s"] * SECOND == MIDNIGHT and bar["revision"] == 0
        ]
        expected = {s for s, ts in bars_of(played.told[instrument].trades)
                    if ts + s * SECOND == MIDNIGHT}  # fmt: skip
        assert {bar["interval_s"] for bar in first} == expected >= set(INTERVALS_S[1:])
        assert len({(bar["_r"], bar["_i"]) for bar in first}) == 1
        if played.exact:
            assert expected == set(INTERVALS_S)
            at = first[0]["_r"], first[0]["_i"]
            of_new_day = [p for p, row in places.items() if row["ts_event"] >= MIDNIGHT]
            assert at == min(of_new_day)


@pytest.mark.parametrize("played", ["exchanged"], indirect=True)
async def test_the_simulated_captures_have_the_faults_that_make_order_matter(
    replayed: Replayed,
) -> None:
    log, out, made = replayed
    bars, prices = await rows_of("bars", log, out), await rows_of("prices", log, out)
    assert any(bar["revision"] > 0 for bar in bars)
    flags = {flag for bar in bars for flag in BarFlag if bar["flags"] & flag}
    assert flags >= {BarFlag.GAP, BarFlag.PARTIAL}
    assert {price["best_bid_venue"] for price in prices} >= {"BINANCE", "BINANCE_US"}
    assert {price["pair"] for price in prices} == {"BTC/USDT", "ETH/USDT", "SOL/USDT"}
    kinds = {message.subject.split(".")[0] for message in await out.lasts(">")}
    assert kinds >= {"bars", "prices", "feeds", "ckpt"}
    assert min(made[name].rows for name in ("trades", "quotes", "bars", "prices")) > 100
