"""What a venue's protocol is to the exchange: the one class that a venue file implements.

The exchange (exchange.py) lets markets live and tells a protocol what happened; the protocol says
it in the venue's words. It gets

- what happened: `happened(market, what)` at once (trades, quotes, changes of the book with update
  ids that have no holes, liquidations); `beat(period_us, now_us)` for what is sent on a beat (depth
  updates: `depth.Window` or `depth.View`; bars: `market.history.klines`; contracts:
  `market.contract.values`); `opened` and `changed` for a listing, a halt, a delisting;
- snapshots: `self.snapshot(market, levels)`, never `market.depth`, so that stale ones can be asked
  for. Where messages carry numbers of their own (Bybit's u), `market.record.name(channel, number,
  update_id)` lets a test ask for the book that a message left behind;
- trades of the past: `market.history`;
- clients: `self.hub` (subscribe, unsubscribe; `publish` a rendered message to all listeners of a
  stream, `publish_to` one). Every message of a stream goes through it with its `Topic`: it does the
  faults, and a protocol knows nothing of them, checksums and snapshots included;
- requests: `answer` a message of a client, `rest` a GET, `refusal` of one too many.

Its markets are in `self.markets` by the venue's own symbols; `symbol` makes those. A venue file
ends with its protocol classes (where products have the same stream names, as Bybit's, one class and
so one hub each); one line in venues.py lists them.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple
from urllib.parse import parse_qsl

import orjson

from tidemill.deploy.exchange.faults import Faults, Topic
from tidemill.deploy.exchange.limits import Limits, Meter, Verdict
from tidemill.deploy.exchange.market import Happened, Market
from tidemill.deploy.exchange.record import Book
from tidemill.deploy.exchange.sessions import CountedConnection, Hub, Session
from tidemill.deploy.exchange.symbols import Symbol
from tidemill.processors.kernels.order_book import BUY, SELL


class Request(NamedTuple):
    """A REST request: `query` is still encoded; `headers` are asked without regard to case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    ip: str

    @property
    def fields(self) -> dict[str, str]:
        """The query's names and values, decoded; of several values of a name the last."""
        return dict(parse_qsl(self.query, keep_blank_values=True))


@dataclass(frozen=True)
class Answer:
    """An answer to a REST request; `body` is JSON bytes, or what becomes them."""

    body: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    def data(self) -> bytes:
        """The body as bytes."""
        return self.body if isinstance(self.body, bytes) else orjson.dumps(self.body)


@dataclass(frozen=True)
class Floor:
    """What the protocols of one exchange share: the venue's name, its clock (UTC microseconds,
    never going back), the faults that are armed, and limits that replace the venue's own."""

    venue: str
    now_us: Callable[[], int]
    faults: Faults
    limits: Limits | None = None


class Protocol(ABC):
    """One venue's words for some of its products, on one port with the venue's others."""

    products: ClassVar[tuple[str, ...]]
    limits: ClassVar[Limits]
    beats_us: ClassVar[tuple[int, ...]] = (100_000, 1_000_000)

    def __init__(self, floor: Floor) -> None:
        self.floor = floor
        self.hub = Hub(floor.faults)
        self.markets: dict[str, Market] = {}
        self.allowed = floor.limits or self.limits
        self.meter = Meter(self.allowed)

    # what is traded

    @abstractmethod
    def symbol(self, name: str, product: str) -> Symbol:
        """Our `name` (BTCUSDT) as the venue lists it. Raises Unreadable."""

    def opened(self, market: Market) -> None:
        """A market was listed, at the start or while clients are connected."""
        self.markets[market.symbol.raw] = market

    def changed(self, market: Market) -> None:
        """A market's status changed; a delisted one is forgotten by REST and streams."""
        if market.status == "DELISTED":
            self.markets.pop(market.symbol.raw, None)

    # what happens

    @abstractmethod
    def happened(self, market: Market, what: Happened) -> None:
        """Send what happened at once, and keep what is sent on a beat."""

    @abstractmethod
    def beat(self, period_us: int, now_us: int) -> None:
        """Send what is due now that the clock has passed a multiple of `period_us`, one of
        `beats_us`. Beats that a busy process missed are not made up for."""

    # sockets

    @abstractmethod
    def serves_socket(self, path: str) -> bool:
        """Whether a WebSocket may be opened at this path (without query)."""

    def session(self, connection: CountedConnection, target: str) -> Session:
        """The session of a new connection; `target` is path and query."""
        return Session(connection)

    def connected(self, session: Session, target: str) -> None:
        """A connection was opened: subscribe what its target says. ValueError closes it (1008)."""
        return None

    @abstractmethod
    def answer(self, session: Session, message: str | bytes) -> Iterable[str]:
        """Do what a client's message says; the texts to answer with."""

    # REST

    @abstractmethod
    def serves_rest(self, path: str) -> bool:
        """Whether there is anything at this path."""

    def weight(self, request: Request) -> int:
        """What a request costs, whether it succeeds or not."""
        return 1

    @abstractmethod
    def rest(self, request: Request, verdict: Verdict) -> Answer:
        """Answer a request; errors are answers, too. `verdict` says how much was used before."""

    @abstractmethod
    def refusal(self, request: Request, verdict: Verdict) -> Answer:
        """Answer a request that is one too many, or a handshake (verdict.connections)."""

    # for protocols to use

    def topic(self, market: Market, stream: str, channel: str) -> Topic:
        """The topic of a stream of one market; `channel` is one of faults.CHANNELS."""
        symbol = market.symbol
        return Topic(stream, channel, symbol.product, symbol.name, symbol.raw)

    def snapshot(self, market: Market, levels: int) -> Book:
        """The best `levels` of a market's book; an older book where a fault asks for one."""
        topic = self.topic(market, "snapshot", "book")
        rule = self.floor.faults.of_request("stale", topic=topic)
        if rule is not None:
            oldest = market.record.oldest_id
            book = market.record.at(max(oldest, market.update_id - rule.behind))
            assert book is not None, "the record reaches from its oldest update to now"
            return Book(book.update_id, book.bids[:levels], book.asks[:levels])
        return Book(market.update_id, market.depth(BUY, levels), market.depth(SELL, levels))
