"""OKX v5: spot and perpetual swaps (and dated futures, which speak the same).

After OKX's API guide (www.okx.com/docs-v5/en, sections "Order Book Trading / Market Data" and
"Public Data" as of 2026-07-02 to 2026-08-09), its change log (www.okx.com/docs-v5/log_en), its
notice "OKX Order Book Channels Checksum Field Deprecation" of 2026-05-21, and what others saw live
from May to October 2026 (ccxt pull requests 28660 and 30299, Qubx 387); read on 2026-11-23:

- ``wss://ws.okx.com/ws/v5/public`` and ``/business``; port 8443 closed on 2026-10-31. At most 3
  connections a second an address; 480 subscribe, unsubscribe and login requests an hour and
  connection, each of at most 64 KB; less than 30 book channels a connection are recommended. A
  connection that is silent for 30 s is cut: the text ``ping`` is answered by the text ``pong``.
  ``{"event":"notice","code":"64008"}`` announces an end 60 s before (on business since 2026-06).
  Each argument of a command is acknowledged on its own, with the command's id (alphanumeric).
- ``trades-all`` (business): one trade a record, ``tradeId`` counts up by one for each instrument:
  CONTIGUOUS. ``trades`` (public) is one record a taker order, price and source: ``tradeId`` is the
  last of ``count`` ids ("tradeId = 123 and count = 3 ... aggregates 123, 122 and 121"); understood,
  for captures, as a range of ids. ``source`` 1 met an order of the Enhanced Liquidity Program,
  called RPI since July 2026. ``GET /api/v5/market/history-trades?type=1&after=<id>`` answers
  at most 100 trades below an id (20 requests in 2 s), ``/api/v5/market/trades`` the newest 500.
- ``books``: 400 levels; a snapshot on subscribing (``prevSeqId`` -1), then the changes, every 100
  ms; a change follows the message whose ``seqId`` is its ``prevSeqId``. Without a change for 60 s
  an empty one says that the connection lives (``seqId`` = ``prevSeqId``). After maintenance one
  change has ``seqId`` < ``prevSeqId``, and the numbers go on from there. ``checksum`` is 0 in
  production since 2026-06-23 and was absent in October: one that is there and not 0 is compared
  with the book (CRC32 of the best 25 levels, bid and ask in turn, ``price:quantity`` joined by
  colons, as written). Messages from before 2023 have no ids: their checksums alone prove them.
  That the snapshot would be withdrawn, too (change log of 2026-02-12, for August 2026), has not
  come true: it was still sent in September and October. What the log describes for that case is
  understood: ``GET /api/v5/market/books?sz=400`` answers a snapshot with its ``seqId``.
- ``bbo-tbt``: best bid and offer every 10 ms, with the book's ``seqId``: CONFLATED. (``tickers``,
  every 100 ms and without an id, are understood for captures; their id is their time.)
- ``candle1m`` (business): ``confirm`` "1" is a closed bar. ``vol`` is in our quantities (contracts
  of derivatives), ``volCcyQuote`` in the quote currency.
- ``funding-rate`` (every 30 to 90 s): ``fundingRate`` is paid at ``fundingTime``; the interval is
  ``nextFundingTime`` - ``fundingTime``. ``mark-price``, ``index-tickers`` (of the index, as
  BTC-USDT), ``open-interest`` (``oi`` in contracts, every 3 s). ``liquidation-orders`` is of all
  instruments of a type, only some of the liquidations, and not in order of time.
- ``instruments`` of a type: those that change. Quantities of derivatives are contracts of
  ``ctVal`` x ``ctMult`` ``ctValCcy``: base of linear, quote (USD) of inverse ones.

    {"arg":{"channel":"trades-all","instId":"BTC-USDT"},"data":[{"instId":"BTC-USDT",
     "tradeId":"130639474","px":"42219.9","sz":"0.12060306","side":"buy","source":"0",
     "ts":"1630048897897"}]}
    {"arg":{"channel":"books","instId":"BTC-USDT"},"action":"update","data":[{"asks":[["8476.98",
     "415","0","13"]],"bids":[],"ts":"1597026383085","checksum":0,"prevSeqId":123456,
     "seqId":123457}]}

A REST answer in a capture is ``{"stream":"rest:<path and query>","data":<body>}``. What messages
say is read in `okx_messages.py`, what instruments are in `okx_instruments.py`.
"""

from collections.abc import Iterable, Mapping, Sequence

import orjson

from tidemill.schemas.events.instrument import InstrumentDefined
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
from tidemill.streams.feeds.okx_instruments import inferred, listing_path
from tidemill.streams.feeds.okx_messages import Reader

BY_TYPE = ("instruments", "liquidation-orders")
"""Channels that are subscribed for a type of instrument, not for each."""
ARGUMENTS_A_COMMAND = 500
"""About 30 KB; 64 are allowed."""
WEIGHTS = {"/api/v5/market/trades": 0.2, "/api/v5/market/books": 0.5, "/api/v5/public/time": 2.0}
"""OKX counts requests for each path; 1 stands for those that may be asked 20 times in 2 s."""
_PING, _PONG = b"ping", b"pong"
_BOOKS = (
    Channel("books", "book", Proof.CONTIGUOUS),
    Channel("bbo-tbt", "quote", Proof.CONFLATED),
)
_INSTRUMENTS = (Channel("instruments", "instrument", Proof.CONFLATED),)
_OF_CONTRACTS = (
    Channel("mark-price", "derivative", Proof.CONFLATED),
    Channel("open-interest", "derivative", Proof.CONFLATED),
    Channel("liquidation-orders", "liquidation", Proof.CONFLATED),
    *_INSTRUMENTS,
)
_OF_SWAPS = (
    Channel("funding-rate", "derivative", Proof.CONFLATED),
    Channel("index-tickers", "derivative", Proof.CONFLATED),
)
_BUSINESS = Socket(
    "business",
    (
        Channel("trades-all", "trade", Proof.CONTIGUOUS),
        Channel("candle1m", "venue_bar", Proof.CONFLATED),
    ),
    _PING,
)
SOCKETS = {
    "SPOT": (Socket("public", (*_BOOKS, *_INSTRUMENTS), _PING), _BUSINESS),
    "SWAP": (
        Socket("public", _BOOKS, _PING),
        Socket("derivatives", (*_OF_SWAPS, *_OF_CONTRACTS), _PING),
        _BUSINESS,
    ),
    "FUTURES": (
        Socket("public", _BOOKS, _PING),
        Socket("derivatives", _OF_CONTRACTS, _PING),
        _BUSINESS,
    ),
}


class Okx:
    """The venue file of one `product` of OKX: SPOT, SWAP or FUTURES."""

    venue = "OKX"
    overlap = Overlap(drop_below=1, first_at_most=1)
    endpoints = Endpoints("wss://ws.okx.com", "https://openapi.okx.com")
    limits = Limits(
        streams_max=56,
        commands_per_s=2.0,
        life_s=23 * 3600.0,
        message_bytes_max=8 << 20,
        trades_a_request=100,
        requests_per_s=5.0,
        burst_s=2.0,
        commands_an_hour=480,
        connections=(3, 1.0),
    )

    def __init__(self, product: str) -> None:
        self.product = product
        self.sockets = SOCKETS[product]
        self._reader = Reader(product)

    def url(self, endpoint: str, socket: Socket) -> str:
        """``/ws/v5/business`` or ``/ws/v5/public`` of `endpoint`, as wss://ws.okx.com."""
        path = "business" if socket.name == "business" else "public"
        return f"{endpoint.rstrip('/')}/ws/v5/{path}"

    def subscriptions(
        self, socket: Socket, symbols: Sequence[str], first_id: int = 1
    ) -> list[Command]:
        """Subscribe commands of at most 500 arguments; each argument is answered."""
        return _commands("subscribe", self._arguments(socket.channels, symbols), first_id)

    def resubscriptions(
        self, socket: Socket, symbols: Sequence[str], first_id: int = 1
    ) -> list[Command]:
        """Unsubscribe and subscribe the books of `symbols`: subscribing sends a snapshot."""
        books = [channel for channel in socket.channels if channel.kind == "book"]
        away = _commands("unsubscribe", self._arguments(books, symbols), first_id)
        again = self._arguments(books, symbols)
        return away + _commands("subscribe", again, first_id + len(away))

    def _arguments(
        self, channels: Sequence[Channel], symbols: Sequence[str]
    ) -> Iterable[dict[str, str]]:
        for channel in channels:
            if channel.name in BY_TYPE:
                yield {"channel": channel.name, "instType": self.product}
            elif channel.name == "index-tickers":
                indices = (symbol.removesuffix("-SWAP") for symbol in symbols)
                yield from ({"channel": channel.name, "instId": i} for i in indices if "_" not in i)
            else:
                yield from ({"channel": channel.name, "instId": symbol} for symbol in symbols)

    def snapshot_path(self, symbol: str) -> None:
        """None: the socket sends snapshots."""
        return

    def polls(self, symbols: Sequence[str]) -> tuple[Poll, ...]:
        """None: the sockets say everything."""
        return ()

    @property
    def listing_paths(self) -> tuple[str, ...]:
        """GET /api/v5/public/instruments of all of the product."""
        return (listing_path(self.product),)

    def definitions_path(self, symbols: Sequence[str]) -> None:
        """None: one alone or all can be asked for."""
        return

    def trades_paths(self, symbol: str, first_id: int, count: int) -> tuple[str, ...]:
        """Trades below an id, then the newest ones."""
        limit = min(count, self.limits.trades_a_request)
        path = f"/api/v5/market/history-trades?instId={symbol}&type=1"
        return (
            f"{path}&after={first_id + limit}&limit={limit}",
            f"/api/v5/market/trades?instId={symbol}&limit=500",
        )

    def time_path(self) -> str:
        """GET /api/v5/public/time."""
        return "/api/v5/public/time"

    def weight(self, path: str) -> float:
        """What it costs of the 5 a second that are asked in all."""
        return WEIGHTS.get(path.partition("?")[0], 1.0)

    def used(self, headers: Mapping[str, str]) -> float | None:
        """None: OKX tells no budget."""
        return None

    def infer(self, raw: str) -> InstrumentDefined | None:
        """Read pair and kind from an instrument id, as BTC-USDT-SWAP."""
        return inferred(self.product, raw)

    def decode(
        self, received: Sequence[int], raws: Sequence[bytes], instruments: Instruments
    ) -> Said:
        """Decode a run of stream messages and REST answers."""
        if _PONG not in raws:
            return decode_run(self._reader.read, received, raws, instruments)
        kept = [at for at, raw in enumerate(raws) if raw != _PONG]
        said = Said()
        if kept:
            times, messages = [received[at] for at in kept], [raws[at] for at in kept]
            said = decode_run(self._reader.read, times, messages, instruments)
        said.ignored += len(raws) - len(kept)
        return said


def _commands(op: str, arguments: Iterable[dict[str, str]], first_id: int) -> list[Command]:
    each = list(arguments)
    commands: list[Command] = []
    for start in range(0, len(each), ARGUMENTS_A_COMMAND):
        some = each[start : start + ARGUMENTS_A_COMMAND]
        payload = {"id": str(first_id + len(commands)), "op": op, "args": some}
        commands.append(Command(orjson.dumps(payload), len(some)))
    return commands
