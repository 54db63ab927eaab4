"""What came of a run, in numbers and lists: performance, trips, fills."""

from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

import numpy as np

from tidemill.processors.kernels.backtest.market import Market
from tidemill.processors.kernels.backtest.ran import Ran
from tidemill.processors.kernels.backtest.state import LIMIT, MARKET, STOP
from tidemill.processors.kernels.indicator import Values
from tidemill.processors.kernels.performance import (
    Performance,
    Trips,
    daily,
    gains_of,
    performance,
)

KINDS = {MARKET: "MARKET", LIMIT: "LIMIT", STOP: "STOP_MARKET"}


@dataclass(frozen=True)
class Outcome:
    """Numbers of one run. `final` and `fees` are exact, in the quote currency."""

    initial: Decimal
    final: Decimal
    fees: Decimal
    bars: int
    fills: int
    denied: int
    performance: Performance
    trips: Trips

    @classmethod
    def of(cls, ran: Ran, benchmark: Market | None = None) -> "Outcome":
        """Return the numbers of a run over at least one bar; `benchmark` (the first market without
        it) is what the information ratio compares with: bought at the first open and held."""
        account, points, equity = ran.account[0], ran.points, ran.equity
        first = min(int(one.bars.ts_open[0]) for one in ran.markets if len(one.bars.close))
        first = max(first, ran.start - 1)
        market = benchmark or ran.markets[0]
        measured = performance(
            points["ts"],
            equity,
            float(ran.rules.initial),
            first,
            ran.rules.risk_free,
            _held(market, points["ts"], first),
            int(account["held"]),
            float(ran.money(account, "turnover")),
        )
        return cls(
            ran.rules.initial,
            ran.final,
            ran.money(account, "fees"),
            sum(int(np.count_nonzero(one.bars.ts_close >= ran.start)) for one in ran.markets),
            len(ran.fills),
            int(account["denied"]),
            measured,
            Trips.of(gains_of(ran.trips, ran.exponent)),
        )

    def plain(self) -> dict[str, Any]:
        """Return it as JSON has it: exact numbers as text."""
        money = {name: f"{getattr(self, name):f}" for name in ("initial", "final", "fees")}
        counts = {name: getattr(self, name) for name in ("bars", "fills", "denied")}
        return {**money, **counts, **asdict(self.performance), **asdict(self.trips)}


def _held(market: Market, ts: Any, began: int) -> Values:
    """Return the daily returns, over `ts` (P,), of one who holds a market since `began` (ns)."""
    bars = market.bars
    prices = np.concatenate([bars.open[:1], bars.close]).astype(np.float64)
    at_points = prices[np.searchsorted(bars.ts_close, ts, side="right")]
    return daily(ts, at_points, float(prices[np.searchsorted(bars.ts_close, began, side="right")]))


def trips_of(ran: Ran) -> list[dict[str, Any]]:
    """Return every trip as JSON has it; prices are means of what was paid, gains exact."""
    return [_trip(ran, row) for row in ran.trips]


def _trip(ran: Ran, row: Any) -> dict[str, Any]:
    market = ran.markets[row["market"]]
    entry, exit_, fees = (ran.money(row, name) for name in ("entry", "exit", "fees"))
    quantity = Decimal(int(row["quantity"])).scaleb(market.quantity_exponent)
    side = int(row["side"])
    gain = (exit_ - entry) * side - fees
    return {
        "instrument": market.instrument,
        "side": "LONG" if side > 0 else "SHORT",
        "entry_ts": int(row["entry_ts"]),
        "exit_ts": int(row["exit_ts"]),
        "quantity": f"{quantity:f}",
        "entry_price": float(entry / quantity),
        "exit_price": float(exit_ / quantity),
        "fees": f"{fees:f}",
        "pnl": f"{gain:f}",
        "return": float(gain / entry),
    }


def fills_of(ran: Ran) -> list[dict[str, Any]]:
    """Return every fill as JSON has it (reference.md F-154)."""
    found = []
    for row in ran.fills:
        market = ran.markets[row["market"]]
        found.append(
            {
                "timestamp": int(row["ts"]),
                "instrument": market.instrument,
                "type": "BUY" if row["side"] > 0 else "SELL",
                "order": int(row["order"]),
                "order_type": KINDS[int(row["kind"])],
                "liquidity": "MAKER" if row["maker"] else "TAKER",
                "price": f"{Decimal(int(row['price'])).scaleb(market.price_exponent):f}",
                "quantity": f"{Decimal(int(row['quantity'])).scaleb(market.quantity_exponent):f}",
                "fee": f"{ran.money(row, 'fee'):f}",
            }
        )
    return found
