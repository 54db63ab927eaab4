"""Bybit v5, spot and linear contracts (USDT and USDC perpetuals, USDT futures).

After Bybit's API documents (bybit-exchange.github.io/docs/v5: ws/connect, rate-limit,
websocket/public/orderbook, full-ob, trade, ticker, kline, all-liquidation, market/instrument,
recent-trade, full-ob), their sources (github.com/bybit-exchange/docs: the change log up to
2025-09-18, the pages of full order books of July 2026) and a capture of 2026-08-09; read
2026-11-23:

- Sockets ``wss://stream.bybit.com/v5/public/spot`` and ``/linear``. The arguments of one connection
  are at most 21,000 characters; a spot command has at most 10. At most 500 new connections in 5
  minutes, 1,000 in all. ``{"op":"ping"}`` is wanted every 20 s and answered. A command is answered
  as a whole, with its ``req_id``. A connection has no documented end.
- ``publicTrade``: since 2025-08-05 with ``seq``, which many trades share and which does not count
  them; ``i`` is a UUID on linear, and on spot a number that counts over all symbols. None shows
  that one trade is missing: SESSION. Messages have at most 1,024 trades. ``BT`` is a block trade;
  ``RPI`` met an order for retail price improvement, which no book shows.
- ``orderbook.1000`` (since 2025-08-14, every 200 ms): a snapshot on subscribing, then changes whose
  ``u`` count up by one; each depth counts its own. A snapshot may come again at any time, also with
  ``u`` = 1 after a restart of the service, and replaces the book. ``cts`` is the matching engine's
  time. ``orderbook.full`` (spot since 2026-07-16, contracts with no date yet) sends changes only,
  to be joined to REST's 10,000 levels by ``seq``; not every product has it, so it is not used yet.
- ``orderbook.1`` (every 10 ms): snapshots only since 2025-03-20, again after 3 s without changes:
  CONFLATED. ``seq`` compares books of all depths, so it is the quote's update id.
- ``tickers`` of contracts: a snapshot, then the fields that changed, every 100 ms: mark and index
  price, funding rate and its next time, hours between fundings, open interest (base units). Those
  of spot say nothing of these.
- ``kline.1``: ``confirm`` true is a closed bar; its open is the close before it (so captured), its
  ``timestamp`` that of its last trade. Whether its volume has block trades is not documented.
- ``allLiquidation``: all of them, every 500 ms; ``S`` is the side of the position: Buy was long, so
  the order sold. ``p`` is the bankruptcy price.
- ``GET /v5/market/recent-trade`` answers the newest trades only, newest first: 1,000, spot 60, with
  ``seq`` since 2025-08-07. ``/v5/market/instruments-info`` without a symbol lists what trades
  (since 2026 what is pending to open, too), those before (``PreLaunch``) and after (``Delivering``)
  where their ``status`` is asked for: what no answer names is closed. At most 1,000 contracts a
  page (800 there were in August 2026), ``nextPageCursor`` names the next one; spot has neither
  pages nor other statuses. 600 requests in 5 s an address; more
  are answered by 403, for at least ten minutes. ``X-Bapi-Limit`` counts an account's requests.

    {"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":1672304486868,"data":[{"T":1672304486865,
     "s":"BTCUSDT","S":"Buy","v":"0.001","p":"16578.50","L":"PlusTick",
     "i":"20f43950-d8dd-5b31-9112-a178eb6023af","BT":false,"RPI":false,"seq":1783284617}]}
    {"topic":"orderbook.1000.BTCUSDT","type":"delta","ts":1687940967466,"data":{"s":"BTCUSDT",
     "b":[["30247.20","30.028"],["30245.40","0"]],"a":[],"u":177400507,"seq":66544703342},
     "cts":1687940967464}

A REST answer in a capture is ``{"stream":"rest:<path and query>","data":<body>}``.
"""

from collections.abc import Iterable, Mapping, Sequence

import orjson

from tidemill.schemas.events.instrument import InstrumentDefined
from tidemill.streams.feeds.bybit_instruments import LISTED, inferred, listing_path, raw_of
from tidemill.streams.feeds.bybit_messages import Reader
from tidemill.streams.feeds.columns import decode_run
from tidemill.streams.feeds.feed import (
    Channel,
    Command,
    Endpoints,
    Instruments,
    Limits,
    Overlap,
    Poll,
    Proof,
    Said,
    Socket,
)

_PING = b'{"op":"ping"}'
_OF_ALL = (
    Channel("publicTrade", "trade", Proof.SESSION),
    Channel("orderbook.1000", "book", Proof.CONTIGUOUS),
    Channel("orderbook.1", "quote", Proof.CONFLATED),
    Channel("kline.1", "venue_bar", Proof.CONFLATED),
)
_OF_CONTRACTS = (
    Channel("tickers", "derivative", Proof.CONFLATED),
    Channel("allLiquidation", "liquidation", Proof.CONFLATED),
)
CHANNELS = {"SPOT": _OF_ALL, "LINEAR": (*_OF_ALL, *_OF_CONTRACTS)}
ARGUMENTS_A_COMMAND = {"SPOT": 10, "LINEAR": 200}
TRADES_A_REQUEST = {"SPOT": 60, "LINEAR": 1000}


class Bybit:
    """The venue file of one `product` of Bybit: SPOT or LINEAR."""

    venue = "BYBIT"
    overlap = Overlap(drop_below=1, first_at_most=1)
    endpoints = Endpoints("wss://stream.bybit.com", "https://api.bybit.com")

    def __init__(self, product: str) -> None:
        self.product = product
        self.sockets = (Socket("public", CHANNELS[product], _PING),)
        # 500 topics of at most 37 characters each are below a connection's 21,000.
        self.limits = Limits(
            streams_max=500,
            commands_per_s=10.0,
            life_s=23 * 3600.0,
            message_bytes_max=4 << 20,
            trades_a_request=TRADES_A_REQUEST[product],
            requests_per_s=60.0,
            connections=(500, 300.0),
        )
        self._category = product.lower()
        self._reader = Reader(product)

    def url(self, endpoint: str, socket: Socket) -> str:
        """``/v5/public/spot`` or ``/v5/public/linear`` of `endpoint`, as wss://stream.bybit.com."""
        return f"{endpoint.rstrip('/')}/v5/public/{self._category}"

    def subscriptions(
        self, socket: Socket, symbols: Sequence[str], first_id: int = 1
    ) -> list[Command]:
        """Subscribe commands of at most 10 (spot) or 200 topics."""
        return self._commands("subscribe", self._topics(socket.channels, symbols), first_id)

    def resubscriptions(
        self, socket: Socket, symbols: Sequence[str], first_id: int = 1
    ) -> list[Command]:
        """Unsubscribe and subscribe the books of `symbols`: subscribing sends a snapshot."""
        books = [channel for channel in socket.channels if channel.kind == "book"]
        topics = self._topics(books, symbols)
        away = self._commands("unsubscribe", topics, first_id)
        return away + self._commands("subscribe", topics, first_id + len(away))

    def _topics(self, channels: Iterable[Channel], symbols: Sequence[str]) -> list[str]:
        raws = [raw_of(self.product, symbol) for symbol in symbols]
        return [f"{channel.name}.{raw}" for channel in channels for raw in raws]

    def _commands(self, op: str, topics: list[str], first_id: int) -> list[Command]:
        step = ARGUMENTS_A_COMMAND[self.product]
        return [
            Command(
                orjson.dumps(
                    {"req_id": str(first_id + i), "op": op, "args": topics[start : start + step]}
                )
            )
            for i, start in enumerate(range(0, len(topics), step))
        ]

    def snapshot_path(self, symbol: str) -> None:
        """None: the socket sends snapshots."""
        return

    def polls(self, symbols: Sequence[str]) -> tuple[Poll, ...]:
        """None: the socket says everything."""
        return ()

    @property
    def listing_paths(self) -> tuple[str, ...]:
        """GET /v5/market/instruments-info of each status of an instrument that is not closed."""
        return tuple(listing_path(self.product, status) for status in LISTED[self.product])

    def definitions_path(self, symbols: Sequence[str]) -> None:
        """None: whether one that does not trade is answered by its symbol is not documented."""
        return

    def trades_paths(self, symbol: str, first_id: int, count: int) -> tuple[str, ...]:
        """The newest trades, as many as there are: no others can be asked for."""
        return (
            f"/v5/market/recent-trade?category={self._category}"
            f"&symbol={raw_of(self.product, symbol)}&limit={self.limits.trades_a_request}",
        )

    def time_path(self) -> str:
        """GET /v5/market/time."""
        return "/v5/market/time"

    def weight(self, path: str) -> float:
        """Requests are not weighed, only counted."""
        return 1.0

    def used(self, headers: Mapping[str, str]) -> float | None:
        """What is left of ``X-Bapi-Limit`` is ``X-Bapi-Limit-Status``, where they are told."""
        told = {name.lower(): value for name, value in headers.items()}
        try:
            most, left = int(told["x-bapi-limit"]), int(told["x-bapi-limit-status"])
        except (KeyError, ValueError):
            return None
        return min(1.0, max(0.0, 1.0 - left / most)) if most > 0 else None

    def infer(self, raw: str) -> InstrumentDefined | None:
        """Read pair and kind from a symbol, as BTCUSDT, BTCPERP or BTCUSDT-25DEC26."""
        return inferred(self.product, raw)

    def decode(
        self, received: Sequence[int], raws: Sequence[bytes], instruments: Instruments
    ) -> Said:
        """Decode a run of stream messages and REST answers."""
        return decode_run(self._reader.read, received, raws, instruments)
