"""Binance spot (and Binance.US, which speaks the same): trades, quotes, books, bars, definitions.

After "WebSocket Streams for Binance", "Public Rest API for Binance" and the change log of the spot
API documents (github.com/binance/binance-spot-api-docs, as of 2026-09-18), read 2026-11-23:

- ``/stream`` carries ``{"stream":"btcusdt@trade","data":{...}}``; at most 1,024 streams and
  24 hours a connection, 5 commands or pings a second, 300 connections in 5 minutes; the server
  pings every 20 s and wants its pong within a minute; ``serverShutdown`` announces an end (since
  2026-06).
- ``<symbol>@trade``: ``t`` counts up by one for each symbol: CONTIGUOUS. ``m`` = the buyer is the
  maker, so the seller took liquidity. Times are ms unless ``timeUnit=MICROSECOND`` is asked for.
  ``<symbol>@aggTrade``, not asked for but read in captures, counts ``a`` up by one, too: AGGREGATE.
  ``<symbol>@blockTrade`` (since 2026-05) is a stream of its own, away from the book: not asked for.
- ``<symbol>@bookTicker``: latest best bid and offer with the book's update id ``u``, which is not
  contiguous, and no time: CONFLATED.
- ``<symbol>@depth@100ms``: changes ``U`` to ``u`` of the book's update ids, the next message's
  ``U`` is this one's ``u`` + 1: CONTIGUOUS. A quantity is the level's new one, 0 removes it. The
  snapshot ``GET /api/v3/depth?limit=1000`` has ``lastUpdateId``: buffered messages with ``u`` <= it
  are dropped, the first one kept has ``U`` <= it + 1. Levels beyond its 5,000 become known as they
  change.
- ``<symbol>@kline_1m``: the minute's bar every second; ``x`` = it is closed. A minute without
  trades has one, too, with ``n`` 0.
- ``GET /api/v3/historicalTrades?symbol&fromId&limit`` (no key needed; weight 25, at most 1,000,
  from the database) answers trades by id; ``/api/v3/trades`` (weight 25, from memory) the newest
  1,000, which the database may not have yet.
- A minute may cost 6,000 weights (``X-MBX-USED-WEIGHT-1M`` tells); a snapshot of 5,000 levels costs
  250, exchangeInfo 20. 429 says wait, going on is 418: banned.
- Prices and quantities have the decimals of ``quoteAssetPrecision`` and ``baseAssetPrecision`` (8).
  ``status`` of a symbol: TRADING, or HALT, BREAK, CANCEL_ONLY (since 2026-07) and others; what is
  gone from a whole exchangeInfo is not listed any more.

    {"e":"trade","E":1672515782136,"s":"BNBBTC","t":12345,"p":"0.001","q":"100",
     "T":1672515782136,"m":true,"M":true}
    {"u":400900217,"s":"BNBUSDT","b":"25.35190000","B":"31.21000000","a":"25.36520000",
     "A":"40.66000000"}
    {"e":"depthUpdate","E":1672515782136,"s":"BNBBTC","U":157,"u":160,"b":[["0.0024","10"]],
     "a":[["0.0026","100"]]}
    {"e":"kline","E":1672515782136,"s":"BNBBTC","k":{"t":1672515780000,"T":1672515839999,
     "s":"BNBBTC","i":"1m","f":100,"L":200,"o":"0.0010","c":"0.0020","h":"0.0025","l":"0.0015",
     "v":"1000","n":100,"x":false,"q":"1.0000","V":"500","Q":"0.500","B":"123456"}}
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from tidemill.schemas.events.instrument import InstrumentDefined
from tidemill.streams.feeds.binance import (
    Binance,
    base_and_quote,
    filters_of,
    is_change,
    is_own,
    plain,
    taker,
)
from tidemill.streams.feeds.columns import Columns
from tidemill.streams.feeds.feed import Channel, Endpoints, Limits, Overlap, Proof, Socket


class BinanceSpot(Binance):
    """The venue file of Binance spot; `venue` BINANCE_US is the same protocol elsewhere."""

    product = "SPOT"
    api = "/api/v3"
    sockets = (
        Socket(
            "public",
            (
                Channel("trade", "trade", Proof.CONTIGUOUS),
                Channel("bookTicker", "quote", Proof.CONFLATED),
                Channel("depth@100ms", "book", Proof.CONTIGUOUS),
                Channel("kline_1m", "venue_bar", Proof.CONFLATED),
            ),
        ),
    )
    overlap = Overlap(drop_below=1, first_at_most=1)
    limits = Limits(
        streams_max=1024,
        commands_per_s=4.0,
        life_s=23 * 3600.0,
        message_bytes_max=1 << 20,
        trades_a_request=1000,
        requests_per_s=60.0,
        burst_s=30.0,
        connections=(300, 300.0),
    )
    weight_a_minute = 6000
    weights: ClassVar[Mapping[str, float]] = {
        "/api/v3/historicalTrades": 25.0,
        "/api/v3/trades": 25.0,
        "/api/v3/aggTrades": 4.0,
        "/api/v3/exchangeInfo": 20.0,
    }
    depth_weights = ((100, 5.0), (500, 25.0), (1000, 50.0), (5000, 250.0))

    def __init__(self, venue: str = "BINANCE", domain: str = "binance.com") -> None:
        super().__init__()
        self.venue = venue
        self.endpoints = Endpoints(f"wss://stream.{domain}:9443", f"https://api.{domain}")

    # what to ask

    def url(self, endpoint: str, socket: Socket) -> str:
        """Combined streams of `endpoint`, as wss://stream.binance.com:9443."""
        return f"{endpoint.rstrip('/')}/stream"

    def snapshot_path(self, symbol: str) -> str:
        """GET /api/v3/depth of 1,000 levels a side, weight 50.

        5,000 levels weigh 250: after a cut, 300 books would take 20 minutes, these take 4.
        """
        return f"/api/v3/depth?symbol={symbol}&limit=1000"

    @property
    def listing_paths(self) -> tuple[str, ...]:
        """GET /api/v3/exchangeInfo of all (several MB)."""
        return ("/api/v3/exchangeInfo?showPermissionSets=false",)

    def definitions_path(self, symbols: Sequence[str]) -> str:
        """GET /api/v3/exchangeInfo of some symbols."""
        return f"/api/v3/exchangeInfo?symbols=[{','.join(f'%22{s}%22' for s in symbols)}]"

    def trades_paths(self, symbol: str, first_id: int, count: int) -> tuple[str, ...]:
        """Old trade lookup from `first_id`, then the recent trades."""
        limit = min(count, self.limits.trades_a_request)
        return (
            f"/api/v3/historicalTrades?symbol={symbol}&fromId={first_id}&limit={limit}",
            f"/api/v3/trades?symbol={symbol}&limit={self.limits.trades_a_request}",
        )

    def definition(self, entry: Mapping[str, Any]) -> InstrumentDefined:
        """Return what one entry of exchangeInfo's ``symbols`` defines."""
        filters = filters_of(entry)
        notional = filters.get("NOTIONAL") or filters.get("MIN_NOTIONAL") or {}
        return InstrumentDefined(
            venue=self.venue,
            symbol=entry["symbol"],
            product=self.product,
            base=entry["baseAsset"],
            quote=entry["quoteAsset"],
            status="TRADING" if entry["status"] == "TRADING" else "HALTED",
            price_exponent=-entry["quoteAssetPrecision"],
            quantity_exponent=-entry["baseAssetPrecision"],
            tick_size=plain(filters.get("PRICE_FILTER", {}).get("tickSize", "0")),
            lot_size=plain(filters.get("LOT_SIZE", {}).get("stepSize", "0")),
            min_notional=plain(notional.get("minNotional", "0")),
        )

    def infer(self, raw: str) -> InstrumentDefined | None:
        """Split `raw` at the longest quote asset that it ends with."""
        assets = base_and_quote(raw)
        if assets is None:
            return None
        return InstrumentDefined(
            venue=self.venue,
            symbol=raw,
            product=self.product,
            base=assets[0],
            quote=assets[1],
            source="CAPTURE",
        )

    # what was said

    def _read(self, columns: Columns, at: int, message: Any) -> None:
        data = message.get("data", message)
        event = data.get("e") if type(data) is dict else "rest"
        if event == "trade":
            symbol, trade_id, price, quantity, time, maker, clock = (
                data["s"], data["t"], data["p"], data["q"], data["T"], data["m"], data["E"]
            )  # fmt: skip
            instrument = columns.instruments.by_raw.get(symbol) or columns.instruments.of(symbol)
            row = (instrument.index, at, trade_id, price, quantity, time, taker(maker), 0)
            if instrument.trade_channel == "trade" or is_own(instrument, "trade"):
                columns.trades.append(row)
            else:
                columns.rest.ignored += 1
            columns.clocks.append((clock, at))
        elif event is None and "B" in data:
            symbol, update_id, texts = (
                data["s"], data["u"], (data["b"], data["B"], data["a"], data["A"])
            )  # fmt: skip
            instrument = columns.instruments.by_raw.get(symbol) or columns.instruments.of(symbol)
            columns.quotes.append((instrument.index, at, update_id, *texts, None))
        elif event == "depthUpdate" and is_change(message):
            _depth(columns, at, data)
        else:
            self._other(columns, at, message, data)


def _depth(columns: Columns, at: int, data: Any) -> None:
    """A change of the book: it follows the update before its first one."""
    symbol, first, last, bids, asks, clock = (
        data["s"], data["U"], data["u"], data["b"], data["a"], data["E"]
    )  # fmt: skip
    instrument = columns.instruments.by_raw.get(symbol) or columns.instruments.of(symbol)
    columns.books.append(
        (instrument.index, at, clock, first, last, first - 1, bids, asks, False, False, None)
    )
    columns.clocks.append((clock, at))
