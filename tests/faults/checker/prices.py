"""Prices of pairs and silent feeds, computed again."""

from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from typing import Any

import numpy as np

from tidemill.tests.faults.checker.messages import ALL
from tidemill.tests.faults.checker.sbe import Records
from tidemill.tests.faults.checker.world import (
    HOUR,
    MINUTE,
    SECOND,
    Fact,
    Feed,
    Made,
    Row,
    World,
    dot,
    total,
    words,
)

FRESH = 30 * SECOND
SILENT = 5 * SECOND
DAY_MINUTES = 1_440
PRICE, QUANTITY = -10, -8
GAP, PARTIAL, STALE = 1, 4, 8
MOST = (1 << 63) - 1


def rescaled(mantissa: int, exponent: int, wanted: int) -> int | None:
    """The mantissa at the wanted exponent, None where there is none of 63 bits."""
    with localcontext() as context:
        context.prec = 60
        value = Decimal(mantissa).scaleb(exponent - wanted)
        fits = 0 <= value < 1 << 63 and value == value.to_integral_value()
        return int(value) if fits else None


@dataclass
class Venue:
    """One spot instrument. `minutes` are (quantity, notional) by minute of event time."""

    name: str
    minutes: dict[int, tuple[int, int]] = field(default_factory=dict)
    newest: int = 0
    first: int | None = None
    latest: tuple[int, int] = (-1, 0)
    trade_recv: int = 0
    quote: tuple[int, int, int, int] = (0, 0, 0, 0)
    quote_recv: int = 0
    gap: int = 0

    def trades(self, records: Records, exponents: tuple[int, int]) -> None:
        """A frame of trades: a minute at a time where the numbers are small, else one by one."""
        up = exponents[0] - PRICE, exponents[1] - QUANTITY
        ts, recv = records["ts_event"], records["ts_recv"]
        price, quantity = (np.ascontiguousarray(records[n]) for n in ("price", "quantity"))
        plain = min(up) >= 0 and bool((ts >= 0).all() and (ts <= recv + HOUR).all())
        plain &= min(int(price.min()), int(quantity.min())) >= 0
        if (
            not plain
            or max(int(price.max()) * 10 ** up[0], int(quantity.max()) * 10 ** up[1]) > MOST
        ):
            for record in records:
                self._trade(record, exponents)
            return
        self.trade_recv = max(self.trade_recv, int(recv.max()))
        factor, by = 10 ** up[0], 10 ** up[1]
        minutes = ts // MINUTE
        for minute in np.unique(minutes).tolist():
            mine = minutes == minute
            notional = dot(price[mine], quantity[mine]) * factor * by
            self._add(minute, total(quantity[mine]) * by, notional)
        self.first = int(minutes[0]) if self.first is None else self.first
        last = len(ts) - 1 - int(np.argmax(ts[::-1]))
        if int(ts[last]) >= self.latest[0]:
            self.latest = int(ts[last]), int(price[last]) * factor

    def _add(self, minute: int, quantity: int, notional: int) -> None:
        known = self.minutes.get(minute, (0, 0))
        self.minutes[minute] = known[0] + quantity, known[1] + notional
        self._pass(minute)

    def _pass(self, minute: int) -> None:
        if minute > self.newest:
            self.newest = minute
            for old in [m for m in self.minutes if m <= minute - DAY_MINUTES]:
                del self.minutes[old]

    def _trade(self, record: Any, exponents: tuple[int, int]) -> None:
        ts, recv = int(record["ts_event"]), int(record["ts_recv"])
        self.trade_recv = max(self.trade_recv, recv)
        price = rescaled(int(record["price"]), exponents[0], PRICE)
        quantity = rescaled(int(record["quantity"]), exponents[1], QUANTITY)
        if ts < 0 or ts > recv + HOUR:
            self.gap = max(self.gap, self.newest)
        elif price is None or quantity is None:
            self.gap = max(self.gap, ts // MINUTE)
        else:
            if ts // MINUTE > self.newest - DAY_MINUTES:
                self._add(ts // MINUTE, quantity, price * quantity)
            self.first = ts // MINUTE if self.first is None else self.first
            if ts >= self.latest[0]:
                self.latest = ts, price

    def see(self, record: Any, exponents: tuple[int, int]) -> None:
        """One quote."""
        names = ("bid_price", "bid_quantity", "ask_price", "ask_quantity")
        wanted = ((exponents[0], PRICE), (exponents[1], QUANTITY)) * 2
        values = [rescaled(int(record[n]), *w) for n, w in zip(names, wanted, strict=True)]
        self.quote_recv, self.quote = int(record["ts_recv"]), (0, 0, 0, 0)
        if None in values:
            self.gap = max(self.gap, self.quote_recv // MINUTE)
        else:
            bid, bids, ask, asks = (int(v) for v in values if v is not None)
            self.quote = bid, bids, ask, asks

    def window(self) -> tuple[int, int]:
        """Quantity and notional of 24 hours."""
        mine = [v for m, v in self.minutes.items() if m > self.newest - DAY_MINUTES]
        return sum(q for q, _ in mine), sum(n for _, n in mine)

    def at(self, minute: int) -> None:
        """The time is this minute."""
        self._pass(minute)


def price_of(venues: list[Venue], ts: int) -> Row | None:
    """The record of one pair at one time, None where no venue is fresh."""
    flags = 0
    known = [venue for venue in venues if venue.trade_recv or venue.quote_recv]
    for venue in known:
        venue.at(ts // MINUTE)
        if venue.gap > max(0, venue.newest - DAY_MINUTES):
            flags |= GAP
    quoted = [v for v in known if v.quote_recv and ts - v.quote_recv <= FRESH]
    fresh = [v for v in known if v in quoted or (v.trade_recv and ts - v.trade_recv <= FRESH)]
    if not fresh:
        return None
    if len(fresh) < len(known):
        flags |= STALE
    counting = [venue for venue in fresh if venue.first is not None]
    for venue in counting:
        if venue.first is not None and venue.first > venue.newest - DAY_MINUTES:
            flags |= PARTIAL
    windows = [venue.window() for venue in counting]
    high = min(counting, key=lambda v: (-v.latest[1], v.name), default=None)
    low = min(counting, key=lambda v: (v.latest[1], v.name), default=None)
    bid = min((v for v in quoted if v.quote[1]), key=lambda v: (-v.quote[0], v.name), default=None)
    ask = min((v for v in quoted if v.quote[3]), key=lambda v: (v.quote[2], v.name), default=None)
    return {
        "ts": ts,
        **words("volume", sum(q for q, _ in windows)),
        **words("quote_volume", sum(n for _, n in windows)),
        **words("last_price_sum", sum(v.latest[1] for v in counting)),
        "high_price": high.latest[1] if high else 0,
        "low_price": low.latest[1] if low else 0,
        "best_bid": bid.quote[0] if bid else 0,
        "best_bid_quantity": bid.quote[1] if bid else 0,
        "best_ask": ask.quote[2] if ask else 0,
        "best_ask_quantity": ask.quote[3] if ask else 0,
        "high_venue": (high.name if high else "").encode(),
        "low_venue": (low.name if low else "").encode(),
        "best_bid_venue": (bid.name if bid else "").encode(),
        "best_ask_venue": (ask.name if ask else "").encode(),
        "venues": len(counting),
        "flags": flags,
    }


class Prices:
    """All pairs'."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._venues: dict[int, Venue] = {}
        self._seconds: dict[str, int] = {}

    def _venue(self, slot: int) -> Venue:
        if slot not in self._venues:
            self._venues[slot] = Venue(self._world.instruments[slot].venue)
        return self._venues[slot]

    def step(self, fact: Fact) -> list[Made]:
        """What one fact makes, in order."""
        if fact.told("TradeGapDeclared", "TradeGapSuspected", "RecordsGivenUp"):
            if fact.slot < 0 and not fact.told("RecordsGivenUp"):
                return []
            for slot in self._world.of(fact):
                one = self._venue(slot)
                one.gap = max(one.gap, fact.event["ts_to"] // MINUTE)
        elif fact.kind == "time":
            return [m for i, ts in enumerate(fact.records["ts"].tolist())
                    for m in self._prices(fact.r, i, ts)]  # fmt: skip
        elif fact.kind in ("trade", "quote") and self._is_spot(fact.slot):
            one = self._venue(fact.slot)
            if fact.kind == "trade":
                one.trades(fact.records, fact.exponents)
            else:
                for record in fact.records:
                    one.see(record, fact.exponents)
        return []

    def _is_spot(self, slot: int) -> bool:
        return self._world.instruments[slot].product == "SPOT"

    def _prices(self, r: int, i: int, ts: int) -> list[Made]:
        made = []
        for pair, slots in self._world.pairs.items():
            venues = [self._venue(slot) for slot in slots if self._is_spot(slot)]
            if not venues or ts // SECOND <= self._seconds.get(pair, 0):
                continue
            self._seconds[pair] = ts // SECOND
            values = price_of(venues, ts)
            if values is not None:
                partition = self._world.instruments[slots[0]].partition
                name = ("prices", "24h", "ALL", pair, partition)
                made.append(Made("price", name, r, i, values))
        return made


class Stale:
    """Feeds that fall silent."""

    def __init__(self) -> None:
        self._heard: dict[Feed, int] = {}
        self._silent: set[Feed] = set()

    def step(self, fact: Fact) -> list[Made]:
        """What one fact makes, in order."""
        if fact.kind == "status" and fact.slot < 0 and fact.feed is not None:
            newest = max(fact.records["ts_recv"].tolist())
            self._heard[fact.feed] = max(self._heard.get(fact.feed, 0), newest)
        if fact.kind != "time":
            return []
        made = []
        for i, ts in enumerate(fact.records["ts"].tolist()):
            for feed in sorted(self._heard):
                heard = self._heard[feed]
                silent = heard > 0 and ts - heard > SILENT
                if silent == (feed in self._silent):
                    continue
                (self._silent.add if silent else self._silent.remove)(feed)
                values = {
                    "venue": feed[0], "product": feed[1], "ts": ts,
                    "silent_ns": max(0, ts - heard), "state": "STALE" if silent else "FRESH",
                }  # fmt: skip
                made.append(Made("feed", ("feeds", "stale", *feed, ALL), fact.r, i, values))
        return made
