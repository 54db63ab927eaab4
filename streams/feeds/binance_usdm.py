"""Binance USD-M futures: trades, quotes, books, bars, mark and index price, funding, open interest.

After "USDⓈ-M Futures: Websocket Market Streams" with its "Important WebSocket Change Notice — Base
URL Split & Migration", "How to manage a local order book correctly", "Market Data Endpoints" and
the change log (developers.binance.com/docs/derivatives, newest entry 2026-10-23), read 2026-11-23:

- Since 2026-04-23 there are three paths: ``/public/stream`` carries bookTicker and depth,
  ``/market/stream`` aggTrade, markPrice, kline, forceOrder, ``/private`` is for accounts. A stream
  on the wrong path is acknowledged and stays silent. At most 1,024 streams and 24 hours a
  connection, 10 messages to it a second; the server pings every 3 minutes, its pong is due in 10.
- ``<symbol>@aggTrade``: every 100 ms, fills of one taker at one price under an id ``a`` that counts
  up by one: CONTIGUOUS. Insurance fund and ADL trades are in none. ``GET /fapi/v1/aggTrades`` with
  ``fromId`` fills holes without a key (weight 20, at most 1,000, of the last 2 days). ``nq`` (since
  2025-12-31) is ``q`` without what met RPI orders. The stream
  ``<symbol>@trade`` with single fills is in no document, and its fills by id need a key: it is
  read in captures (CONTIGUOUS by ``t``) but not asked for. Where a capture has both, the first
  heard counts.
- ``<symbol>@bookTicker``: best bid and offer with update id and times: CONFLATED.
- ``<symbol>@depth@100ms``: ``pu`` is the ``u`` of the message before: CONTIGUOUS. The snapshot
  ``GET /fapi/v1/depth?limit=1000`` (weight 20): buffered messages with ``u`` < ``lastUpdateId`` are
  dropped, the first one kept has ``U`` <= it. RPI orders are in neither. ``@depth20`` and
  ``@rpiDepth`` are other books with the same event: only the stream's name tells, they are ignored.
- ``<symbol>@markPrice@1s``: mark price ``p``, index price ``i``, funding rate ``r`` to be paid at
  ``T``; for dated futures ``r`` is empty and ``T`` 0. ``GET /fapi/v1/fundingInfo`` lists contracts
  whose funding interval is not 8 hours, or was changed.
- ``<symbol>@forceOrder``: the largest liquidation order of each second: CONFLATED.
- ``<symbol>@kline_1m`` as on spot. ``GET /fapi/v1/openInterest?symbol`` (weight 1): no stream
  says it.
- A minute may cost 2,400 weights (``X-MBX-USED-WEIGHT-1M`` tells).
- exchangeInfo (all contracts at once): ``contractType`` PERPETUAL, TRADIFI_PERPETUAL or a quarter
  or month; ``deliveryDate`` 4133404800000 is none, an earlier one of a perpetual its delisting.
  ``status``: TRADING; PENDING_TRADING, PRE_SETTLE, SETTLING and other pauses; CLOSE, DELIVERED. A
  contract's quantities are in base units. Mark, index and average prices have 8 decimals,
  quantities ``quantityPrecision``; three more are kept for orders older than a coarser step.
- Since 2026-06-30 (COIN-M integration) messages carry ``st`` (1: USD-M) and ``ps``, not needed.

Our symbols: BTCUSDT-PERP for BTCUSDT, BTCUSDT_260327 as it is.

    {"e":"aggTrade","E":1672515782136,"s":"BTCUSDT","a":5933014,"p":"0.001","q":"100","nq":"100",
     "f":100,"l":105,"T":1672515782134,"m":true,"st":1}
    {"e":"bookTicker","u":400900217,"E":1568014460893,"T":1568014460891,"s":"BNBUSDT",
     "b":"25.35190000","B":"31.21000000","a":"25.36520000","A":"40.66000000","ps":"BNBUSDT","st":1}
    {"e":"depthUpdate","E":1672515782136,"T":1672515782134,"s":"BTCUSDT","U":157,"u":160,"pu":149,
     "b":[["0.0024","10"]],"a":[["0.0026","100"]],"ps":"BTCUSDT","st":1}
    {"e":"markPriceUpdate","E":1562305380000,"s":"BTCUSDT","p":"11794.15000000",
     "i":"11784.62659091","P":"11784.25641265","r":"0.00038167","T":1562306400000,"st":1}
    {"e":"forceOrder","E":1568014460893,"o":{"s":"BTCUSDT","S":"SELL","o":"LIMIT","f":"IOC",
     "q":"0.014","p":"9910","ap":"9910","X":"FILLED","l":"0.014","z":"0.014","T":1568014460893}}
    {"openInterest":"10659.509","symbol":"BTCUSDT","time":1589437530011}
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from tidemill.schemas.book import BUY, SELL
from tidemill.schemas.enums import RecordFlag
from tidemill.schemas.errors import Unreadable
from tidemill.schemas.events.instrument import InstrumentDefined
from tidemill.streams.feeds.binance import (
    Binance,
    agg_trade,
    base_and_quote,
    filters_of,
    is_change,
    is_own,
    plain,
    taker,
)
from tidemill.streams.feeds.columns import Columns
from tidemill.streams.feeds.feed import Channel, Endpoints, Limits, Overlap, Poll, Proof, Socket

PERPETUAL_SUFFIX = "-PERP"
NO_DELIVERY_MS = 4_133_404_800_000
"""The delivery date of what is never delivered: the year 2100."""
FUNDING_INTERVAL_S = 8 * 3600
"""Of contracts that fundingInfo does not list."""
PRICE_EXPONENT = -8
SLACK_DECIMALS = 3
OPEN_INTEREST_S = 10.0
"""How often open interest is asked for, of up to 50 instruments; 5 requests a second of more."""
FUNDING_INFO_S = 600.0
SIDES = {"BUY": BUY, "SELL": SELL}
FORCED = {"INSURANCE_FUND": int(RecordFlag.LIQUIDATION), "ADL": int(RecordFlag.LIQUIDATION)}
"""Flags of fills that are no orders' of the market (`X` of the stream of single fills)."""
GONE = ("CLOSE", "DELIVERED")


class BinanceUsdm(Binance):
    """The venue file of Binance USD-M futures."""

    venue = "BINANCE"
    product = "USDM"
    api = "/fapi/v1"
    endpoints = Endpoints("wss://fstream.binance.com", "https://fapi.binance.com")
    sockets = (
        Socket(
            "public",
            (
                Channel("bookTicker", "quote", Proof.CONFLATED),
                Channel("depth@100ms", "book", Proof.CONTIGUOUS),
            ),
        ),
        Socket(
            "market",
            (
                Channel("aggTrade", "trade", Proof.CONTIGUOUS),
                Channel("markPrice@1s", "derivative", Proof.CONFLATED),
                Channel("kline_1m", "venue_bar", Proof.CONFLATED),
                Channel("forceOrder", "liquidation", Proof.CONFLATED),
            ),
        ),
    )
    overlap = Overlap(drop_below=0, first_at_most=0)
    limits = Limits(
        streams_max=1024,
        commands_per_s=8.0,
        life_s=23 * 3600.0,
        message_bytes_max=1 << 20,
        trades_a_request=1000,
        requests_per_s=24.0,
        burst_s=30.0,
    )
    weight_a_minute = 2400
    weights: ClassVar[Mapping[str, float]] = {
        "/fapi/v1/aggTrades": 20.0,
        "/fapi/v1/historicalTrades": 20.0,
        "/fapi/v1/trades": 5.0,
    }
    depth_weights = ((50, 2.0), (100, 5.0), (500, 10.0), (1000, 20.0))

    def __init__(self) -> None:
        super().__init__()
        self.answers["/fapi/v1/openInterest"] = _open_interest
        self.answers["/fapi/v1/fundingInfo"] = _funding_intervals

    def raw(self, symbol: str) -> str:
        """BTCUSDT for BTCUSDT-PERP."""
        return symbol.removesuffix(PERPETUAL_SUFFIX)

    def symbol(self, raw: str) -> str:
        """BTCUSDT-PERP for BTCUSDT; a dated future's name says its date already."""
        return raw if "_" in raw else raw + PERPETUAL_SUFFIX

    # what to ask

    def url(self, endpoint: str, socket: Socket) -> str:
        """Combined streams of `endpoint`, as wss://fstream.binance.com, on the socket's path."""
        return f"{endpoint.rstrip('/')}/{socket.name}/stream"

    def snapshot_path(self, symbol: str) -> str:
        """GET /fapi/v1/depth, as deep as there is."""
        return f"/fapi/v1/depth?symbol={self.raw(symbol)}&limit=1000"

    def polls(self, symbols: Sequence[str]) -> tuple[Poll, ...]:
        """Open interest of each one, and the funding intervals."""
        every_s = max(OPEN_INTEREST_S, len(symbols) / 5)
        paths = [f"/fapi/v1/openInterest?symbol={self.raw(symbol)}" for symbol in symbols]
        intervals = Poll("/fapi/v1/fundingInfo", FUNDING_INFO_S)
        return (*(Poll(path, every_s) for path in paths), intervals)

    @property
    def listing_paths(self) -> tuple[str, ...]:
        """GET /fapi/v1/exchangeInfo."""
        return ("/fapi/v1/exchangeInfo",)

    def definitions_path(self, symbols: Sequence[str]) -> None:
        """None: only all can be asked for."""
        return

    def trades_paths(self, symbol: str, first_id: int, count: int) -> tuple[str, ...]:
        """Aggregate trades from `first_id`, then the recent ones."""
        asked = f"/fapi/v1/aggTrades?symbol={self.raw(symbol)}"
        most = self.limits.trades_a_request
        return f"{asked}&fromId={first_id}&limit={min(count, most)}", f"{asked}&limit={most}"

    def definition(self, entry: Mapping[str, Any]) -> InstrumentDefined:
        """Return what one entry of exchangeInfo's ``symbols`` defines."""
        raw, filters = entry["symbol"], filters_of(entry)
        dated = "_" in raw
        delivery = entry["deliveryDate"]
        return InstrumentDefined(
            venue=self.venue,
            symbol=self.symbol(raw),
            raw_symbol=raw,
            product=self.product,
            kind="FUTURE" if dated else "PERPETUAL",
            base=entry["baseAsset"],
            quote=entry["quoteAsset"],
            settle=entry["marginAsset"],
            status=_status(entry["status"]),
            price_exponent=PRICE_EXPONENT,
            quantity_exponent=-min(8, entry["quantityPrecision"] + SLACK_DECIMALS),
            tick_size=plain(filters.get("PRICE_FILTER", {}).get("tickSize", "0")),
            lot_size=plain(filters.get("LOT_SIZE", {}).get("stepSize", "0")),
            min_notional=plain(filters.get("MIN_NOTIONAL", {}).get("notional", "0")),
            ts_listed=entry["onboardDate"] * 1_000_000,
            ts_expires=0 if delivery >= NO_DELIVERY_MS else delivery * 1_000_000,
        )

    def infer(self, raw: str) -> InstrumentDefined | None:
        """Split `raw` at the longest quote asset before its date."""
        name, dated, date = raw.partition("_")
        assets = base_and_quote(name)
        if assets is None or (dated and not (date.isascii() and date.isdigit())):
            return None
        return InstrumentDefined(
            venue=self.venue,
            symbol=self.symbol(raw),
            raw_symbol=raw,
            product=self.product,
            kind="FUTURE" if dated else "PERPETUAL",
            base=assets[0],
            quote=assets[1],
            settle=assets[1],
            source="CAPTURE",
        )

    # what was said

    def _read(self, columns: Columns, at: int, message: Any) -> None:
        data = message.get("data", message)
        event = data.get("e") if type(data) is dict else "rest"
        if event == "bookTicker":
            symbol, update_id, texts, time, clock = (
                data["s"], data["u"], (data["b"], data["B"], data["a"], data["A"]), data["T"],
                data["E"],
            )  # fmt: skip
            instrument = columns.instruments.by_raw.get(symbol) or columns.instruments.of(symbol)
            columns.quotes.append((instrument.index, at, update_id, *texts, time))
            columns.clocks.append((clock, at))
        elif event == "depthUpdate" and is_change(message):
            _depth(columns, at, data)
        elif event == "aggTrade":
            agg_trade(columns, at, data)
        elif event == "trade":
            _trade(columns, at, data)
        elif event == "markPriceUpdate":
            _mark_price(columns, at, data)
        elif event == "forceOrder":
            _liquidation(columns, at, data)
        else:
            self._other(columns, at, message, data)


def _depth(columns: Columns, at: int, data: Any) -> None:
    """A change of the book, which says what it follows."""
    symbol, first, last, previous, bids, asks, time, clock = (
        data["s"], data["U"], data["u"], data["pu"], data["b"], data["a"], data["T"], data["E"]
    )  # fmt: skip
    instrument = columns.instruments.by_raw.get(symbol) or columns.instruments.of(symbol)
    columns.books.append(
        (instrument.index, at, time, first, last, previous, bids, asks, False, False, None)
    )
    columns.clocks.append((clock, at))


def _trade(columns: Columns, at: int, data: Any) -> None:
    """A single fill, of a stream that no document names."""
    row = data["t"], data["p"], data["q"], data["T"], taker(data["m"])
    instrument = columns.instruments.of(data["s"])
    clock = data["E"]
    if is_own(instrument, "trade"):
        flags = FORCED.get(data.get("X", "MARKET"), 0)
        columns.trades.append((instrument.index, at, *row, flags))
    else:
        columns.rest.ignored += 1
    columns.clocks.append((clock, at))


def _mark_price(columns: Columns, at: int, data: Any) -> None:
    """Mark and index price and, of perpetuals, the funding to come."""
    clock, mark, index, rate, funding = data["E"], data["p"], data["i"], data["r"], data["T"]
    instrument = columns.instruments.of(data["s"])
    columns.derivatives.append(
        (instrument.index, at, clock, mark, index, rate or None, funding or None, None, None)
    )
    columns.clocks.append((clock, at))


def _liquidation(columns: Columns, at: int, data: Any) -> None:
    """A liquidation order."""
    order, clock = data["o"], data["E"]
    side = SIDES.get(order["S"])
    if side is None:
        raise Unreadable(f"{order['S']!r} is no side")
    columns.liquidations.append(
        (
            columns.instruments.of(order["s"]).index, at, order["T"], order["p"], order["ap"],
            order["q"], order["z"], side,
        )
    )  # fmt: skip
    columns.clocks.append((clock, at))


def _open_interest(columns: Columns, at: int, data: Any, query: Mapping[str, list[str]]) -> None:
    """Open interest, in base units."""
    interest, time = data["openInterest"], data["time"]
    index = columns.instruments.of(data["symbol"]).index
    columns.derivatives.append((index, at, time, None, None, None, None, None, interest))


def _funding_intervals(
    columns: Columns, at: int, data: Any, query: Mapping[str, list[str]]
) -> None:
    """The funding interval of every perpetual that is known; the answer has no time of its own."""
    changed = {entry["symbol"]: entry["fundingIntervalHours"] * 3600 for entry in data}
    columns.derivatives += [
        (
            instrument.index, at, at, None, None, None, None,
            changed.get(instrument.raw, FUNDING_INTERVAL_S), None,
        )
        for instrument in columns.instruments.by_index
        if instrument.definition.kind == "PERPETUAL"
    ]  # fmt: skip


def _status(status: str) -> Literal["TRADING", "HALTED", "DELISTED"]:
    if status == "TRADING":
        return "TRADING"
    return "DELISTED" if status in GONE else "HALTED"
