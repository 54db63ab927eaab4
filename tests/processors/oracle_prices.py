"""Prices of pairs as one would make them without hurry: every trade kept, everything recomputed."""

from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from typing import Any

from tidemill.schemas.enums import BarFlag
from tidemill.schemas.events.feed import RecordsGivenUp, TradeGapDeclared, TradeGapSuspected
from tidemill.tests.processors.runs import MINUTE, SECOND, Fact, Log

FRESH = 30 * SECOND
DAY_MINUTES = 1_440
WORD = 1 << 64


def exact(mantissa: int, exponent: int, wanted: int) -> int | None:
    """The mantissa at the wanted exponent, None where there is none of 63 bits."""
    with localcontext() as context:
        context.prec = 60
        value = Decimal(mantissa).scaleb(exponent - wanted)
        fits = 0 <= value < 1 << 63 and value == value.to_integral_value()
        return int(value) if fits else None


@dataclass
class Venue:
    """One spot instrument."""

    name: str
    trades: list[tuple[int, int, int]] = field(default_factory=list)  # event time, price, quantity
    minutes: list[int] = field(default_factory=list)  # of trades and of times, for the window
    trade_recv: int = 0
    quote: tuple[int, int, int, int] = (0, 0, 0, 0)
    quote_recv: int = 0
    gap: int = 0

    def trade(self, record: Any, exponents: tuple[int, int]) -> None:
        ts, recv = int(record["ts_event"]), int(record["ts_recv"])
        self.trade_recv = max(self.trade_recv, recv)
        price = exact(int(record["price"]), exponents[0], -10)
        quantity = exact(int(record["quantity"]), exponents[1], -8)
        if ts < 0 or ts > recv + 3_600 * SECOND:
            self.gap = max([self.gap, *self.minutes])
        elif price is None or quantity is None:
            self.gap = max(self.gap, ts // MINUTE)
        else:
            self.minutes.append(ts // MINUTE)
            self.trades.append((ts, price, quantity))

    def see(self, record: Any, exponents: tuple[int, int]) -> None:
        names = ("bid_price", "bid_quantity", "ask_price", "ask_quantity")
        wanted = ((exponents[0], -10), (exponents[1], -8)) * 2
        values = [exact(int(record[n]), *w) for n, w in zip(names, wanted, strict=True)]
        self.quote_recv = int(record["ts_recv"])
        self.quote = (0, 0, 0, 0)
        if None in values:
            self.gap = max(self.gap, self.quote_recv // MINUTE)
        else:
            bid, bids, ask, asks = (int(v) for v in values if v is not None)
            self.quote = bid, bids, ask, asks

    @property
    def window(self) -> list[tuple[int, int, int]]:
        newest = max(self.minutes)
        return [trade for trade in self.trades if trade[0] // MINUTE > newest - DAY_MINUTES]

    @property
    def last(self) -> int:
        latest = max(ts for ts, _, _ in self.trades)
        return next(price for ts, price, _ in reversed(self.trades) if ts == latest)


def price(venues: list[Venue], ts: int, at: tuple[int, int]) -> dict[str, Any] | None:
    """The record of one pair at one time, None where no venue is fresh."""
    flags = BarFlag.NONE
    known = [venue for venue in venues if venue.trade_recv or venue.quote_recv]
    for venue in known:
        venue.minutes.append(ts // MINUTE)
        if venue.gap > max(0, max(venue.minutes) - DAY_MINUTES):
            flags |= BarFlag.GAP
    quoted = [v for v in known if v.quote_recv and ts - v.quote_recv <= FRESH]
    fresh = [v for v in known if v in quoted or (v.trade_recv and ts - v.trade_recv <= FRESH)]
    if not fresh:
        return None
    if len(fresh) < len(known):
        flags |= BarFlag.STALE
    counting = [venue for venue in fresh if venue.trades]
    for venue in counting:
        if venue.trades[0][0] // MINUTE > max(venue.minutes) - DAY_MINUTES:
            flags |= BarFlag.PARTIAL
    sums = {
        "volume": sum(q for v in counting for _, _, q in v.window),
        "quote_volume": sum(p * q for v in counting for _, p, q in v.window),
        "last_price_sum": sum(v.last for v in counting),
    }
    words: dict[str, int] = {}
    for name, value in sums.items():
        words[f"{name}_lo"], words[f"{name}_hi"] = value % WORD, value // WORD
    high = min(counting, key=lambda v: (-v.last, v.name), default=None)
    low = min(counting, key=lambda v: (v.last, v.name), default=None)
    bids = [v for v in quoted if v.quote[1]]
    asks = [v for v in quoted if v.quote[3]]
    bid = min(bids, key=lambda v: (-v.quote[0], v.name), default=None)
    ask = min(asks, key=lambda v: (v.quote[2], v.name), default=None)
    return {
        "at_r": at[0],
        "at_i": at[1],
        "n": 0,
        "ts": ts,
        **words,
        "high_price": high.last if high else 0,
        "low_price": low.last if low else 0,
        "best_bid": bid.quote[0] if bid else 0,
        "best_bid_quantity": bid.quote[1] if bid else 0,
        "best_ask": ask.quote[2] if ask else 0,
        "best_ask_quantity": ask.quote[3] if ask else 0,
        "high_venue": (high.name if high else "").encode(),
        "low_venue": (low.name if low else "").encode(),
        "best_bid_venue": (bid.name if bid else "").encode(),
        "best_ask_venue": (ask.name if ask else "").encode(),
        "venues": len(counting),
        "flags": int(flags),
    }


def _lost(venues: dict[int, Venue], log: Log, fact: Fact) -> None:
    match fact.event:
        case TradeGapDeclared() | TradeGapSuspected() as event:
            slots = [fact.slot]
        case RecordsGivenUp() as event:
            slots = [s for s in venues if int(log.table["feed"][s]) == fact.feed]
        case _:
            return
    for slot in slots:
        if slot in venues:
            venues[slot].gap = max(venues[slot].gap, event.ts_to // MINUTE)


def prices(log: Log) -> list[dict[str, Any]]:
    """Return what must be emitted, in order."""
    spot = [s for s in range(len(log.table)) if log.table["product"][s] == b"SPOT"]
    venues = {slot: Venue(log.table["venue"][slot].decode()) for slot in spot}
    pairs: dict[int, list[Venue]] = {}
    for slot in spot:
        pairs.setdefault(int(log.table["pair"][slot]), []).append(venues[slot])
    told: list[dict[str, Any]] = []
    second = 0
    for r, fact in enumerate(log.facts, 1):
        _lost(venues, log, fact)
        for index, record in enumerate(fact.records):
            if fact.kind == "trade" and fact.slot in venues:
                venues[fact.slot].trade(record, fact.exponents)
            elif fact.kind == "quote" and fact.slot in venues:
                venues[fact.slot].see(record, fact.exponents)
            elif fact.kind == "time" and int(record["ts"]) // SECOND > second:
                ts = int(record["ts"])
                second = ts // SECOND
                made = [price(members, ts, (r, index)) for members in pairs.values()]
                told += [one for one in made if one is not None]
    return told
