"""Binance USD-M's public REST endpoints (/fapi/v1/), of markets in memory.

After the USD-M documents' pages "Market Data Endpoints" as of 2026: paths, parameters, weights
(2,400 a minute). Beside what spot has: premiumIndex, openInterest, fundingInfo. historicalTrades
wants an API key in a header here (any will do).
"""

from collections.abc import Callable
from typing import Any, ClassVar

import orjson

from tidemill.deploy.exchange import binance_usdm_messages as messages
from tidemill.deploy.exchange.binance_rest import BinanceRest, Query, limited, requested_levels
from tidemill.deploy.exchange.contract import INTEREST, next_funding_us
from tidemill.deploy.exchange.market import Market, Status
from tidemill.deploy.exchange.numbers import fixed
from tidemill.deploy.exchange.protocol import Protocol

STATUSES = {
    Status.TRADING: "TRADING",
    Status.HALTED: "PENDING_TRADING",
    Status.DELISTED: "SETTLING",
}


class UsdmRest(BinanceRest):
    """USD-M's endpoints."""

    weights: ClassVar[dict[str, int]] = {"trades": 5, "historicalTrades": 20, "aggTrades": 20}

    def __init__(self, protocol: Protocol, clock_us: Callable[[], int]) -> None:
        super().__init__(protocol, clock_us)
        self.routes |= {
            "premiumIndex": self._premium_index,
            "openInterest": self._open_interest,
            "fundingInfo": self._funding_info,
        }

    def weight(self, name: str, query: Query) -> int:
        if name == "depth":
            count = requested_levels(query, 500)
            return 2 if count <= 50 else 5 if count <= 100 else 10 if count <= 500 else 20
        if name == "klines":
            count = requested_levels(query, 500)
            return 1 if count < 100 else 2 if count < 500 else 5 if count <= 1_000 else 10
        if name == "ticker/bookTicker":
            return 2 if "symbol" in query else 5
        if name == "premiumIndex":
            return 1 if "symbol" in query else 10
        return super().weight(name, query)

    def exchange_info(self, query: Query, unit_us: int) -> bytes:
        weight = {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1}
        assets = dict.fromkeys(market.symbol.quote for market in self.protocol.markets.values())
        return orjson.dumps(
            {
                "timezone": "UTC",
                "serverTime": self.clock_us() // unit_us,
                "futuresType": "U_MARGINED",
                "rateLimits": [{**weight, "limit": self.protocol.allowed.weight_max}],
                "exchangeFilters": [],
                "assets": [
                    {"asset": asset, "marginAvailable": True, "autoAssetExchange": "-10000"}
                    for asset in assets
                ],
                "symbols": [
                    messages.exchange_symbol(market.symbol, STATUSES[market.status])
                    for market in self.protocol.markets.values()
                ],
            }
        )

    def depth(self, query: Query, unit_us: int) -> bytes:
        market, limit = self.market(query), limited(query, 500, 1_000)
        book = self.protocol.snapshot(market, limit)
        market.record.name("depth", messages.book_id(book.update_id), book.update_id)
        return messages.depth_snapshot(market.symbol, book, self.clock_us()).encode()

    def book_ticker(self, market: Market, unit_us: int) -> dict[str, Any]:
        ours = super().book_ticker(market, unit_us)
        last_id = messages.book_id(market.update_id)
        return {**ours, "time": self.clock_us() // unit_us, "lastUpdateId": last_id}

    def last_price(self, market: Market, unit_us: int) -> dict[str, Any]:
        return {**super().last_price(market, unit_us), "time": self.clock_us() // unit_us}

    def _premium_index(self, query: Query, unit_us: int) -> bytes:
        now_us, answers = self.clock_us(), []
        for market in self.some(query):
            assert market.contract is not None
            values = market.contract.values
            answers.append(
                {
                    "symbol": market.symbol.raw,
                    "markPrice": fixed(values.mark, 8),
                    "indexPrice": fixed(values.index, 8),
                    "estimatedSettlePrice": fixed(values.index, 8),
                    "lastFundingRate": fixed(values.funding_rate, 8),
                    "interestRate": f"{INTEREST:.8f}",
                    "nextFundingTime": next_funding_us(now_us) // 1_000,
                    "time": now_us // 1_000,
                }
            )
        return orjson.dumps(answers[0] if "symbol" in query else answers)

    def _open_interest(self, query: Query, unit_us: int) -> bytes:
        market = self.market(query)
        assert market.contract is not None
        return orjson.dumps(
            {
                "openInterest": market.symbol.qty_text(market.contract.values.open_interest),
                "symbol": market.symbol.raw,
                "time": self.clock_us() // 1_000,
            }
        )

    def _funding_info(self, query: Query, unit_us: int) -> bytes:
        return orjson.dumps(
            [
                {
                    "symbol": name,
                    "adjustedFundingRateCap": "0.00750000",
                    "adjustedFundingRateFloor": "-0.00750000",
                    "fundingIntervalHours": 8,
                    "disclaimer": False,
                }
                for name in self.protocol.markets
            ]
        )
