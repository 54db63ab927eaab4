"""What Binance's products say alike: commands, depth, klines, REST answers, and what they cost.

A product's own file (`binance_spot.py`, `binance_usdm.py`) names the documents that it follows.

A REST answer in a capture is ``{"stream":"rest:<path and query>","data":<body>}``, as `record`
writes it; exchangeInfo and server time are known without that wrapping, too, and so is a depth
snapshot in a capture of a single instrument (other recorders ask for it after its first change, so
that it is known by then).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import orjson
from pydantic import ValidationError

from tidemill.schemas.enums import AggressorSide, RecordFlag
from tidemill.schemas.errors import Unreadable
from tidemill.schemas.events.instrument import InstrumentDefined
from tidemill.streams.feeds.columns import Columns, decode_run
from tidemill.streams.feeds.feed import (
    Command,
    Instrument,
    Instruments,
    Malformed,
    Page,
    Poll,
    Said,
    Socket,
)

BUYER, SELLER = int(AggressorSide.BUYER), int(AggressorSide.SELLER)
FILLED, AGGREGATE = int(RecordFlag.FILLED), int(RecordFlag.AGGREGATE)
RPI = int(RecordFlag.RPI)
STREAMS_A_COMMAND = 200
INTERVALS_S = {
    "1s": 1, "1m": 60, "3m": 180, "5m": 300, "15m": 900, "30m": 1800, "1h": 3600, "2h": 7200,
    "4h": 14_400, "6h": 21_600, "8h": 28_800, "12h": 43_200, "1d": 86_400, "3d": 259_200,
    "1w": 604_800,
}  # fmt: skip
"""Lengths of klines; a month has none."""
QUOTE_ASSETS = (
    "FDUSD", "USDT", "USDC", "TUSD", "BUSD", "USDP", "AEUR", "EURI", "BIDR", "IDRT", "BVND", "USD1",
    "DOGE", "BTC", "ETH", "BNB", "XRP", "TRX", "SOL", "DOT", "DAI", "PAX", "VAI", "EUR", "TRY",
    "BRL", "JPY", "GBP", "AUD", "RUB", "UAH", "NGN", "ZAR", "PLN", "RON", "ARS", "MXN", "CZK",
    "COP", "IDR", "USD",
)  # fmt: skip
"""Assets that prices are in, for captures without definitions; the longest that fits is taken."""

Answer = Callable[[Columns, int, Any, Mapping[str, list[str]]], None]
"""Reads the body of a REST answer, received at a time, to a path with a query."""


class Binance(ABC):
    """Declarations and decoding of one product; `api` is the first part of its REST paths.

    `weights` are what requests cost by path (1 unless said), `depth_weights` those of a snapshot by
    its greatest limit; a minute may cost `weight_a_minute`.
    """

    venue: str
    product: ClassVar[str]
    sockets: ClassVar[tuple[Socket, ...]]
    api: ClassVar[str]
    weights: ClassVar[Mapping[str, float]]
    depth_weights: ClassVar[tuple[tuple[int, float], ...]]
    weight_a_minute: ClassVar[int]

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {
            f"{self.api}/depth": self._snapshot_of,
            f"{self.api}/trades": self._trades_of,
            f"{self.api}/historicalTrades": self._trades_of,
            f"{self.api}/aggTrades": self._agg_trades_of,
            f"{self.api}/exchangeInfo": self._definitions_of,
        }

    # what a product says of itself

    def raw(self, symbol: str) -> str:
        """What the venue calls our `symbol`."""
        return symbol

    def symbol(self, raw: str) -> str:
        """What we call the venue's `raw`."""
        return raw

    @property
    @abstractmethod
    def listing_paths(self) -> tuple[str, ...]:
        """The one path that answers all instruments."""

    @abstractmethod
    def definition(self, entry: Mapping[str, Any]) -> InstrumentDefined:
        """Return what one entry of exchangeInfo's ``symbols`` defines. Raises Unreadable."""

    # what to ask

    def subscriptions(
        self, socket: Socket, symbols: Sequence[str], first_id: int = 1
    ) -> list[Command]:
        """SUBSCRIBE commands of at most 200 streams each."""
        streams = [
            f"{self.raw(symbol).lower()}@{channel.name}"
            for symbol in symbols
            for channel in socket.channels
        ]
        chunks = [
            streams[at : at + STREAMS_A_COMMAND] for at in range(0, len(streams), STREAMS_A_COMMAND)
        ]
        return [
            Command(orjson.dumps({"method": "SUBSCRIBE", "params": chunk, "id": first_id + at}))
            for at, chunk in enumerate(chunks)
        ]

    def resubscriptions(
        self, socket: Socket, symbols: Sequence[str], first_id: int = 1
    ) -> list[Command]:
        """None: snapshots are REST's."""
        return []

    def polls(self, symbols: Sequence[str]) -> tuple[Poll, ...]:
        """None, unless a product has some."""
        return ()

    def time_path(self) -> str:
        """GET .../time."""
        return f"{self.api}/time"

    def weight(self, path: str) -> float:
        """Weights of the product's document."""
        url = urlsplit(path)
        if url.path == f"{self.api}/depth":
            limit = int(parse_qs(url.query).get("limit", ["100"])[0])
            return next((w for most, w in self.depth_weights if limit <= most), 1.0)
        return self.weights.get(url.path, 1.0)

    def used(self, headers: Mapping[str, str]) -> float | None:
        """The minute's weight that is used, of ``X-MBX-USED-WEIGHT-1M``."""
        weight = headers.get("X-MBX-USED-WEIGHT-1M", "")
        return int(weight) / self.weight_a_minute if weight.isdigit() else None

    # what was said

    def decode(
        self, received: Sequence[int], raws: Sequence[bytes], instruments: Instruments
    ) -> Said:
        """Decode a run of stream messages and REST answers."""
        return decode_run(self._read, received, raws, instruments)

    @abstractmethod
    def _read(self, columns: Columns, at: int, message: Any) -> None:
        """Read one message, received at position `at` of a run, into `columns`."""

    def _other(self, columns: Columns, at: int, message: Any, data: Any) -> None:
        """What is rare: klines, answers to commands and of REST, streams that are not used."""
        rest = columns.rest
        stream = message.get("stream", "")
        if stream.startswith("rest:"):
            self._answer(columns, at, stream.removeprefix("rest:"), data)
        elif stream and (type(data) is list or "lastUpdateId" in data):
            rest.ignored += 1  # of all symbols at once, or a part of a book
        elif (event := data.get("e")) is not None:
            self._event(columns, at, event, data)
        elif "result" in message and type(message.get("id")) is int:
            rest.acknowledged.append(message["id"])
        elif "error" in message or ("code" in data and "msg" in data):
            rest.refused.append(orjson.dumps(message.get("error", data)).decode())
        elif "lastUpdateId" not in data:
            self._bare(columns, at, data)
        elif len(known := columns.instruments.by_index) == 1:
            snapshot(columns, at, known[0], data)
        else:
            rest.ignored += 1

    def _event(self, columns: Columns, at: int, event: Any, data: Any) -> None:
        """An event of a stream that is not read in the product's own file."""
        if event == "kline":
            kline(columns, at, data)
        elif event == "aggTrade":
            agg_trade(columns, at, data)
        else:
            columns.rest.shutdown |= event == "serverShutdown"
            columns.rest.ignored += event != "serverShutdown"
            if "E" in data:
                columns.clocks.append((data["E"], at))

    def _answer(self, columns: Columns, at: int, path: str, data: Any) -> None:
        """A REST answer with the path that it answers."""
        url = urlsplit(path)
        answer = self.answers.get(url.path)
        if type(data) is dict and "code" in data and "msg" in data:
            columns.rest.refused.append(f"{path}: {data['code']} {data['msg']}")
        elif answer is not None:
            answer(columns, at, data, parse_qs(url.query))
        else:
            self._bare(columns, at, data)

    def _bare(self, columns: Columns, at: int, data: Any) -> None:
        """A REST answer that is known by its fields."""
        if "symbols" in data:
            self._define(columns, at, data)
        elif "serverTime" in data:
            columns.clocks.append((data["serverTime"], at))
        else:
            raise Unreadable("it is no message of this venue that is known")

    def _snapshot_of(
        self, columns: Columns, at: int, data: Any, query: Mapping[str, list[str]]
    ) -> None:
        snapshot(columns, at, columns.instruments.of(query["symbol"][0]), data)

    def _trades_of(
        self, columns: Columns, at: int, data: Any, query: Mapping[str, list[str]]
    ) -> None:
        instrument = columns.instruments.of(query["symbol"][0])
        index = instrument.index
        rows = [
            (
                index, at, t["id"], t["price"], t["qty"], t["time"], taker(t["isBuyerMaker"]),
                FILLED | (RPI if t.get("isRPITrade") else 0),
            )
            for t in data
        ]  # fmt: skip
        if is_own(instrument, "trade"):
            columns.trades += rows
        else:
            columns.rest.ignored += 1

    def _agg_trades_of(
        self, columns: Columns, at: int, data: Any, query: Mapping[str, list[str]]
    ) -> None:
        instrument = columns.instruments.of(query["symbol"][0])
        index, flags = instrument.index, FILLED | AGGREGATE
        rows = [
            (index, at, t["a"], t["p"], t["q"], t["T"], taker(t["m"]), flags | retail(t))
            for t in data
        ]
        if is_own(instrument, "aggTrade"):
            columns.trades += rows
        else:
            columns.rest.ignored += 1

    def _definitions_of(
        self, columns: Columns, at: int, data: Any, query: Mapping[str, list[str]]
    ) -> None:
        self._define(columns, at, data)
        if "symbol" not in query and "symbols" not in query:
            names = frozenset(self.symbol(e["symbol"]) for e in data["symbols"])
            columns.rest.listed.append(Page(self.listing_paths[0], names))

    def _define(self, columns: Columns, at: int, data: Any) -> None:
        """Define what is wanted: one that is not understood spares the others."""
        for entry in data["symbols"]:
            if not columns.instruments.wants(self.symbol(entry["symbol"])):
                continue
            try:
                columns.instruments.define(self.definition(entry))
            except (KeyError, TypeError, ValidationError, Unreadable) as error:
                reason = f"{type(error).__name__}: {error}"
                columns.rest.malformed.append(Malformed(at, orjson.dumps(entry), reason))


def is_own(instrument: Instrument, channel: str) -> bool:
    """Whether an instrument's trades are those of `channel`: of two, those that came first."""
    if not instrument.trade_channel:
        instrument.trade_channel = channel
    return instrument.trade_channel == channel


def is_change(message: Mapping[str, Any]) -> bool:
    """Whether a depthUpdate is a change of the whole book; partial and RPI books look the same."""
    stream = message.get("stream")
    return stream is None or "@depth@" in stream or stream.endswith("@depth")


def taker(buyer_is_maker: Any) -> int:
    """Who took liquidity."""
    if type(buyer_is_maker) is not bool:
        raise Unreadable("m is not true or false")
    return SELLER if buyer_is_maker else BUYER


def agg_trade(columns: Columns, at: int, data: Any) -> None:
    """Fills of one taker at one price, under an id of their own that counts up by one."""
    row = data["a"], data["p"], data["q"], data["T"], taker(data["m"])
    instrument = columns.instruments.of(data["s"])
    clock, flags = data["E"], AGGREGATE | retail(data)
    if is_own(instrument, "aggTrade"):
        columns.trades.append((instrument.index, at, *row, flags))
    else:
        columns.rest.ignored += 1
    columns.clocks.append((clock, at))


def retail(trade: Any) -> int:
    """RPI where an aggregate's normal quantity (``nq``, of contracts) is less than all of it."""
    normal, quantity = trade.get("nq"), trade["q"]
    if normal is None or normal == quantity:
        return 0
    try:
        return RPI if Decimal(normal) != Decimal(quantity) else 0
    except ArithmeticError as error:
        raise Unreadable(f"{normal!r} or {quantity!r} is no quantity") from error


def snapshot(columns: Columns, at: int, instrument: Instrument, data: Any) -> None:
    """A whole book as REST answers it."""
    last = data["lastUpdateId"]
    bids, asks, time = data["bids"], data["asks"], data.get("T")
    columns.books.append((instrument.index, at, time, last, last, -1, bids, asks, True, True, None))


def kline(columns: Columns, at: int, data: Any) -> None:
    """A bar of the venue's; only a closed one is kept."""
    clock, bar = data["E"], data["k"]
    index = columns.instruments.of(data["s"]).index
    interval_s = INTERVALS_S.get(bar["i"])
    if bar["x"] is True and interval_s is not None:
        prices = bar["o"], bar["h"], bar["l"], bar["c"]
        row = (index, at, clock, bar["t"], interval_s, *prices, bar["v"], bar["q"], bar["n"])
        columns.venue_bars.append(row)
    else:
        columns.rest.ignored += 1
    columns.clocks.append((clock, at))


def filters_of(entry: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The filters of an entry of exchangeInfo by type."""
    return {f["filterType"]: f for f in entry["filters"]}


def plain(text: str) -> str:
    """A decimal without zeros at its end."""
    whole, dot, fraction = text.partition(".")
    fraction = fraction.rstrip("0")
    return f"{whole}.{fraction}" if dot and fraction else whole


def base_and_quote(raw: str) -> tuple[str, str] | None:
    """Split the venue's symbol at the longest quote asset that it ends with."""
    fitting = [q for q in QUOTE_ASSETS if raw.endswith(q) and len(raw) > len(q)]
    if not fitting or not raw.isascii() or not raw.isalnum() or not raw.isupper():
        return None
    quote = max(fitting, key=len)
    return raw[: -len(quote)], quote
