"""Binance USD-M futures: perpetual contracts, on the sockets of 2026.

After the USD-M documents: "Important WebSocket Change Notice" (2026-03-06; the old paths were
retired on 2026-04-23) and the pages of each stream. `/public/ws`, `/public/stream` carry what is
frequent (bookTicker, trade, depth), `/market/ws`, `/market/stream` the rest (aggTrade, kline,
markPrice, forceOrder, contractInfo). A stream on the other path is accepted and stays silent, as
users report of the real one. A ping every three minutes and ten minutes for the pong; 10 incoming
messages a second; 1,024 streams and 24 hours a connection; weight 2,400 a minute. Not here: dated
contracts, partial depth, tickers, `@depth@0ms`, the WebSocket API, insurance fund and ADL trades.

Of liquidations, the last of each second is sent (`@forceOrder`, `!forceOrder@arr`), as documented.
"""

from typing import ClassVar

from tidemill.deploy.exchange import binance_usdm_messages as messages
from tidemill.deploy.exchange.binance import Binance, used
from tidemill.deploy.exchange.binance_rest import BadRequest
from tidemill.deploy.exchange.binance_streams import Publisher
from tidemill.deploy.exchange.binance_usdm_rest import STATUSES, UsdmRest
from tidemill.deploy.exchange.faults import Topic
from tidemill.deploy.exchange.limits import Limits, Verdict
from tidemill.deploy.exchange.market import Happened, Liquidation, Market
from tidemill.deploy.exchange.protocol import Answer, Floor, Request
from tidemill.deploy.exchange.symbols import Symbol, listed, symbol_of

SPEEDS_US = {"depth@100ms": 100_000, "depth": 250_000, "depth@500ms": 500_000}
ROUTES = ("public", "market")
PUBLIC = ("trade", "bookTicker", "depth")


def route(stream: str) -> str:
    """The path that carries a stream."""
    name = stream.partition("@")[2]
    return "public" if name.startswith(PUBLIC) else "market"


class UsdmPublisher(Publisher):
    """The streams of one contract: spot's, and mark price and liquidations."""

    def __init__(self, protocol: "BinanceUsdm", market: Market) -> None:
        super().__init__(market, protocol.hub, messages, SPEEDS_US, route)
        self._contract = market
        self._last: Liquidation | None = None

    def happened(self, what: Happened) -> None:
        super().happened(what)
        if what.liquidations:
            self._last = what.liquidations[-1]

    def beat(self, period_us: int, now_us: int) -> None:
        super().beat(period_us, now_us)
        if period_us == 1_000_000:
            self._mark_price(now_us)
            self._force_order(now_us)

    def sent_depth(self, last_id: int) -> None:
        self._contract.record.name("depth", messages.book_id(last_id), last_id)

    def _mark_price(self, now_us: int) -> None:
        contract, symbol = self._contract.contract, self._contract.symbol
        assert contract is not None
        text = messages.mark_price(symbol, contract.values, now_us)
        self.send_text(self.stream("markPrice@1s", "derivative"), text)
        if now_us // 1_000_000 % 3 == 0:
            self.send_text(self.stream("markPrice", "derivative"), text)

    def _force_order(self, now_us: int) -> None:
        order, self._last = self._last, None
        if order is not None:
            text = messages.force_order(self._contract.symbol, order, now_us)
            topic = self.stream("forceOrder", "liquidation")
            for each in (topic, topic._replace(name="!forceOrder@arr")):
                self.send_text(each, text)


class BinanceUsdm(Binance):
    """Binance USD-M futures."""

    products = ("USDM",)
    beats_us = (100_000, 250_000, 500_000, 1_000_000)
    limits: ClassVar[Limits] = Limits(
        weight_max=2_400, incoming_max=10, ping_interval_s=180.0, pong_timeout_s=600.0
    )
    api = "/fapi/v1/"

    def __init__(self, floor: Floor) -> None:
        super().__init__(floor)
        self._rest = UsdmRest(self, floor.now_us)

    def symbol(self, name: str, product: str) -> Symbol:
        ours = symbol_of(name)
        return listed(ours, product, name, qty_places=min(3, ours.qty_places))

    def publisher(self, market: Market) -> Publisher:
        return UsdmPublisher(self, market)

    def opened(self, market: Market) -> None:
        super().opened(market)
        self._contract_info(market)

    def changed(self, market: Market) -> None:
        self._contract_info(market)
        super().changed(market)

    def _contract_info(self, market: Market) -> None:
        symbol = market.symbol
        topic = Topic("!contractInfo", "instrument", "USDM", symbol.name, symbol.raw)
        text = messages.contract_info(symbol, STATUSES[market.status], self.floor.now_us())
        self.publishers[market].send_text(topic, text)

    def route(self, stream: str) -> str:
        return route(stream)

    def routed(self, path: str) -> tuple[str, str]:
        for name in ROUTES:
            if path.startswith(f"/{name}/"):
                return name, path.removeprefix(f"/{name}")
        return "", ""

    def serves_rest(self, path: str) -> bool:
        return path.startswith(self.api) and self._rest.known(path.removeprefix(self.api))

    def weight(self, request: Request) -> int:
        return self._rest.weight(request.path.removeprefix(self.api), request.fields)

    def rest(self, request: Request, verdict: Verdict) -> Answer:
        name = request.path.removeprefix(self.api)
        if name == "historicalTrades" and not request.headers.get("X-MBX-APIKEY"):
            body = {"code": -2014, "msg": "API-key format invalid."}
            return Answer(body, 401, used(verdict))
        try:
            return Answer(self._rest.answer(name, request.fields, 1_000), 200, used(verdict))
        except BadRequest as bad:
            return Answer(bad.body, 400, used(verdict))
