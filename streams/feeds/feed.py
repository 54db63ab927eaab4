"""What a venue file declares, and what it makes of raw messages.

A venue file (one per venue and product) is declarations and pure decoding: no clock, no socket. The
one loop of `websocket.py` and the one player of `replay.py` call the same `decode`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

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


class Endpoints(NamedTuple):
    """Where a venue is: scheme, host and port of its WebSocket and of its REST interface."""

    websocket: str
    rest: str


class Limits(NamedTuple):
    """What a venue allows a client; the loop stays below."""

    streams_max: int
    commands_per_s: float
    life_s: float
    message_bytes_max: int
    trades_a_request: int
    requests_per_s: float


class Instrument:
    """One instrument of a feed as its definition says it is now, and where its facts travel."""

    def __init__(self, index: int, definition: InstrumentDefined) -> None:
        self.index = index
        self.define(definition)

    def define(self, definition: InstrumentDefined) -> None:
        """Take a new definition: exponents may change, the pair may not."""
        self.definition = definition
        self.symbol = definition.symbol
        self.exponents = (definition.price_exponent, definition.quantity_exponent)
        self.partition = partition(definition.pair)

    def subject(self, kind: str) -> str:
        """Return ``md.<kind>.<VENUE>.<SYMBOL>.<pp>``."""
        return subjects.md(kind, self.definition.venue, self.symbol, self.partition)


class Instruments:
    """The instruments of a feed by symbol and by index; decoded records name them by index.

    `fresh` are definitions that said something new, to be appended before any record. `infer` makes
    a definition of an unknown symbol, where that is allowed; `wanted` limits what is defined.
    """

    def __init__(
        self,
        infer: Callable[[str], InstrumentDefined | None] | None = None,
        wanted: frozenset[str] | None = None,
    ) -> None:
        self.by_symbol: dict[str, Instrument] = {}
        self.by_index: list[Instrument] = []
        self.fresh: list[InstrumentDefined] = []
        self._infer = infer
        self._wanted = wanted

    def knows(self, symbol: str) -> bool:
        """Whether `symbol` is defined."""
        return symbol in self.by_symbol

    def wants(self, symbol: str) -> bool:
        """Whether `symbol` is one that this feed defines."""
        return self._wanted is None or symbol in self._wanted

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
            known.define(definition)
        self.fresh.append(definition)

    def of(self, symbol: str) -> Instrument:
        """Return the instrument of `symbol`. Raises Unreadable where none is known or inferred."""
        if symbol not in self.by_symbol and self._infer is not None:
            definition = self._infer(symbol)
            if definition is not None:
                self.define(definition)
        known = self.by_symbol.get(symbol)
        if known is None:
            raise Unreadable(f"symbol {symbol!r} is not defined")
        return known


class Decoded(NamedTuple):
    """Records of one kind of several instruments, in the order received.

    `owners` (N,) intp is the index of each one's instrument; `records` (N,) of the kind's dtype.
    """

    owners: NDArray[np.intp]
    records: Records


class Malformed(NamedTuple):
    """A raw message that the venue file does not understand, and why."""

    received: int
    raw: bytes
    reason: str


@dataclass
class Said:
    """What one run of raw messages says.

    Trades that REST answered are among `trades`, flagged FILLED. `lead_ns` is the greatest (venue's
    time minus receive time) among the messages that carry the venue's time, None without one.
    `acknowledged` are the commands that the venue accepted, by id.
    """

    trades: Decoded | None = None
    quotes: Decoded | None = None
    lead_ns: int | None = None
    book_updates: int = 0
    ignored: int = 0
    acknowledged: list[int] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    malformed: list[Malformed] = field(default_factory=list)
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
    def channels(self) -> Sequence[Channel]:
        """The channels of every instrument."""
        ...

    @property
    def limits(self) -> Limits:
        """What the venue allows."""
        ...

    def decode(
        self, received: Sequence[int], raws: Sequence[bytes], instruments: Instruments
    ) -> Said:
        """Decode raw messages, received at `received` (ns), of instruments that are defined.

        Never raises for what a venue sends: what is not understood is in `malformed`.
        """
        ...

    def url(self, endpoint: str) -> str:
        """Where the WebSocket of `endpoint` (scheme, host, port) is opened."""
        ...

    def subscriptions(self, symbols: Sequence[str], first_id: int = 1) -> list[bytes]:
        """Commands to send on connecting, ids counting from `first_id`; each is acknowledged."""
        ...

    def definitions_path(self, symbols: Sequence[str]) -> str:
        """REST path (with query) that answers definitions of `symbols`; all if there are none."""
        ...

    def trades_paths(self, symbol: str, first_id: int, count: int) -> tuple[str, ...]:
        """REST paths that may answer trades from `first_id` on, the best first."""
        ...

    def time_path(self) -> str:
        """REST path that answers the venue's time."""
        ...

    def infer(self, symbol: str) -> InstrumentDefined | None:
        """Guess a definition from the symbol alone, for captures without one."""
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


def integers(values: list[Any], name: str) -> NDArray[np.int64]:
    """Return JSON values as int64 (N,). Raises Unreadable unless every one is such an integer."""
    column = np.array(values)
    if column.dtype != np.int64:
        raise Unreadable(f"{name} is not an integer of 64 bits")
    return column
