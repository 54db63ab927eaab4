"""What tests ask of an exchange over HTTP, beside its protocols.

    GET  /sim/state                      how far each market is, and which faults happened
    POST /sim/faults?kind=drop&symbol=BTCUSDT&channel=trade&rate=0.01      faults.py
    GET  /sim/trades?symbol=BTCUSDT&product=USDM&from_id=1&limit=1000
    GET  /sim/book?symbol=BTCUSDT&product=USDM&update_id=4711[&channel=orderbook.50]

The last two are the exchange's own record, not what it sent: trades as [id, price, quantity, time
in us, buyer is maker], books as {update_id, bids, asks} of [price, quantity], numbers as decimal
text.
With `channel`, `update_id` is the number that this channel's message carried. A book that is not
kept any more is 404.
"""

from typing import Any

from tidemill.deploy.exchange.exchange import Exchange
from tidemill.deploy.exchange.faults import MARKET_KINDS, MESSAGE_KINDS
from tidemill.deploy.exchange.market import Market, Status
from tidemill.deploy.exchange.numbers import plain
from tidemill.deploy.exchange.protocol import Answer, Request
from tidemill.deploy.exchange.sessions import now_s
from tidemill.schemas.errors import Unreadable

STATUSES = {"halt": Status.HALTED, "resume": Status.TRADING, "delist": Status.DELISTED}


class Control:
    """The paths under /sim/ of one exchange."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def answer(self, request: Request) -> Answer:
        """Answer a request; what cannot be done is 400."""
        asked = request.fields
        try:
            match request.method, request.path:
                case "GET", "/sim/state":
                    return Answer(self.state())
                case "POST", "/sim/faults":
                    self._fault(asked)
                    return Answer(self.state())
                case "GET", "/sim/trades":
                    return Answer(self._trades(asked))
                case "GET", "/sim/book":
                    return self._book(asked)
        except (ValueError, Unreadable) as error:
            return Answer({"error": str(error)}, 400)
        return Answer({"error": "no such control"}, 404)

    def state(self) -> dict[str, Any]:
        """What a test needs to know."""
        faults = self._exchange.faults
        markets = [
            {
                "product": product,
                "symbol": name,
                "raw": market.symbol.raw,
                "status": market.status,
                "events": market.events,
                "steps": market.steps,
                "trades": market.history.last_id,
                "update_id": market.update_id,
            }
            for (product, name), market in self._exchange.markets.items()
        ]
        return {
            "venue": self._exchange.venue,
            "sessions": sum(1 for _ in self._exchange.sessions),
            "markets": markets,
            "faults": {
                "armed": [vars(rule) for rule in (*faults.messages, *faults.requests)],
                "done": dict(faults.done),
            },
        }

    def _fault(self, asked: dict[str, str]) -> None:
        kind, symbol, product = (asked.get(name, "") for name in ("kind", "symbol", "product"))
        if kind == "list":
            self._exchange.open(product or self._exchange.protocols[0].products[0], symbol)
        elif kind in STATUSES:
            market = self._exchange.market(product, symbol)
            self._exchange.change(market.symbol.product, market.symbol.name, STATUSES[kind])
        else:
            if kind in MESSAGE_KINDS and symbol:
                self._exchange.market(product, symbol)
            self._exchange.faults.arm(asked, now_s())
        if kind in MARKET_KINDS:
            self._exchange.faults.done[kind] += 1

    def _market(self, asked: dict[str, str]) -> Market:
        return self._exchange.market(asked.get("product", ""), asked.get("symbol", ""))

    def _trades(self, asked: dict[str, str]) -> list[list[Any]]:
        market = self._market(asked)
        symbol = market.symbol
        rows = market.history.trades(
            int(asked.get("from_id", "1")), int(asked.get("limit", "1000"))
        )
        return [
            [
                trade_id,
                plain(price, symbol.price_places),
                plain(qty, symbol.qty_places),
                time_us,
                bool(maker),
            ]
            for trade_id, price, qty, time_us, _, maker in rows.tolist()
        ]

    def _book(self, asked: dict[str, str]) -> Answer:
        market = self._market(asked)
        symbol, number = market.symbol, int(asked.get("update_id", str(market.update_id)))
        channel = asked.get("channel")
        update_id = market.record.named(channel, number) if channel else number
        book = None if update_id is None else market.record.at(update_id)
        if book is None:
            return Answer({"error": f"no book of {number}"}, 404)
        sides = {
            side: [
                [plain(price, symbol.price_places), plain(qty, symbol.qty_places)]
                for price, qty in rows
            ]
            for side, rows in (("bids", book.bids), ("asks", book.asks))
        }
        return Answer({"update_id": book.update_id, **sides})
