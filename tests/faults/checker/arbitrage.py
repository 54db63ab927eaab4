"""Arbitrage, computed again: fractions, and every unit laid beside another."""

from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, floor

from tidemill.tests.faults.checker.books import VALID, toward_zero
from tidemill.tests.faults.checker.world import SECOND, Fact, Instrument, Made, Row, World, words

FRESH = 30 * SECOND
MOST = 2**63 - 1
CLOSED, OPENED, CHANGED = 0, 1, 2
FEES_UNKNOWN, QUOTED, BOUNDED = 1, 2, 4
SPOT, PERPETUAL, BASIS = 0, 1, 2
SPECS = ("spot", "perpetual", "basis")
Side = list[tuple[int, int]]
"""Price at -10 and base quantity at -8 of levels, best first."""


@dataclass
class Leg:
    """What can be traded at one instrument; None: a price of a side cannot be written."""

    has_book: bool = False
    valid: bool = False
    recv: int = 0
    quote_recv: int = 0
    dirty: bool = False
    book: dict[int, Side | None] = field(default_factory=dict)
    quote: dict[int, Side | None] = field(default_factory=dict)

    def fresh(self, known: Instrument, ts: int) -> bool:
        """Whether it can take part."""
        if known.kind == "FUTURE" or known.inverse or not known.trading:
            return False
        if self.has_book:
            return self.valid and ts - self.recv <= FRESH
        return bool(self.quote_recv) and ts - self.quote_recv <= FRESH

    def side(self, side: int) -> Side:
        """Levels of a side, none where they are not known."""
        return (self.book if self.has_book else self.quote).get(side) or []


def ladder(rows: Side, exponents: tuple[int, int], known: Instrument) -> Side | None:
    """Levels in common units, None where a price cannot be written."""
    made: Side = []
    unit = Fraction(known.multiplier)
    for price, quantity in rows:
        exact = Fraction(price) * Fraction(10) ** (exponents[0] + 10)
        if exact.denominator > 1 or not 0 < exact <= MOST:
            return None
        base = floor(quantity * unit * Fraction(10) ** (exponents[1] + 8))
        if base > 0:
            made.append((int(exact), min(base, MOST)))
    return made


def weigh(buy: Leg, buying: Instrument, sell: Leg, selling: Instrument) -> Row | None:
    """What buying at one and selling at another earns, None for nothing."""
    asks, bids = list(buy.side(2)), list(sell.side(1))
    if not asks or not bids:
        return None
    ppm = buying.taker_ppm or 0, selling.taker_ppm or 0
    fees = Fraction(ppm[0], 10**6), Fraction(ppm[1], 10**6)
    made: Row = {"buy_price": asks[0][0], "sell_price": bids[0][0]}
    quantity = cost = brings = 0
    while asks and bids and bids[0][0] * (1 - fees[1]) > asks[0][0] * (1 + fees[0]):
        (ask, there), (bid, wanted) = asks.pop(0), bids.pop(0)
        step = min(there, wanted)
        quantity, cost, brings = quantity + step, cost + ask * step, brings + bid * step
        asks = [(ask, there - step), *asks] if there > step else asks
        bids = [(bid, wanted - step), *bids] if wanted > step else bids
    charged = [ceil(cost * fees[0]), ceil(brings * fees[1])]
    net = brings - cost - sum(charged)
    if net <= 0:
        return None
    flags = FEES_UNKNOWN if buying.taker_ppm is None or selling.taker_ppm is None else 0
    flags |= 0 if buy.has_book and sell.has_book else QUOTED
    flags |= BOUNDED if not asks or not bids else 0
    sums = {
        "buy_notional": cost, "sell_notional": brings, "buy_fee": charged[0],
        "sell_fee": charged[1], "gross": brings - cost, "net": net,
    }  # fmt: skip
    for name, value in sums.items():
        made |= words(name, value)
    return made | {
        "quantity": quantity,
        "spread_ratio": toward_zero(Fraction(made["sell_price"], made["buy_price"]) - 1),
        "gross_ratio": toward_zero(Fraction(brings - cost, cost)),
        "net_ratio": toward_zero(Fraction(net, cost)),
        "buy_fee_ppm": ppm[0], "sell_fee_ppm": ppm[1], "flags": flags,
    }  # fmt: skip


@dataclass
class Open:
    """One opportunity that is open."""

    ts: int
    at: tuple[int, int]
    second: int
    told: Row
    changes: int = 0

    def same(self, made: Row) -> bool:
        """Whether nothing of it is worth telling."""
        names = ("quantity", "buy_price", "sell_price", "net_lo", "net_hi")
        return all(self.told[name] == made[name] for name in names)


class Arbitrage:
    """All pairs'. It reads what `Books` made of the same fact after the fact itself."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._legs: dict[int, Leg] = {}
        self._open: dict[tuple[int, int], Open] = {}
        self._seconds: dict[str, int] = {}

    def _leg(self, slot: int) -> Leg:
        return self._legs.setdefault(slot, Leg())

    def step(self, fact: Fact, books: list[Made]) -> list[Made]:
        """What one fact, and what was made of it, make in order."""
        made: list[Made] = []
        if fact.kind == "quote" and fact.slot >= 0:
            self._see(fact)
        if fact.kind != "time":
            self._hear(books)
            return made
        for i, ts in enumerate(fact.records["ts"].tolist()):
            for pair, slots in self._world.pairs.items():
                made += self._look(pair, slots, ts, (fact.r, i))
            self._hear([one for one in books if one.i == i])
        return made

    def _see(self, fact: Fact) -> None:
        leg, known = self._leg(fact.slot), self._world.instruments[fact.slot]
        if leg.has_book:
            return
        record = fact.records[-1]
        leg.quote_recv, leg.dirty = int(record["ts_recv"]), True
        for side, name in ((1, "bid"), (2, "ask")):
            level = int(record[f"{name}_price"]), int(record[f"{name}_quantity"])
            leg.quote[side] = ladder([level], fact.exponents, known)

    def _hear(self, books: list[Made]) -> None:
        levels: dict[tuple[int, int], list[Row]] = {}
        for one in books:
            slot = self._world.slots[one.name[2], one.name[3]]
            leg = self._leg(slot)
            if one.kind == "book_metrics":
                leg.has_book, leg.recv = True, one.values["ts_recv"]
                if one.values["state"] != VALID:
                    leg.valid, leg.dirty = False, True
            elif one.kind == "book_level":
                levels.setdefault((slot, one.i), []).append(one.values)
        for (slot, _), rows in levels.items():
            leg, known = self._leg(slot), self._world.instruments[slot]
            leg.valid = leg.dirty = True
            for side in (1, 2):
                own = [(v["price"], v["quantity"]) for v in rows if v.get("side") == side]
                leg.book[side] = ladder(own, known.exponents, known)

    def _look(self, pair: str, slots: list[int], ts: int, at: tuple[int, int]) -> list[Made]:
        second = ts // SECOND
        dirty = any(self._leg(slot).dirty for slot in slots)
        if len(slots) < 2 or not (dirty or self._seconds.get(pair, 0) < second):
            return []
        self._seconds[pair] = second
        every = self._world.instruments
        fresh = {slot for slot in slots if self._leg(slot).fresh(every[slot], ts)}
        for slot in slots:
            self._leg(slot).dirty = False
        told = []
        for buy in slots:
            for sell in slots:
                made = None
                if buy != sell and {buy, sell} <= fresh:
                    made = weigh(self._leg(buy), every[buy], self._leg(sell), every[sell])
                values = self._tell(every[buy], every[sell], made, ts, at)
                if values is not None:
                    values["venues"] = len(fresh)
                    spec = SPECS[values["legs"]]
                    name = ("arbitrage", spec, "ALL", pair, every[slots[0]].partition)
                    told.append(Made("opportunity", name, *at, values))
        return told

    def _tell(
        self, buy: Instrument, sell: Instrument, made: Row | None, ts: int, at: tuple[int, int]
    ) -> Row | None:
        key, second = (buy.slot, sell.slot), ts // SECOND
        known = self._open.get(key)
        if known is None and made is None:
            return None
        if known is None:
            assert made is not None
            known, status = Open(ts, at, second, made), OPENED
            self._open[key] = known
        elif made is None:
            del self._open[key]
            status, made = CLOSED, {}
        elif known.same(made) or known.second == second:
            return None
        else:
            known.second, known.told, known.changes = second, made, known.changes + 1
            status = CHANGED
        legs = BASIS if buy.kind != sell.kind else SPOT if buy.kind == "SPOT" else PERPETUAL
        return made | {
            "ts": ts, "ts_opened": known.ts, "opened_r": known.at[0], "opened_i": known.at[1],
            "changes": known.changes, "status": status, "legs": legs,
            "buy_venue": buy.venue.encode(), "buy_symbol": buy.symbol.encode(),
            "sell_venue": sell.venue.encode(), "sell_symbol": sell.symbol.encode(),
        }  # fmt: skip
