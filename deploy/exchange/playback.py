"""A capture played as if its venue were here: recorded messages to whoever listens, at a speed.

Binance's products only. What was recorded goes out byte for byte on its stream (depth@0ms on
depth@100ms, too), through the same hub, so that every fault can be asked for. REST answers from
what was played so far: depth from the recorded snapshot with the changes since, historicalTrades
and trades from the recorded trades, exchangeInfo from the symbols that are listed. The venue's
clock is the recorder's at the message last played. Playing begins half a second after somebody
listens, so that all sockets of a client do.
"""

import asyncio
from bisect import bisect_left
from collections.abc import Callable, Hashable, Iterable
from functools import partial
from typing import Any

import orjson

from tidemill.deploy.exchange.binance import Binance
from tidemill.deploy.exchange.binance_streams import Variant
from tidemill.deploy.exchange.exchange import TICK_S, Exchange
from tidemill.deploy.exchange.faults import Topic
from tidemill.deploy.exchange.protocol import Answer, Request

CHANNELS = {
    "trade": "trade",
    "aggTrade": "trade",
    "bookTicker": "quote",
    "depth": "book",
    "kline_": "bar",
    "markPrice": "derivative",
    "forceOrder": "liquidation",
}
REST_LIMIT_MAX = 1_000
SOCKETS_S = 0.5


class _Book:
    """A book as its snapshot and the changes played since say it is."""

    def __init__(self, snapshot: dict[str, Any]) -> None:
        self._head = {k: v for k, v in snapshot.items() if k not in ("bids", "asks")}
        self._sides = {side: dict(snapshot[side]) for side in ("bids", "asks")}

    def take(self, update: dict[str, Any]) -> None:
        """Apply a depth update that is not older than the book."""
        if update["u"] <= self._head["lastUpdateId"]:
            return
        for side, changes in (("bids", update["b"]), ("asks", update["a"])):
            for price, quantity in changes:
                if float(quantity):
                    self._sides[side][price] = quantity
                else:
                    self._sides[side].pop(price, None)
        self._head["lastUpdateId"] = update["u"]

    def body(self, levels: int) -> dict[str, Any]:
        """What REST answers."""
        bids = sorted(self._sides["bids"].items(), key=lambda row: -float(row[0]))
        asks = sorted(self._sides["asks"].items(), key=lambda row: float(row[0]))
        return {**self._head, "bids": bids[:levels], "asks": asks[:levels]}


class Playback:
    """Lines of captures, (receive time in ns, raw message), of one symbol of one product.

    `speed` 1 plays them as they were received, 10 in a tenth of the time. `played` counts them.
    """

    def __init__(self, lines: Iterable[tuple[int, bytes]], name: str, speed: float) -> None:
        self._lines = [line for line in lines if line[0] >= 0]
        self._name, self._speed = name, speed
        self._now_us = self._lines[0][0] // 1_000
        self._trades: list[dict[str, Any]] = []
        snapshot = next((orjson.loads(raw) for _, raw in self._lines if _is_snapshot(raw)), None)
        self._book = _Book(snapshot) if snapshot is not None else None
        self.played = 0

    @property
    def over(self) -> bool:
        """Whether everything was played."""
        return self.played == len(self._lines)

    def clock_us(self) -> int:
        """The recorder's clock at the message last played."""
        return self._now_us

    async def run(self, exchange: Exchange) -> None:
        """Play to the clients of an exchange that has one product of Binance and whose own markets
        do not live, until cancelled."""
        (protocol,) = exchange.protocols
        assert isinstance(protocol, Binance), "captures of Binance can be played"
        exchange.answer_instead = self.answer
        loop = asyncio.get_running_loop()
        while not protocol.hub.streams():
            exchange.send(loop.time())
            await asyncio.sleep(TICK_S)
        until = loop.time() + SOCKETS_S
        while loop.time() < until:
            exchange.send(loop.time())
            await asyncio.sleep(TICK_S)
        began, first = loop.time(), self._lines[0][0]
        while True:
            reached = first + int((loop.time() - began) * self._speed * 1e9)
            while not self.over and self._lines[self.played][0] <= reached:
                received, raw = self._lines[self.played]
                self._now_us = received // 1_000
                self._say(protocol, raw)
                self.played += 1
            exchange.send(loop.time())
            await asyncio.sleep(TICK_S)

    def _say(self, protocol: Binance, raw: bytes) -> None:
        """Send one message, and remember what REST will be asked for."""
        message = orjson.loads(raw)
        stream, data = message.get("stream", ""), message.get("data")
        if "@" not in stream:
            return
        prefix, _, name = stream.partition("@")
        text = raw.decode().strip()
        body = text[text.index('"data":') + 7 : -1]
        if name == "trade":
            self._trades.append(data)
        elif name.startswith("depth") and self._book is not None:
            self._book.take(data)
        channel = next((c for start, c in CHANNELS.items() if name.startswith(start)), "all")
        product = protocol.products[0]
        for sent in (stream, f"{prefix}@depth@100ms") if name == "depth@0ms" else (stream,):
            topic = Topic(sent, channel, product, self._name, self._name)
            protocol.hub.publish(topic, partial(_wrapped, protocol.route, sent, body))

    def answer(self, request: Request) -> Answer | None:
        """What REST answers of the recorded; None for what it does not know."""
        asked, name = request.fields, request.path.rpartition("/")[2]
        limit = min(int(asked.get("limit", "500")), 5 * REST_LIMIT_MAX)
        if asked.get("symbol") != self._name:
            return None
        if name == "depth" and self._book is not None:
            return Answer(self._book.body(limit))
        if name not in ("trades", "historicalTrades"):
            return None
        limit = min(limit, REST_LIMIT_MAX)
        first = len(self._trades) - limit
        if name == "historicalTrades" and "fromId" in asked:
            first = bisect_left(self._trades, int(asked["fromId"]), key=lambda trade: trade["t"])
        rows = self._trades[max(0, first) : max(0, first) + limit]
        return Answer([_rest_trade(trade) for trade in rows])


def _is_snapshot(raw: bytes) -> bool:
    return raw.startswith(b'{"lastUpdateId"')


def _wrapped(route: Callable[[str], str], stream: str, body: str, variant: Hashable) -> str:
    assert isinstance(variant, Variant)
    if route(stream) != variant.route:
        return ""
    return f'{{"stream":"{stream}","data":{body}}}' if variant.combined else body


def _rest_trade(trade: dict[str, Any]) -> dict[str, Any]:
    """A recorded trade of the stream as REST answers it; its quote quantity is not known."""
    return {
        "id": trade["t"],
        "price": trade["p"],
        "qty": trade["q"],
        "quoteQty": "0",
        "time": trade["T"],
        "isBuyerMaker": trade["m"],
        "isBestMatch": True,
    }
