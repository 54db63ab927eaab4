"""Bars and prices of real trades: Binance spot BTCUSDT over a UTC midnight, against Decimals."""

import gzip
import json
import os
from collections import defaultdict
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tidemill.processors.activity_bars import ACTIVITY_BARS
from tidemill.processors.bars import BARS
from tidemill.processors.price import PRICE
from tidemill.schemas.enums import AggressorSide, BarAggregation, BarFlag
from tidemill.schemas.events.activity_bars import ActivityBarsDefined
from tidemill.schemas.exact import to_int
from tidemill.tests.processors import oracle_activity_bars
from tidemill.tests.processors.runs import DAY, MIDNIGHT, SECOND, Log, drive, instruments, of_kind

DATA = Path(os.environ.get("TIDEMILL_DATA", Path(__file__).parents[3] / "shared" / "data"))
FILES = [
    DATA / "binance_captures_hftbacktest" / "spot" / f"btcusdt_{day}.gz"
    for day in ("20240808", "20240809")
]
FRAME_TRADES = 37
NAMES = tuple(one.name for one in BarAggregation)

pytestmark = pytest.mark.skipif(
    not all(file.exists() for file in FILES),
    reason=f"{FILES[0]} and its second half are not there; set TIDEMILL_DATA to the folder of data",
)
Trade = dict[str, Any]


@cache
def capture() -> list[Trade]:
    """Every trade as the venue wrote it, with `recv` (ns)."""
    trades = []
    for file in FILES:
        with gzip.open(file, "rt") as lines:
            for line in lines:
                recv, text = line.split(" ", 1)
                data = json.loads(text).get("data", {})
                if data.get("e") == "trade":
                    trades.append({**data, "recv": int(recv)})
    return trades


def logged(*, times: bool) -> Log:
    log = Log(instruments({}))
    trades = capture()
    for at in range(0, len(trades), FRAME_TRADES):
        part = trades[at : at + FRAME_TRADES]
        log.trades(0, *map(_row, part))
        if times:
            log.time(part[-1]["recv"])
    return log


def _row(trade: Trade) -> tuple[int, ...]:
    side = AggressorSide.SELLER if trade["m"] else AggressorSide.BUYER
    price, quantity = (int(Decimal(trade[name]).scaleb(8)) for name in ("p", "q"))
    return trade["t"], trade["T"] * 10**6, price, quantity, side, trade["recv"]


def value(record: dict[str, Any], name: str, exponent: int) -> Decimal:
    mantissa = (
        record[name] if name in record else to_int(record[f"{name}_hi"], record[f"{name}_lo"])
    )
    return Decimal(mantissa).scaleb(exponent)


def test_the_captures_are_what_the_readme_says() -> None:
    ids = [trade["t"] for trade in capture()]
    assert len(ids) == 19_904
    assert ids == list(range(ids[0], ids[0] + len(ids)))


def test_bars_of_real_trades_equal_sums_of_decimals_to_the_last_digit() -> None:
    log = logged(times=False)
    log.status(MIDNIGHT + 2 * DAY)
    made = of_kind(drive(BARS, log)[1], "bar")
    expected: dict[tuple[int, int], list[Trade]] = defaultdict(list)
    for trade in capture():
        for seconds in (1, 60, 300, 900, 3_600, 14_400, 86_400):
            expected[seconds, trade["T"] // 1_000 // seconds * seconds * SECOND].append(trade)
    assert len(made) == len(expected) > 600
    for bar in made:
        trades = expected[bar["interval_s"], bar["ts_open"]]
        prices = [Decimal(trade["p"]) for trade in trades]
        assert [value(bar, name, -8) for name in ("open", "high", "low", "close")] == [
            prices[0], max(prices), min(prices), prices[-1],
        ]  # fmt: skip
        assert value(bar, "volume", -8) == sum(Decimal(t["q"]) for t in trades)
        assert value(bar, "quote_volume", -16) == sum(
            Decimal(t["p"]) * Decimal(t["q"]) for t in trades
        )
        bought = sum((Decimal(t["q"]) for t in trades if not t["m"]), Decimal(0))
        assert value(bar, "taker_buy_volume", -8) == bought
        assert (bar["trade_count"], bar["revision"]) == (len(trades), 0)
        assert (bar["first_trade_id"], bar["last_trade_id"]) == (trades[0]["t"], trades[-1]["t"])


def test_every_bar_closes_at_utc_midnight_at_the_first_trade_of_the_new_day() -> None:
    log = logged(times=False)
    trades = capture()
    first = next(k for k, trade in enumerate(trades) if trade["T"] * 10**6 >= MIDNIGHT)
    r, i = divmod(first, FRAME_TRADES)
    closed = [
        bar["interval_s"]
        for bar in of_kind(drive(BARS, log)[1], "bar")
        if (bar["at_r"], bar["at_i"]) == (r + 1, i)
    ]
    assert closed == [1, 60, 300, 900, 3_600, 14_400, 86_400]


def test_only_the_bars_that_the_recording_began_in_are_partial() -> None:
    log = logged(times=False)
    log.status(MIDNIGHT + 2 * DAY)
    began = capture()[0]["T"] * 10**6
    for bar in of_kind(drive(BARS, log)[1], "bar"):
        assert bar["flags"] == (BarFlag.PARTIAL if bar["ts_open"] <= began else 0)


def test_activity_bars_of_real_trades_are_the_oracles_and_hold_every_trade_once() -> None:
    log = logged(times=False)
    every = ActivityBarsDefined(name="all", instruments=("*",), bars=NAMES)
    outputs = drive(ACTIVITY_BARS, log, settings=lambda r: (every,))[1]
    emitted, refused = oracle_activity_bars.bars(log)
    assert [(slot, k, bar) for _, _, slot, k, bar in outputs] == emitted
    assert refused == []
    trades = capture()
    for k, spec in enumerate(ACTIVITY_BARS.specs):
        made = [bar for _, _, _, which, bar in outputs if which == k]
        assert len(made) >= 8, spec
        assert [bar["sequence"] for bar in made] == list(range(len(made)))
        ended = sum(bar["trade_count"] for bar in made)
        assert made[-1]["last_trade_id"] == trades[ended - 1]["t"]
        volume = sum(value(bar, "volume", -8) for bar in made)
        assert volume == sum(Decimal(trade["q"]) for trade in trades[:ended])


def test_the_price_of_real_trades_is_the_weighted_mean_of_what_was_seen() -> None:
    made = of_kind(drive(PRICE, logged(times=True))[1], "price")
    assert len(made) > 300
    for price in made:
        seen = [trade for trade in capture() if trade["recv"] <= price["ts"]]
        assert value(price, "volume", -8) == sum(Decimal(t["q"]) for t in seen)
        assert value(price, "last_price_sum", -10) == Decimal(seen[-1]["p"])
        assert value(price, "quote_volume", -18) == sum(
            Decimal(t["p"]) * Decimal(t["q"]) for t in seen
        )
        if price["ts"] - made[0]["ts"] > 60 * SECOND:
            break
    last = made[-1]
    whole = sum(Decimal(t["p"]) * Decimal(t["q"]) for t in capture() if t["recv"] <= last["ts"])
    assert value(last, "quote_volume", -18) == whole
