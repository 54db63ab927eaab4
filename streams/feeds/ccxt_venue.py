"""Any exchange that ccxt knows, by the bridge process of `ccxt_bridge.py`: trades, quotes, bars.

The bridge speaks one protocol for all of them; this is its venue file. Nothing here imports ccxt.
`raw` names are ccxt's unified symbols (BTC/USDT, BTC/USDT:USDT); ours have dashes for their marks.

- Trades are SESSION: ccxt's ids prove nothing across exchanges. A trade is known by 64 bits of its
  id (of its values, where there is none); its `trade_id` is its time in ms, which several share.
  The bridge ends the connection whenever ccxt reports that the exchange's own was lost.
- Quotes are CONFLATED: the best levels of ccxt's order book. Books themselves are not published:
  whether what ccxt merged is the exchange's book cannot be proven here.
- Bars are those of spot that the exchange answers a little after a minute has ended, so that the
  trades of that minute are held against them. Volumes of contracts are in units that ccxt does not
  tell: their bars are not asked for.
- Prices and quantities are the decimal texts that the exchange sent, where ccxt keeps them.

    {"stream":"trades","symbol":"BTC/USDT","data":[{"id":"17","timestamp":1597026383085,
     "price":"42219.9","amount":"0.12","side":"buy"}]}
    {"stream":"quote","symbol":"BTC/USDT","data":{"id":4,"timestamp":1597026383085,
     "bid":["42219.8","1"],"ask":["42219.9","2"]}}
    {"stream":"bars","symbol":"BTC/USDT","data":[[1597026360000,"42219.9","42220","42219","42219.5",
     "3.2"]]}
    {"markets":[{"symbol":"BTC/USDT","base":"BTC","quote":"USDT","settle":null,"type":"spot",
     "inverse":false,"active":true,"tick":"0.1","lot":"0.00001","contract":"1","expiry":null}]}
"""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import orjson
from pydantic import ValidationError

from tidemill.schemas.enums import AggressorSide, RecordFlag
from tidemill.schemas.errors import Unreadable
from tidemill.schemas.events.instrument import InstrumentDefined
from tidemill.streams.feeds.columns import WRONG, Columns, decode_run
from tidemill.streams.feeds.feed import (
    Channel,
    Command,
    Endpoints,
    Instrument,
    Instruments,
    Limits,
    Malformed,
    Overlap,
    Page,
    Poll,
    Proof,
    Said,
    Socket,
)

PRODUCT = "CCXT"
MARKETS = "/markets"
KINDS = {"spot": "SPOT", "swap": "PERPETUAL", "future": "FUTURE"}
TAKERS = {
    "buy": int(AggressorSide.BUYER),
    "sell": int(AggressorSide.SELLER),
    None: int(AggressorSide.NO_AGGRESSOR),
}
FILLED = int(RecordFlag.FILLED)
MINUTE_MS = 60_000
PLACES = 8
"""Decimals of prices and quantities, where an exchange does not say that it has more."""
PLACES_MAX = 18


class CcxtVenue:
    """The venue file of one exchange by ccxt; `venue` is its id in capitals, as KRAKEN."""

    product = PRODUCT
    overlap = Overlap()
    endpoints = Endpoints("ws://127.0.0.1:7480", "http://127.0.0.1:7480")
    limits = Limits(
        streams_max=200,
        commands_per_s=10.0,
        life_s=7 * 86_400.0,
        message_bytes_max=4 << 20,
        trades_a_request=500,
        requests_per_s=2.0,
    )
    sockets = (
        Socket(
            "bridge",
            (
                Channel("trades", "trade", Proof.SESSION),
                Channel("quote", "quote", Proof.CONFLATED),
                Channel("bars", "venue_bar", Proof.CONFLATED),
            ),
        ),
    )

    def __init__(self, venue: str) -> None:
        self.venue = venue

    def url(self, endpoint: str, socket: Socket) -> str:
        """``/stream`` of the bridge."""
        return f"{endpoint.rstrip('/')}/stream"

    def subscriptions(
        self, socket: Socket, symbols: Sequence[str], first_id: int = 1
    ) -> list[Command]:
        """One command for all `symbols`; the bridge knows them by our names, too."""
        return [Command(orjson.dumps({"id": first_id, "subscribe": list(symbols)}))]

    def resubscriptions(
        self, socket: Socket, symbols: Sequence[str], first_id: int = 1
    ) -> list[Command]:
        """None: there are no books."""
        return []

    def snapshot_path(self, symbol: str) -> None:
        """None: there are no books."""
        return

    def polls(self, symbols: Sequence[str]) -> tuple[Poll, ...]:
        """None."""
        return ()

    @property
    def listing_paths(self) -> tuple[str, ...]:
        """GET /markets."""
        return (MARKETS,)

    def definitions_path(self, symbols: Sequence[str]) -> None:
        """None: only all can be asked for."""
        return

    def trades_paths(self, symbol: str, first_id: int, count: int) -> tuple[str, ...]:
        """GET /trades: the newest ones."""
        return (f"/trades?symbol={quote(symbol, safe='')}",)

    def time_path(self) -> str:
        """GET /time."""
        return "/time"

    def weight(self, path: str) -> float:
        """Every request costs the same: ccxt paces them after the exchange's rules."""
        return 1.0

    def used(self, headers: Mapping[str, str]) -> float | None:
        """None: ccxt does not tell."""
        return None

    def infer(self, raw: str) -> InstrumentDefined | None:
        """Read pair and kind from a unified symbol, as BTC/USDT:USDT."""
        base, slash, rest = raw.partition("/")
        quoted, colon, settle = rest.partition(":")
        if not slash:
            return None
        market: dict[str, Any] = {"symbol": raw, "base": base, "quote": quoted}
        market["settle"] = settle or None
        market |= {"type": "swap" if colon else "spot", "inverse": bool(colon) and settle == base}
        try:
            return self._definition(market).model_copy(update={"source": "CAPTURE"})
        except Unreadable:
            return None

    def decode(
        self, received: Sequence[int], raws: Sequence[bytes], instruments: Instruments
    ) -> Said:
        """Decode a run of the bridge's messages and answers."""
        return decode_run(self._read, received, raws, instruments)

    def _read(self, columns: Columns, at: int, message: Any) -> None:
        stream = message.get("stream")
        if stream == "trades":
            instrument = _instrument(columns, message["symbol"])
            _trades(columns, at, instrument, message["data"], 0)
        elif stream == "quote":
            _quote(columns, at, _instrument(columns, message["symbol"]), message["data"])
        elif stream == "bars":
            _bars(columns, at, _instrument(columns, message["symbol"]), message["data"])
        elif "id" in message and "error" in message:
            columns.rest.refused.append(str(message["error"]))
        elif "id" in message:
            columns.rest.acknowledged.append(message["id"])
        elif str(stream).startswith("rest:"):
            self._answer(columns, at, message["stream"].removeprefix("rest:"), message["data"])
        else:
            raise Unreadable("it is no message of the bridge")

    def _answer(self, columns: Columns, at: int, path: str, body: Any) -> None:
        """A REST answer with the path that it answers."""
        url = urlsplit(path)
        if "error" in body:
            columns.rest.refused.append(f"{path}: {body['error']}")
        elif url.path == MARKETS:
            self._markets(columns, at, body["markets"])
        elif url.path == "/time":
            columns.clocks.append((body["time"], at))
        elif url.path == "/trades":
            symbol = parse_qs(url.query)["symbol"][0]
            known = columns.instruments.by_symbol.get(symbol)
            _trades(columns, at, known or _instrument(columns, symbol), body["trades"], FILLED)
        else:
            columns.rest.ignored += 1

    def _markets(self, columns: Columns, at: int, markets: Any) -> None:
        """Define those that are wanted; one that is not understood spares the others."""
        names = frozenset(symbol_of(market["symbol"]) for market in markets)
        for market in markets:
            if not columns.instruments.wants(symbol_of(market["symbol"])):
                continue
            try:
                columns.instruments.define(self._definition(market))
            except WRONG as error:
                reason = f"{type(error).__name__}: {error}"
                columns.rest.malformed.append(Malformed(at, orjson.dumps(market), reason))
        columns.rest.listed.append(Page(MARKETS, names))

    def _definition(self, market: Mapping[str, Any]) -> InstrumentDefined:
        """Return what one market is. Raises Unreadable, KeyError."""
        tick, lot = market.get("tick") or "0", market.get("lot") or "0"
        prices = max(PLACES, _places(tick))
        quantities = min(max(PLACES, _places(lot)), max(_places(lot), PLACES_MAX - prices))
        try:
            return InstrumentDefined.model_validate(
                {
                    "venue": self.venue,
                    "symbol": symbol_of(market["symbol"]),
                    "raw_symbol": market["symbol"],
                    "product": self.product,
                    "kind": KINDS[market["type"]],
                    "base": market["base"],
                    "quote": market["quote"],
                    "settle": market.get("settle") or "",
                    "inverse": bool(market.get("inverse")),
                    "status": "TRADING" if market.get("active", True) else "HALTED",
                    "price_exponent": -prices,
                    "quantity_exponent": -quantities,
                    "tick_size": tick,
                    "lot_size": lot,
                    "contract_multiplier": market.get("contract") or "1",
                    "ts_expires": (market.get("expiry") or 0) * 1_000_000,
                }
            )
        except ValidationError as error:
            raise Unreadable(f"{market['symbol']} has no valid definition: {error}") from error


def symbol_of(raw: str) -> str:
    """Return our name of a unified symbol: BTC/USDT:USDT is BTC-USDT-USDT."""
    return raw.replace("/", "-").replace(":", "-").upper()


def identity(trade: Mapping[str, Any], ordinal: int) -> int:
    """64 bits that tell a trade from the others of its instrument.

    Without an id its values do, and its `ordinal` among equal ones of a message.
    """
    text = trade.get("id")
    if not text:
        values = (trade["timestamp"], trade["price"], trade["amount"], trade["side"], ordinal)
        text = repr(values)
    return int.from_bytes(blake2b(str(text).encode(), digest_size=8).digest())


def _instrument(columns: Columns, raw: str) -> Instrument:
    return columns.instruments.by_raw.get(raw) or columns.instruments.of(raw)


def _trades(columns: Columns, at: int, instrument: Instrument, data: Any, flags: int) -> None:
    """Trades of one instrument, the oldest first."""
    equal: dict[Any, int] = {}
    rows, identities = [], []
    for trade in data:
        values = (trade["timestamp"], trade["price"], trade["amount"], TAKERS[trade["side"]])
        equal[values] = ordinal = equal.get(values, -1) + 1
        time, price, quantity, side = values
        rows.append((instrument.index, at, time, price, quantity, time, side, flags))
        identities.append(identity(trade, ordinal))
    columns.trades += rows
    columns.identities += identities
    if not flags:
        columns.clocks += [(row[5], at) for row in rows]


def _quote(columns: Columns, at: int, instrument: Instrument, data: Any) -> None:
    (bid, bid_quantity), (ask, ask_quantity) = (data[s] or ("0", "0") for s in ("bid", "ask"))
    columns.quotes.append(
        (
            instrument.index, at, data["id"], bid, bid_quantity, ask, ask_quantity,
            data["timestamp"],
        )
    )  # fmt: skip


def _bars(columns: Columns, at: int, instrument: Instrument, data: Any) -> None:
    """Closed 1-minute bars, [opened at ms, open, high, low, close, volume]; their time is their
    end."""
    columns.venue_bars += [
        (
            instrument.index, at, opened + MINUTE_MS, opened, MINUTE_MS // 1000, *prices, volume,
            None, None,
        )
        for opened, *prices, volume in data
    ]  # fmt: skip


def _places(text: str) -> int:
    return len(text.partition(".")[2].rstrip("0"))
