"""Binance spot (and Binance.US, which speaks the same): trades and best bid and offer.

After "WebSocket Streams for Binance", "Public Rest API for Binance" and the change log of the spot
API documents (github.com/binance/binance-spot-api-docs), read as of 2026-09-18:

- ``/stream`` carries ``{"stream":"btcusdt@trade","data":{...}}``; at most 1,024 streams and
  24 hours a connection, 5 commands or pings a second; the server pings every 20 s and wants its
  pong within a minute; ``serverShutdown`` announces an end (since 2026-06).
- ``<symbol>@trade``: ``t`` counts up by one for each symbol: CONTIGUOUS. ``m`` = the buyer is the
  maker, so the seller took liquidity. Times are ms unless ``timeUnit=MICROSECOND`` is asked for.
- ``<symbol>@bookTicker``: latest best bid and offer with the book's update id ``u``, which is not
  contiguous, and no time: CONFLATED.
- ``GET /api/v3/historicalTrades?symbol&fromId&limit`` (no key needed; weight 25, at most 1,000,
  from the database) answers trades by id; ``/api/v3/trades`` (weight 25, from memory) the newest
  1,000, which the database may not have yet.
- Prices and quantities have the decimals of ``quoteAssetPrecision`` and ``baseAssetPrecision`` (8).

    {"e":"trade","E":1672515782136,"s":"BNBBTC","t":12345,"p":"0.001","q":"100",
     "T":1672515782136,"m":true,"M":true}
    {"u":400900217,"s":"BNBUSDT","b":"25.35190000","B":"31.21000000","a":"25.36520000",
     "A":"40.66000000"}

A REST answer in a capture is ``{"stream":"rest:<path and query>","data":<body>}``, as `record`
writes it; exchangeInfo, server time and depth snapshots are known without that wrapping, too.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson
from pydantic import ValidationError

from tidemill.schemas.enums import AggressorSide, RecordFlag
from tidemill.schemas.errors import Unreadable
from tidemill.schemas.events.instrument import InstrumentDefined
from tidemill.streams.feeds.columns import Columns, decode_run
from tidemill.streams.feeds.feed import (
    Channel,
    Command,
    Endpoints,
    Instruments,
    Limits,
    Malformed,
    Overlap,
    Poll,
    Proof,
    Said,
    Socket,
)

BUYER, SELLER = int(AggressorSide.BUYER), int(AggressorSide.SELLER)
STREAMS_A_COMMAND = 200
QUOTE_ASSETS = (
    "FDUSD", "USDT", "USDC", "TUSD", "BUSD", "USDP", "AEUR", "EURI", "BIDR", "IDRT", "BVND", "USD1",
    "DOGE", "BTC", "ETH", "BNB", "XRP", "TRX", "SOL", "DOT", "DAI", "PAX", "VAI", "EUR", "TRY",
    "BRL", "JPY", "GBP", "AUD", "RUB", "UAH", "NGN", "ZAR", "PLN", "RON", "ARS", "MXN", "CZK",
    "COP", "IDR", "USD",
)  # fmt: skip
"""Assets that prices are in, for captures without definitions; the longest that fits is taken."""


class BinanceSpot:
    """The venue file of Binance spot; `venue` BINANCE_US is the same protocol elsewhere."""

    product = "SPOT"
    sockets = (
        Socket(
            "public",
            (
                Channel("trade", "trade", Proof.CONTIGUOUS),
                Channel("bookTicker", "quote", Proof.CONFLATED),
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
        requests_per_s=3.0,
    )

    def __init__(self, venue: str = "BINANCE", domain: str = "binance.com") -> None:
        self.venue = venue
        self.endpoints = Endpoints(f"wss://stream.{domain}:9443", f"https://api.{domain}")

    # what to ask

    def url(self, endpoint: str, socket: Socket) -> str:
        """Combined streams of `endpoint`, as wss://stream.binance.com:9443."""
        return f"{endpoint.rstrip('/')}/stream"

    def subscriptions(
        self, socket: Socket, symbols: Sequence[str], first_id: int = 1
    ) -> list[Command]:
        """SUBSCRIBE commands of at most 200 streams each."""
        streams = [f"{s.lower()}@{channel.name}" for s in symbols for channel in socket.channels]
        return [
            Command(
                orjson.dumps(
                    {
                        "method": "SUBSCRIBE",
                        "params": streams[at : at + STREAMS_A_COMMAND],
                        "id": first_id + at // STREAMS_A_COMMAND,
                    }
                )
            )
            for at in range(0, len(streams), STREAMS_A_COMMAND)
        ]

    def resubscriptions(
        self, socket: Socket, symbols: Sequence[str], first_id: int = 1
    ) -> list[Command]:
        """None: snapshots are REST's."""
        return []

    def snapshot_path(self, symbol: str) -> str:
        """GET /api/v3/depth, as deep as there is."""
        return f"/api/v3/depth?symbol={symbol}&limit=5000"

    def polls(self, symbols: Sequence[str]) -> tuple[Poll, ...]:
        """None."""
        return ()

    def weight(self, path: str) -> float:
        """Requests are not weighed here yet."""
        return 1.0

    def used(self, headers: Mapping[str, str]) -> float | None:
        """Not told here yet."""
        return None

    def definitions_path(self, symbols: Sequence[str]) -> str:
        """GET /api/v3/exchangeInfo of some symbols, or of all."""
        if not symbols:
            return "/api/v3/exchangeInfo"
        return f"/api/v3/exchangeInfo?symbols=[{','.join(f'%22{s}%22' for s in symbols)}]"

    def trades_paths(self, symbol: str, first_id: int, count: int) -> tuple[str, ...]:
        """Old trade lookup from `first_id`, then the recent trades."""
        limit = min(count, self.limits.trades_a_request)
        return (
            f"/api/v3/historicalTrades?symbol={symbol}&fromId={first_id}&limit={limit}",
            f"/api/v3/trades?symbol={symbol}&limit={self.limits.trades_a_request}",
        )

    def time_path(self) -> str:
        """GET /api/v3/time."""
        return "/api/v3/time"

    def definition(self, entry: dict[str, Any]) -> InstrumentDefined:
        """Return what one entry of exchangeInfo's ``symbols`` defines. Raises Unreadable."""
        filters = {f["filterType"]: f for f in entry["filters"]}
        notional = filters.get("NOTIONAL") or filters.get("MIN_NOTIONAL") or {}
        try:
            return InstrumentDefined(
                venue=self.venue,
                symbol=entry["symbol"],
                product=self.product,
                base=entry["baseAsset"],
                quote=entry["quoteAsset"],
                status="TRADING" if entry["status"] == "TRADING" else "HALTED",
                price_exponent=-entry["quoteAssetPrecision"],
                quantity_exponent=-entry["baseAssetPrecision"],
                tick_size=_plain(filters.get("PRICE_FILTER", {}).get("tickSize", "0")),
                lot_size=_plain(filters.get("LOT_SIZE", {}).get("stepSize", "0")),
                min_notional=_plain(notional.get("minNotional", "0")),
            )
        except ValidationError as error:
            raise Unreadable(f"{entry['symbol']} has no valid definition: {error}") from error

    def infer(self, symbol: str) -> InstrumentDefined | None:
        """Split `symbol` at the longest quote asset that it ends with."""
        fitting = [q for q in QUOTE_ASSETS if symbol.endswith(q) and len(symbol) > len(q)]
        if not fitting or not symbol.isascii() or not symbol.isalnum() or not symbol.isupper():
            return None
        quote = max(fitting, key=len)
        return InstrumentDefined(
            venue=self.venue,
            symbol=symbol,
            product=self.product,
            base=symbol[: -len(quote)],
            quote=quote,
            source="CAPTURE",
        )

    # what was said

    def decode(
        self, received: Sequence[int], raws: Sequence[bytes], instruments: Instruments
    ) -> Said:
        """Decode a run of stream messages and REST answers."""
        return decode_run(self._read, received, raws, instruments)

    def _read(self, columns: Columns, at: int, message: Any) -> None:
        data = message.get("data", message)
        event = data.get("e") if type(data) is dict else "rest"
        if event == "trade":
            symbol, trade_id, price, quantity, time, maker, clock = (
                data["s"], data["t"], data["p"], data["q"], data["T"], data["m"], data["E"]
            )  # fmt: skip
            instrument = columns.instruments.by_raw.get(symbol) or columns.instruments.of(symbol)
            columns.trades.append(
                (instrument.index, at, trade_id, price, quantity, time, _taker(maker), 0)
            )
            columns.clocks.append((clock, at))
        elif event is None and "B" in data:
            symbol, update_id, texts = (
                data["s"], data["u"], (data["b"], data["B"], data["a"], data["A"])
            )  # fmt: skip
            instrument = columns.instruments.by_raw.get(symbol) or columns.instruments.of(symbol)
            columns.quotes.append((instrument.index, at, update_id, *texts, None))
        elif event == "depthUpdate":
            _depth(columns, at, data)
        else:
            self._other(columns, at, message, data)

    def _other(self, columns: Columns, at: int, message: Any, data: Any) -> None:
        """Everything but trades, quotes and depth of the streams."""
        rest = columns.rest
        stream = message.get("stream", "")
        if stream.startswith("rest:"):
            self._answer(columns, at, stream.removeprefix("rest:"), data)
        elif (event := data.get("e")) is not None:
            rest.shutdown |= event == "serverShutdown"
            rest.ignored += event != "serverShutdown"
            if "E" in data:
                columns.clocks.append((data["E"], at))
        elif "result" in message and type(message.get("id")) is int:
            rest.acknowledged.append(message["id"])
        elif "error" in message or ("code" in data and "msg" in data):
            rest.refused.append(orjson.dumps(message.get("error", data)).decode())
        else:
            self._body(columns, at, data)

    def _answer(self, columns: Columns, at: int, path: str, data: Any) -> None:
        """A REST answer with the path that it answers."""
        url = urlsplit(path)
        if url.path in ("/api/v3/historicalTrades", "/api/v3/trades") and isinstance(data, list):
            index = columns.instruments.of(parse_qs(url.query)["symbol"][0]).index
            columns.trades += [
                (
                    index, at, t["id"], t["price"], t["qty"], t["time"], _taker(t["isBuyerMaker"]),
                    int(RecordFlag.FILLED),
                )
                for t in data
            ]  # fmt: skip
        elif url.path == "/api/v3/depth" and "lastUpdateId" in data:
            index = columns.instruments.of(parse_qs(url.query)["symbol"][0]).index
            last = data["lastUpdateId"]
            columns.books.append(
                (index, at, None, last, last, -1, data["bids"], data["asks"], True, True, None)
            )
        elif "code" in data and "msg" in data:
            columns.rest.refused.append(f"{path}: {data['code']} {data['msg']}")
        else:
            self._body(columns, at, data)

    def _body(self, columns: Columns, at: int, data: Any) -> None:
        """A REST answer that is known by its fields."""
        if "symbols" in data:
            for entry in data["symbols"]:
                if columns.instruments.wants(entry["symbol"]):
                    self._define(columns, at, entry)
        elif "serverTime" in data:
            columns.clocks.append((data["serverTime"], at))
        elif "lastUpdateId" in data:
            columns.rest.ignored += 1
        else:
            raise Unreadable("it is no message of this venue that is known")

    def _define(self, columns: Columns, at: int, entry: Any) -> None:
        """One instrument of many: one that is not understood spares the others."""
        try:
            columns.instruments.define(self.definition(entry))
        except (KeyError, TypeError, Unreadable) as error:
            reason = f"{type(error).__name__}: {error}"
            columns.rest.malformed.append(Malformed(at, orjson.dumps(entry), reason))


def _taker(buyer_is_maker: Any) -> int:
    """Who took liquidity."""
    if type(buyer_is_maker) is not bool:
        raise Unreadable("m is not true or false")
    return SELLER if buyer_is_maker else BUYER


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


def _plain(text: str) -> str:
    """A decimal without zeros at its end."""
    whole, dot, fraction = text.partition(".")
    fraction = fraction.rstrip("0")
    return f"{whole}.{fraction}" if dot and fraction else whole
