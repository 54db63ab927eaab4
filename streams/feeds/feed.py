"""What a venue file declares, and what it makes of raw messages.

A venue file (one per venue and product) is declarations and pure decoding: no clock, no socket. The
one loop of `websocket.py` and the one player of `replay.py` call the same `decode`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from tidemill.schemas.book import LEVEL
from tidemill.schemas.errors import Unreadable
from tidemill.schemas.events.instrument import InstrumentDefined
from tidemill.schemas.frame import Kind
from tidemill.schemas.identifiers import ALL, partition
from tidemill.streams import subjects

Records = NDArray[np.void]
"""Records (N,) of one kind's current dtype."""


class Proof(StrEnum):
    """How a channel proves that it is complete."""

    CONTIGUOUS = "CONTIGUOUS"  # ids prove every record
    SESSION = "SESSION"  # complete while one connection lives
    CONFLATED = "CONFLATED"  # latest value, freshness only


class Channel(NamedTuple):
    """One channel of a venue: its name there, the kind it becomes, and its proof."""

    name: str
    kind: str
    proof: Proof


class Socket(NamedTuple):
    """One kind of connection of a venue, and what it carries.

    `keep_alive` is sent every `keep_alive_s` seconds where the venue wants to hear from us; empty:
    the protocol's own pings are enough.
    """

    name: str
    channels: tuple[Channel, ...]
    keep_alive: bytes = b""
    keep_alive_s: float = 20.0


class Command(NamedTuple):
    """One command to a venue; `answers` acknowledgements of its id say that it is done."""

    payload: bytes
    answers: int = 1


class Poll(NamedTuple):
    """A REST path that is asked every `every_s` seconds, for what no socket says."""

    path: str
    every_s: float


class Overlap(NamedTuple):
    """How a venue's changes meet its REST snapshot, of last update id L.

    Changes with last_update_id < L + `drop_below` vanish; the first one kept must have
    first_update_id <= L + `first_at_most`. Binance spot: 1, 1; Binance USD-M: 0, 0.
    """

    drop_below: int = 1
    first_at_most: int = 1


class Endpoints(NamedTuple):
    """Where a venue is: scheme, host and port of its WebSocket and of its REST interface."""

    websocket: str
    rest: str


class Limits(NamedTuple):
    """What a venue allows a client; the loop stays below.

    `streams_max` subscriptions a connection; `requests_per_s` is in weights where the venue weighs
    its requests (`Venue.weight`), `burst_s` of it may be asked at once after a quiet time.
    `commands_an_hour` are those that subscribe or unsubscribe, of one connection. `connections` are
    how many an address may open in how many seconds.
    """

    streams_max: int
    commands_per_s: float
    life_s: float
    message_bytes_max: int
    trades_a_request: int
    requests_per_s: float
    burst_s: float = 5.0
    commands_an_hour: int | None = None
    connections: tuple[int, float] | None = None


class Instrument:
    """One instrument of a feed as its definition says it is now, and where its facts travel.

    `trade_channel` is the venue's channel that its trades come from, once heard: where a venue has
    several, the ids of one do not continue those of another.
    """

    def __init__(self, index: int, definition: InstrumentDefined) -> None:
        self.index = index
        self.trade_channel = ""
        self.define(definition)

    def define(self, definition: InstrumentDefined) -> None:
        """Take a new definition: exponents may change, the pair may not."""
        self.definition = definition
        self._subjects: dict[str, str] = {}
        self.symbol = definition.symbol
        self.raw = definition.raw
        self.exponents = (definition.price_exponent, definition.quantity_exponent)
        self.partition = partition(definition.pair)

    def subject(self, kind: str) -> str:
        """Return ``md.<kind>.<VENUE>.<SYMBOL>.<pp>``."""
        known = self._subjects.get(kind)
        if known is None:
            known = subjects.md(kind, self.definition.venue, self.symbol, self.partition)
            self._subjects[kind] = known
        return known


class Instruments:
    """The instruments of a feed by symbol and by index; decoded records name them by index.

    Venues name them by their raw symbols (`by_raw`), which differ from ours for some products.
    `fresh` are definitions that said something new, to be appended before any record. `infer` makes
    a definition of an unknown symbol, where that is allowed; `wanted` limits what is defined.
    """

    def __init__(
        self,
        infer: Callable[[str], InstrumentDefined | None] | None = None,
        wanted: frozenset[str] | None = None,
    ) -> None:
        self.by_symbol: dict[str, Instrument] = {}
        self.by_raw: dict[str, Instrument] = {}
        self.by_index: list[Instrument] = []
        self.fresh: list[InstrumentDefined] = []
        self._infer = infer
        self._wanted = wanted
        self._exponents: NDArray[np.int8] | None = None

    @property
    def exponents(self) -> NDArray[np.int8]:
        """Exponents (I, 2) of the prices and quantities of every instrument, by index."""
        if self._exponents is None:
            each = [instrument.exponents for instrument in self.by_index]
            self._exponents = np.array(each, np.int8).reshape(-1, 2)
        return self._exponents

    def knows(self, symbol: str) -> bool:
        """Whether `symbol` is defined."""
        return symbol in self.by_symbol

    def wants(self, symbol: str) -> bool:
        """Whether `symbol` is one that this feed defines."""
        return self._wanted is None or symbol in self._wanted

    def limit(self, wanted: Iterable[str]) -> None:
        """Define only `wanted` from now on."""
        self._wanted = frozenset(wanted)

    def define(self, definition: InstrumentDefined) -> None:
        """Take a definition; note it if it says anything new."""
        known = self.by_symbol.get(definition.symbol)
        if known is None:
            known = Instrument(len(self.by_index), definition)
            self.by_symbol[definition.symbol] = known
            self.by_index.append(known)
        elif known.definition == definition:
            return
        else:
            self.by_raw.pop(known.raw, None)
            known.define(definition)
        self.by_raw[known.raw] = known
        self.fresh.append(definition)
        self._exponents = None

    def of(self, raw: str) -> Instrument:
        """Return the instrument that the venue calls `raw`; infer it where that is allowed.

        Raises Unreadable where none is known or inferred.
        """
        if raw not in self.by_raw and self._infer is not None:
            definition = self._infer(raw)
            if definition is not None:
                self.define(definition)
        known = self.by_raw.get(raw)
        if known is None:
            raise Unreadable(f"symbol {raw!r} is not defined")
        return known


class Decoded(NamedTuple):
    """Records of one kind of several instruments, in the order received.

    `owners` (N,) intp is the index of each one's instrument; `records` (N,) of the kind's dtype.
    """

    owners: NDArray[np.intp]
    records: Records


BOOK_MESSAGE = np.dtype(
    [
        ("ts_event", "<i8"),
        ("ts_recv", "<i8"),
        ("first_id", "<i8"),  # first book update id that the message covers
        ("last_id", "<i8"),  # last one
        ("previous_id", "<i8"),  # a change applies iff this is the book's last id; -1 in snapshots
        # UNCHAINED: it names none; only its checksum, after it was applied, proves it
        ("checksum", "<i8"),  # the venue's, of the book after the message; NO_CHECKSUM without one
        ("start", "<i8"),  # first of its levels
        ("count", "<i8"),
        ("snapshot", "u1"),  # 1: it replaces the book
        ("rest", "u1"),  # 1: REST answered it, so changes received before may follow it
    ]
)
BOOK_LEVEL = LEVEL
NO_CHECKSUM = -(1 << 63)
UNCHAINED = -2
"""The previous id of a change that names none, as OKX's before 2023; its last id is its time."""


class BookMessages(NamedTuple):
    """Book messages of several instruments in the order received.

    `owners` (M,) intp are their instruments' indices; `messages` (M,) are BOOK_MESSAGE; `levels`
    (L,) are BOOK_LEVEL, mantissas at the instrument's exponents, as the venue ordered them.
    """

    owners: NDArray[np.intp]
    messages: Records
    levels: Records


class Malformed(NamedTuple):
    """A raw message that the venue file does not understand, and why."""

    received: int
    raw: bytes
    reason: str


class Page(NamedTuple):
    """One page of the list of all instruments: the REST path that it answers, as the venue file
    writes it (`Venue.listing_paths`), our symbols on it, and the path of the page after it."""

    path: str
    symbols: frozenset[str]
    following: str = ""


@dataclass
class Said:
    """What one run of raw messages says, each kind in the order received.

    Trades that REST answered are among `trades`, flagged FILLED. `firsts` (N,) int64 are first ids
    of trades that stand for a range of ids (contiguous by it); `identities` (N,) uint64 tell trades
    apart whose ids do not. `lead_ns` is the greatest (venue's time minus receive time) among the
    messages that carry the venue's time, None without one. `acknowledged` are the commands that the
    venue accepted, by id, once for each answer. `listed` are pages of the list of all instruments,
    of which listing.py makes the whole list.
    """

    trades: Decoded | None = None
    firsts: NDArray[np.int64] | None = None
    identities: NDArray[np.uint64] | None = None
    quotes: Decoded | None = None
    books: BookMessages | None = None
    derivatives: Decoded | None = None
    liquidations: Decoded | None = None
    venue_bars: Decoded | None = None
    lead_ns: int | None = None
    ignored: int = 0
    acknowledged: list[int] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    malformed: list[Malformed] = field(default_factory=list)
    listed: list[Page] = field(default_factory=list)
    shutdown: bool = False


class Venue(Protocol):
    """A venue file: declarations and pure decoding."""

    @property
    def venue(self) -> str:
        """The venue's name, as in instrument ids."""
        ...

    @property
    def product(self) -> str:
        """The product, as in subjects of the feed."""
        ...

    @property
    def endpoints(self) -> Endpoints:
        """Where the real venue is; configuration may say otherwise."""
        ...

    @property
    def sockets(self) -> Sequence[Socket]:
        """The connections that carry every channel of every instrument."""
        ...

    @property
    def limits(self) -> Limits:
        """What the venue allows."""
        ...

    @property
    def overlap(self) -> Overlap:
        """How changes of a book meet its REST snapshot."""
        ...

    def decode(
        self, received: Sequence[int], raws: Sequence[bytes], instruments: Instruments
    ) -> Said:
        """Decode raw messages, received at `received` (ns), of instruments that are defined.

        Never raises for what a venue sends: what is not understood is in `malformed`.
        """
        ...

    def url(self, endpoint: str, socket: Socket) -> str:
        """Where `socket` of `endpoint` (scheme, host, port) is opened."""
        ...

    def subscriptions(
        self, socket: Socket, symbols: Sequence[str], first_id: int = 1
    ) -> list[Command]:
        """Commands to send on connecting, ids counting from `first_id`, of our `symbols`."""
        ...

    def resubscriptions(
        self, socket: Socket, symbols: Sequence[str], first_id: int = 1
    ) -> list[Command]:
        """Commands that make the socket send fresh snapshots of books; none where REST has them."""
        ...

    def snapshot_path(self, symbol: str) -> str | None:
        """REST path that answers a book's snapshot; None where the socket sends it."""
        ...

    def polls(self, symbols: Sequence[str]) -> Sequence[Poll]:
        """What is asked by REST because no socket says it, as open interest of some venues."""
        ...

    @property
    def listing_paths(self) -> tuple[str, ...]:
        """REST paths whose answers, with the pages that follow each, list all instruments.

        They are asked in this order; an instrument that moves on from one to the next is missed by
        none.
        """
        ...

    def definitions_path(self, symbols: Sequence[str]) -> str | None:
        """REST path that answers the definitions of `symbols` alone; None: all are asked for."""
        ...

    def trades_paths(self, symbol: str, first_id: int, count: int) -> tuple[str, ...]:
        """REST paths that may answer trades from `first_id` on, the best first."""
        ...

    def time_path(self) -> str:
        """REST path that answers the venue's time."""
        ...

    def weight(self, path: str) -> float:
        """What a request of `path` costs of `Limits.requests_per_s`."""
        ...

    def used(self, headers: Mapping[str, str]) -> float | None:
        """The used part, 0 to 1, of the budget that an answer's headers tell; None if none do."""
        ...

    def infer(self, raw: str) -> InstrumentDefined | None:
        """Guess a definition from the venue's symbol alone, for captures without one."""
        ...


class Batch(NamedTuple):
    """Records of one kind for one subject, in order, with the frame's exponents."""

    subject: str
    kind: Kind
    records: Records
    price_exponent: int = 0
    quantity_exponent: int = 0


def feed_subject(kind: str, venue: Venue) -> str:
    """Return ``md.<kind>.<VENUE>.<PRODUCT>.all``."""
    return subjects.md(kind, venue.venue, venue.product, ALL)
