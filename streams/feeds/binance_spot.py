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

from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import ValidationError

from tidemill.schemas.decimals import mantissa_of
from tidemill.schemas.enums import AggressorSide
from tidemill.schemas.errors import Unreadable
from tidemill.schemas.events.instrument import InstrumentDefined
from tidemill.schemas.exact import mantissas_of
from tidemill.schemas.kinds.quote import QUOTE, TS_NONE
from tidemill.schemas.kinds.trade import TRADE
from tidemill.streams.feeds.feed import (
    Channel,
    Decoded,
    Endpoints,
    Instruments,
    Limits,
    Malformed,
    Proof,
    Said,
    integers,
)
from tidemill.streams.feeds.gaps import filled

MS = 1_000_000
US_FROM = 100_000_000_000_000
"""A time from here on is in microseconds: as milliseconds it would be past the year 5100."""
US_MAX = 4_000_000_000_000_000
"""Latest time that is taken, in microseconds: the year 2096."""
STREAMS_A_COMMAND = 200
QUOTE_ASSETS = (
    "FDUSD", "USDT", "USDC", "TUSD", "BUSD", "USDP", "AEUR", "EURI", "BIDR", "IDRT", "BVND", "USD1",
    "DOGE", "BTC", "ETH", "BNB", "XRP", "TRX", "SOL", "DOT", "DAI", "PAX", "VAI", "EUR", "TRY",
    "BRL", "JPY", "GBP", "AUD", "RUB", "UAH", "NGN", "ZAR", "PLN", "RON", "ARS", "MXN", "CZK",
    "COP", "IDR", "USD",
)  # fmt: skip
"""Assets that prices are in, for captures without definitions; the longest that fits is taken."""


class _Rows:
    """Columns of decoded messages, filled message by message and turned into records at once."""

    def __init__(self) -> None:
        self.index: list[int] = []
        self.received: list[int] = []
        self.ids: list[Any] = []
        self.texts: list[Any] = []  # all prices and quantities, record by record
        self.times: list[Any] = []  # trades only, as makers
        self.makers: list[Any] = []


class _Run:
    """What one run of messages said so far."""

    def __init__(self, instruments: Instruments) -> None:
        self.instruments = instruments
        self.said = Said()
        self.trades, self.quotes = _Rows(), _Rows()
        self.filled: list[tuple[int, int]] = []  # rows of trades that REST answered, from and to
        self.clock_times: list[Any] = []  # the venue's time and the receive time of messages
        self.clock_received: list[int] = []


class BinanceSpot:
    """The venue file of Binance spot; `venue` BINANCE_US is the same protocol elsewhere."""

    product = "SPOT"
    channels = (
        Channel("trade", "trade", Proof.CONTIGUOUS),
        Channel("bookTicker", "quote", Proof.CONFLATED),
    )
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

    def url(self, endpoint: str) -> str:
        """Combined streams of `endpoint`, as wss://stream.binance.com:9443."""
        return f"{endpoint.rstrip('/')}/stream"

    def subscriptions(self, symbols: Sequence[str], first_id: int = 1) -> list[bytes]:
        """SUBSCRIBE commands of at most 200 streams each."""
        streams = [f"{s.lower()}@{channel.name}" for s in symbols for channel in self.channels]
        return [
            orjson.dumps(
                {
                    "method": "SUBSCRIBE",
                    "params": streams[at : at + STREAMS_A_COMMAND],
                    "id": first_id + at // STREAMS_A_COMMAND,
                }
            )
            for at in range(0, len(streams), STREAMS_A_COMMAND)
        ]

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
        """Decode a run; one with values that are no numbers again, message by message."""
        run = _Run(instruments)
        known = instruments.by_symbol
        trades, quotes = run.trades, run.quotes
        clock_times, clock_received = run.clock_times, run.clock_received
        loads = orjson.loads
        for at, raw in zip(received, raws, strict=True):
            try:
                message = loads(raw)
                data = message.get("data", message)
                event = data.get("e") if type(data) is dict else "rest"
                if event == "trade":
                    symbol, trade_id, price, quantity, time, maker, clock = (
                        data["s"], data["t"], data["p"], data["q"], data["T"], data["m"], data["E"]
                    )  # fmt: skip
                    instrument = known.get(symbol) or instruments.of(symbol)
                    trades.index.append(instrument.index)
                    trades.received.append(at)
                    trades.ids.append(trade_id)
                    trades.texts += (price, quantity)
                    trades.times.append(time)
                    trades.makers.append(maker)
                    clock_times.append(clock)
                    clock_received.append(at)
                elif event is None and "B" in data:
                    symbol, update_id, texts = (
                        data["s"], data["u"], (data["b"], data["B"], data["a"], data["A"])
                    )  # fmt: skip
                    instrument = known.get(symbol) or instruments.of(symbol)
                    quotes.index.append(instrument.index)
                    quotes.received.append(at)
                    quotes.ids.append(update_id)
                    quotes.texts += texts
                else:
                    _other(self, run, at, message, data)
            except (KeyError, TypeError, ValueError, AttributeError, Unreadable) as error:
                reason = f"{type(error).__name__}: {error}"
                run.said.malformed.append(Malformed(at, raw, reason))
        try:
            return _finish(run)
        except (TypeError, ValueError, OverflowError, Unreadable) as error:
            if len(raws) > 1:
                each = zip(received, raws, strict=True)
                return _merged([self.decode([at], [raw], instruments) for at, raw in each])
            return Said(malformed=[Malformed(received[0], raws[0], str(error))])


def _other(venue: BinanceSpot, run: _Run, at: int, message: Any, data: Any) -> None:
    """Everything but trades and quotes of the streams."""
    said = run.said
    stream = message.get("stream", "")
    if stream.startswith("rest:"):
        _rest(venue, run, at, stream.removeprefix("rest:"), data)
    elif (event := data.get("e")) is not None:
        said.shutdown |= event == "serverShutdown"
        said.book_updates += event == "depthUpdate"
        said.ignored += event not in ("serverShutdown", "depthUpdate")
        if "E" in data:
            run.clock_times.append(data["E"])
            run.clock_received.append(at)
    elif "result" in message and type(message.get("id")) is int:
        said.acknowledged.append(message["id"])
    elif "error" in message or ("code" in data and "msg" in data):
        said.refused.append(orjson.dumps(message.get("error", data)).decode())
    else:
        _body(venue, run, at, data)


def _rest(venue: BinanceSpot, run: _Run, at: int, path: str, data: Any) -> None:
    """A REST answer with the path that it answers."""
    url = urlsplit(path)
    if url.path in ("/api/v3/historicalTrades", "/api/v3/trades") and isinstance(data, list):
        index = run.instruments.of(parse_qs(url.query)["symbol"][0]).index
        _answered(run, at, index, data)
    elif "code" in data and "msg" in data:
        run.said.refused.append(f"{path}: {data['code']} {data['msg']}")
    else:
        _body(venue, run, at, data)


def _answered(run: _Run, at: int, index: int, trades: list[Any]) -> None:
    """Trades that REST answered, in their place between those of the stream."""
    rows, start = run.trades, len(run.trades.index)
    fields = [(t["id"], t["price"], t["qty"], t["time"], t["isBuyerMaker"]) for t in trades]
    for trade_id, price, quantity, time, maker in fields:
        rows.index.append(index)
        rows.received.append(at)
        rows.ids.append(trade_id)
        rows.texts += (price, quantity)
        rows.times.append(time)
        rows.makers.append(maker)
    run.filled.append((start, len(rows.index)))


def _body(venue: BinanceSpot, run: _Run, at: int, data: Any) -> None:
    """A REST answer that is known by its fields."""
    if "symbols" in data:
        for entry in data["symbols"]:
            if run.instruments.wants(entry["symbol"]):
                _defined(venue, run, at, entry)
    elif "serverTime" in data:
        run.clock_times.append(data["serverTime"])
        run.clock_received.append(at)
    elif "lastUpdateId" in data:
        run.said.ignored += 1
    else:
        raise Unreadable("it is no message of this venue that is known")


def _defined(venue: BinanceSpot, run: _Run, at: int, entry: Any) -> None:
    """One instrument of many: one that is not understood spares the others."""
    try:
        run.instruments.define(venue.definition(entry))
    except (KeyError, TypeError, Unreadable) as error:
        reason = f"{type(error).__name__}: {error}"
        run.said.malformed.append(Malformed(at, orjson.dumps(entry), reason))


def _finish(run: _Run) -> Said:
    """Turn the columns into records. Raises what is wrong with any value."""
    said, instruments = run.said, run.instruments
    if run.trades.index:
        said.trades = _trades(run.trades, instruments)
        for start, end in run.filled:
            filled(said.trades.records[start:end])
    if run.quotes.index:
        said.quotes = _quotes(run.quotes, instruments)
    if run.clock_times:
        times = _nanoseconds(integers(run.clock_times, "the event time"))
        said.lead_ns = int((times - np.array(run.clock_received, np.int64)).max())
    return said


def _trades(rows: _Rows, instruments: Instruments) -> Decoded:
    records = TRADE.empty(len(rows.index))
    makers = np.array(rows.makers)
    if makers.dtype != np.bool_:
        raise Unreadable("m is not true or false")
    index = np.array(rows.index, np.intp)
    numbers = _numbers(rows, index, 2, instruments)
    if (numbers <= 0).any():
        raise Unreadable("a price or quantity of a trade is not above zero")
    records["ts_event"] = _nanoseconds(integers(rows.times, "the trade time"))
    records["ts_recv"] = rows.received
    records["trade_id"] = _ids(rows.ids)
    records["price"], records["quantity"] = numbers[:, 0], numbers[:, 1]
    records["aggressor_side"] = np.where(makers, AggressorSide.SELLER, AggressorSide.BUYER)
    return Decoded(index, records)


def _quotes(rows: _Rows, instruments: Instruments) -> Decoded:
    records = QUOTE.empty(len(rows.index))
    index = np.array(rows.index, np.intp)
    numbers = _numbers(rows, index, 4, instruments)
    if (numbers < 0).any():
        raise Unreadable("a price or quantity of a quote is below zero")
    records["ts_event"] = TS_NONE
    records["ts_recv"] = rows.received
    records["update_id"] = _ids(rows.ids)
    records["bid_price"], records["bid_quantity"] = numbers[:, 0], numbers[:, 1]
    records["ask_price"], records["ask_quantity"] = numbers[:, 2], numbers[:, 3]
    return Decoded(index, records)


def _numbers(
    rows: _Rows, index: NDArray[np.intp], width: int, instruments: Instruments
) -> NDArray[np.int64]:
    """Mantissas (N, width) of price, quantity (, price, quantity) at their exponents."""
    used = {instruments.by_index[i].exponents for i in set(rows.index)}
    if len(used) == 1 and len(exponents := set(next(iter(used)))) == 1:
        return mantissas_of(rows.texts, exponents.pop()).reshape(-1, width)
    numbers = np.empty((len(index), width), np.int64)
    for row, i in enumerate(rows.index):
        for column in range(width):
            exponent = instruments.by_index[i].exponents[column % 2]
            numbers[row, column] = mantissa_of(rows.texts[row * width + column], exponent)
    return numbers


def _ids(values: list[Any]) -> NDArray[np.int64]:
    ids = integers(values, "the id")
    if (ids < 0).any():
        raise Unreadable("an id is below zero")
    return ids


def _nanoseconds(times: NDArray[np.int64]) -> NDArray[np.int64]:
    """Milliseconds or microseconds to nanoseconds. Raises Unreadable outside 1970 to 2096."""
    if (times < 0).any() or (times >= US_MAX).any():
        raise Unreadable("a time is not of this century")
    return np.where(times < US_FROM, times * MS, times * 1000)


def _plain(text: str) -> str:
    """A decimal without zeros at its end."""
    whole, dot, fraction = text.partition(".")
    fraction = fraction.rstrip("0")
    return f"{whole}.{fraction}" if dot and fraction else whole


def _merged(parts: list[Said]) -> Said:
    """Join what messages said one by one."""

    def joined(name: str) -> Decoded | None:
        found: list[Decoded] = [d for part in parts if (d := getattr(part, name)) is not None]
        if not found:
            return None
        return Decoded(
            np.concatenate([d.owners for d in found]), np.concatenate([d.records for d in found])
        )

    leads = [part.lead_ns for part in parts if part.lead_ns is not None]
    return Said(
        trades=joined("trades"),
        quotes=joined("quotes"),
        lead_ns=max(leads, default=None),
        book_updates=sum(part.book_updates for part in parts),
        ignored=sum(part.ignored for part in parts),
        acknowledged=[i for part in parts for i in part.acknowledged],
        refused=[r for part in parts for r in part.refused],
        malformed=[m for part in parts for m in part.malformed],
        shutdown=any(part.shutdown for part in parts),
    )
