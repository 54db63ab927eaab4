"""Single facts for tests of the runtime: (subject, payload)."""

from collections.abc import Sequence

from tidemill.schemas import events, frame
from tidemill.schemas.events import Event
from tidemill.schemas.events.instrument import InstrumentDefined
from tidemill.schemas.identifiers import ALL, partition
from tidemill.schemas.kinds.quote import QUOTE
from tidemill.schemas.kinds.status import STATUS
from tidemill.schemas.kinds.time import TIME
from tidemill.schemas.kinds.trade import TRADE
from tidemill.streams import subjects

Fact = tuple[str, bytes]


def define(base: str, quote: str = "USDT", venue: str = "V", price_exponent: int = -2) -> Fact:
    """The definition of an instrument on its own subject."""
    event = InstrumentDefined(
        venue=venue,
        symbol=base + quote,
        product="SPOT",
        base=base,
        quote=quote,
        price_exponent=price_exponent,
    )
    return on("instrument", base, quote, venue), events.encode(event)


def on(kind: str, base: str, quote: str = "USDT", venue: str = "V") -> str:
    """The subject of an instrument."""
    return subjects.md(kind, venue, base + quote, partition(f"{base}/{quote}"))


def trade(
    base: str, prices: Sequence[int], quote: str = "USDT", venue: str = "V", first: int = 1
) -> Fact:
    """A frame of trades with ids from `first` on."""
    records = TRADE.empty(len(prices))
    records["price"] = prices
    records["quantity"] = 1
    records["trade_id"] = [first + k for k in range(len(prices))]
    return on("trade", base, quote, venue), frame.encode(TRADE, records, 1, -2, -8)


def quotes(base: str, flags: Sequence[int]) -> Fact:
    records = QUOTE.empty(len(flags))
    records["flags"] = flags
    return on("quote", base), frame.encode(QUOTE, records, 1)


def status(venue: str = "V", product: str = "SPOT") -> Fact:
    """Progress of a whole feed."""
    return subjects.md("status", venue, product, ALL), frame.encode(STATUS, STATUS.empty(1), 1)


def time(ts_ns: int) -> Fact:
    records = TIME.empty(1)
    records["ts"] = ts_ns
    return "time", frame.encode(TIME, records, 1)


def control(subject: str, event: Event) -> Fact:
    return subject, events.encode(event)


def torn(fact: Fact) -> Fact:
    """The same with its last bytes gone."""
    return fact[0], fact[1][:-3]
