"""Accounts and markets as arrays: what kernels work on."""

from collections.abc import Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

import numpy as np
from numpy.typing import NDArray

from tidemill.processors.kernels.backtest.fills import Books
from tidemill.processors.kernels.backtest.market import Ints, Market
from tidemill.processors.kernels.backtest.rules import Rules
from tidemill.processors.kernels.backtest.state import (
    ACCOUNT,
    FILL,
    FILLS_A_MOMENT,
    FIXED,
    FRACTION,
    INT64_MAX,
    ORDER,
    ORDERS_MAX,
    POSITION,
    SETTINGS,
    TRIP,
)
from tidemill.processors.kernels.backtest.strategy import Number
from tidemill.processors.kernels.backtest.walk import Series
from tidemill.schemas.exact import from_int

FACTOR_DIGITS_MAX = 9
FEE_DIGITS = 6
"""Digits of money past a price times a quantity, so that fees in millionths have no remainder."""
FILLS_FIRST = 4_096
"""Room for fills to begin with; it doubles."""
PPM_ROOM = 10_000_000
"""Prices times so much fit int64: slippage and distances of stops."""
Rows = NDArray[np.void]


def books_of(markets: Sequence[Market], rules: Rules, finest: int) -> Books:
    """Return an account that has done nothing yet; `finest`, of exponents of price and quantity
    together. Raises ValueError for markets whose money does not fit 128 bits."""
    account = np.zeros(1, ACCOUNT)
    initial = rules.initial.scaleb(FEE_DIGITS - finest)
    account["cash_hi"], account["cash_lo"] = from_int(int(initial))
    room = max(FILLS_FIRST, 2 * len(markets) * FILLS_A_MOMENT)
    return (
        _settings(rules, len(markets), bars=markets[0].ts is None),
        account,
        _positions(markets, rules, finest),
        np.zeros((len(markets), ORDERS_MAX), ORDER),
        np.zeros(room, FILL),
        np.zeros(room, TRIP),
    )


def grown(books: Books) -> Books:
    """Return the account with room for the fills of a moment more."""
    fills, trips = books[4:]
    if int(books[1]["fills"][0]) + len(books[2]) * FILLS_A_MOMENT <= len(fills):
        return books
    fills = np.concatenate([fills, np.zeros(len(fills), FILL)])
    trips = np.concatenate([trips, np.zeros(len(trips), TRIP)])
    return (books[0], books[1], books[2], books[3], fills, trips)


def _settings(rules: Rules, instruments: int, bars: bool) -> Rows:
    row = np.zeros(1, SETTINGS)
    for name in ("taker_ppm", "maker_ppm", "slippage_ppm", "latency_ns", "stop_ppm", "take_ppm"):
        row[name] = getattr(rules, name)
    row["fraction_ppm"] = rules.fraction_ppm // instruments
    row["sizing"] = FRACTION if rules.quantity is None else FIXED
    row["short"], row["bars"] = rules.short, bars
    row["through"], row["at_close"] = rules.limits == "through", rules.fill_at == "close"
    return row


# What is simulated.


def _positions(markets: Sequence[Market], rules: Rules, finest: int) -> Rows:
    rows = np.zeros(len(markets), POSITION)
    record = bar = 0
    for row, one in zip(rows, markets, strict=True):
        digits = one.price_exponent + one.quantity_exponent - finest
        highest = int(one.bars.high.max(initial=1))
        if digits > FACTOR_DIGITS_MAX or highest * max(PPM_ROOM, one.lot) > INT64_MAX:
            raise ValueError(f"{one.instrument}: exponents are too far apart, or too fine")
        row["factor"], row["lot"] = 10**digits, one.lot
        if rules.quantity is not None:
            row["fixed"] = quantity_of(one, rules.quantity)
        row["record"], row["bar"] = record, bar
        record += len(one.bars.close) if one.ts is None else len(one.ts)
        bar += len(one.bars.close)
        row["record_end"], row["bar_end"] = record, bar
    return rows


def series_of(markets: Sequence[Market], targets: Ints) -> Series:
    """Return records and bars of all markets, one after the other, with targets (B,) or none."""
    bars = [one.bars for one in markets]
    close_ts = _joined([one.ts_close for one in bars])
    if markets[0].ts is None:
        ends = np.arange(1, len(close_ts) + 1)
        return Series(
            _joined([one.ts_open for one in bars]),
            _joined([one.open for one in bars]),
            _joined([one.high for one in bars]),
            _joined([one.low for one in bars]),
            _joined([one.close for one in bars]),
            ends,
            close_ts,
            targets,
        )
    counts = [0, *(len(_there(one.ts)) for one in markets)]
    starts = np.cumsum(counts)[:-1].tolist()
    shifted = [_there(one.ends) + at for one, at in zip(markets, starts, strict=True)]
    price = _joined([_there(one.price) for one in markets])
    ts = _joined([_there(one.ts) for one in markets])
    return Series(ts, price, price, price, price, _joined(shifted), close_ts, targets)


def quantity_of(one: Market, quantity: Number) -> int:
    """Return a quantity's mantissa, rounded down to whole lots. Raises ValueError for none."""
    found = int(Decimal(str(quantity)).scaleb(-one.quantity_exponent)) // one.lot * one.lot
    if not 0 < found <= INT64_MAX:
        raise ValueError(f"{one.instrument}: {quantity} is no quantity of it")
    return found


def price_of(one: Market, price: Number, up: bool) -> int:
    """Return a price's mantissa, rounded up or down to a tick. Raises ValueError for none."""
    rounding = ROUND_CEILING if up else ROUND_FLOOR
    scaled = Decimal(str(price)).scaleb(-one.price_exponent)
    found = int(scaled.to_integral_value(rounding))
    if not 0 < found <= INT64_MAX // PPM_ROOM:
        raise ValueError(f"{one.instrument}: {price} is no price of it")
    return found


def _joined(parts: list[Ints]) -> Ints:
    return np.require(parts[0] if len(parts) == 1 else np.concatenate(parts), np.int64, ["C", "W"])


def _there(column: Ints | None) -> Ints:
    if column is None:
        raise ValueError("this market has no trades")
    return column
