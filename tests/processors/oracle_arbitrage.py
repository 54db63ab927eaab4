"""Arbitrage as one would find it without hurry: fractions, and every unit laid beside another."""

from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, floor
from typing import Any

from tidemill.schemas.enums import BookState, Legs, OpportunityFlag, OpportunityStatus
from tidemill.tests.processors.oracle_books import toward_zero
from tidemill.tests.processors.runs import SECOND, Log

FRESH = 30 * SECOND
MOST = 2**63 - 1
WORD = 1 << 64
Side = list[tuple[int, int]]
"""Price at -10 and base quantity at -8 of levels, best first; None where a price has none."""


@dataclass
class Instrument:
    """What can be traded at one instrument."""

    has_book: bool = False
    valid: bool = False
    recv: int = 0
    quote_recv: int = 0
    dirty: bool = False
    book: dict[int, Side | None] = field(default_factory=dict)
    quote: dict[int, Side | None] = field(default_factory=dict)

    def fresh(self, key: Any, ts: int) -> bool:
        if int(key["kind"]) == 2 or key["inverse"] or not key["trading"]:
            return False
        if self.has_book:
            return self.valid and ts - self.recv <= FRESH
        return bool(self.quote_recv) and ts - self.quote_recv <= FRESH

    def side(self, side: int) -> Side:
        return (self.book if self.has_book else self.quote).get(side) or []


def ladder(rows: list[tuple[int, int]], exponents: tuple[int, int], key: Any) -> Side | None:
    """Levels in common units, None where a price cannot be written."""
    made: Side = []
    unit = Fraction(int(key["multiplier"])) * Fraction(10) ** int(key["multiplier_exponent"])
    for price, quantity in rows:
        exact = Fraction(price) * Fraction(10) ** (exponents[0] + 10)
        if exact.denominator > 1 or not 0 < exact <= MOST:
            return None
        base = floor(quantity * unit * Fraction(10) ** (exponents[1] + 8))
        if base > 0:
            made.append((int(exact), min(base, MOST)))
    return made


def weigh(buy: Instrument, buy_key: Any, sell: Instrument, sell_key: Any) -> dict[str, Any] | None:
    """What buying at one and selling at another earns, None for nothing."""
    asks, bids = list(buy.side(2)), list(sell.side(1))
    if not asks or not bids:
        return None
    fees = Fraction(int(buy_key["taker_ppm"]), 10**6), Fraction(int(sell_key["taker_ppm"]), 10**6)
    made: dict[str, Any] = {"buy_price": asks[0][0], "sell_price": bids[0][0]}
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
    flags = OpportunityFlag.NONE
    if not (buy_key["fees_known"] and sell_key["fees_known"]):
        flags |= OpportunityFlag.FEES_UNKNOWN
    if not (buy.has_book and sell.has_book):
        flags |= OpportunityFlag.QUOTED
    if not asks or not bids:
        flags |= OpportunityFlag.BOUNDED
    sums = {
        "buy_notional": cost, "sell_notional": brings, "buy_fee": charged[0],
        "sell_fee": charged[1], "gross": brings - cost, "net": net,
    }  # fmt: skip
    for name, value in sums.items():
        made |= {f"{name}_lo": value % WORD, f"{name}_hi": value // WORD}
    return made | {
        "quantity": quantity,
        "spread_ratio": toward_zero(Fraction(made["sell_price"], made["buy_price"]) - 1),
        "gross_ratio": toward_zero(Fraction(brings - cost, cost)),
        "net_ratio": toward_zero(Fraction(net, cost)),
        "buy_fee_ppm": int(buy_key["taker_ppm"]),
        "sell_fee_ppm": int(sell_key["taker_ppm"]),
        "flags": int(flags),
    }


@dataclass
class Open:
    """One opportunity that is open."""

    ts: int
    at: tuple[int, int]
    second: int
    told: dict[str, Any]
    changes: int = 0

    def same(self, made: dict[str, Any]) -> bool:
        names = ("quantity", "buy_price", "sell_price", "net_lo", "net_hi")
        return all(self.told[name] == made[name] for name in names)


def legs(buy_key: Any, sell_key: Any) -> Legs:
    if buy_key["kind"] != sell_key["kind"]:
        return Legs.BASIS
    return Legs.PERPETUAL if buy_key["kind"] else Legs.SPOT


class Market:
    """All instruments of a log, and what is open between them."""

    def __init__(self, log: Log) -> None:
        self.table = log.table
        self.every = [Instrument() for _ in log.table]
        self.open: dict[tuple[int, int], Open] = {}
        self.seconds: dict[int, int] = {}

    def pair_of(self, slot: int) -> list[int]:
        return [
            s for s in range(len(self.table)) if self.table["pair"][s] == self.table["pair"][slot]
        ]

    def look(self, slots: list[int], ts: int, at: tuple[int, int]) -> list[dict[str, Any]]:
        pair, second = int(self.table["pair"][slots[0]]), ts // SECOND
        dirty = any(self.every[slot].dirty for slot in slots)
        if len(slots) < 2 or not (dirty or self.seconds.get(pair, 0) < second):
            return []
        self.seconds[pair] = second
        fresh = {slot for slot in slots if self.every[slot].fresh(self.table[slot], ts)}
        told = []
        for slot in slots:
            self.every[slot].dirty = False
        for buy in slots:
            for sell in slots:
                made = None
                if buy != sell and {buy, sell} <= fresh:
                    made = weigh(
                        self.every[buy], self.table[buy], self.every[sell], self.table[sell]
                    )
                one = self.tell(buy, sell, made, ts, at)
                if one is not None:
                    told.append(one | {"venues": len(fresh)})
        return told

    def tell(
        self, buy: int, sell: int, made: dict[str, Any] | None, ts: int, at: tuple[int, int]
    ) -> dict[str, Any] | None:
        known, second = self.open.get((buy, sell)), ts // SECOND
        if made is None and known is None:
            return None
        if made is None and known is not None:
            del self.open[buy, sell]
            status, made = OpportunityStatus.CLOSED, {}
        elif known is None and made is not None:
            known = self.open[buy, sell] = Open(ts, at, second, made)
            status = OpportunityStatus.OPENED
        else:
            assert known is not None and made is not None
            if known.same(made) or known.second == second:
                return None
            known.second, known.told, known.changes = second, made, known.changes + 1
            status = OpportunityStatus.CHANGED
        assert known is not None
        return made | {
            "at_r": at[0], "at_i": at[1], "ts": ts, "ts_opened": known.ts,
            "opened_r": known.at[0], "opened_i": known.at[1], "changes": known.changes,
            "status": int(status), "legs": int(legs(self.table[buy], self.table[sell])),
            "buy_venue": bytes(self.table["venue"][buy]),
            "buy_symbol": bytes(self.table["symbol"][buy]),
            "sell_venue": bytes(self.table["venue"][sell]),
            "sell_symbol": bytes(self.table["symbol"][sell]),
        }  # fmt: skip


def opportunities(log: Log) -> list[dict[str, Any]]:
    """Return what must be emitted, in order: the values that are not zero."""
    market, told = Market(log), []
    pairs = {int(log.table["pair"][s]): market.pair_of(s) for s in range(len(log.table))}
    for r, fact in enumerate(log.facts, 1):
        if fact.kind == "time":
            for index, record in enumerate(fact.records):
                for slots in pairs.values():
                    told += market.look(slots, int(record["ts"]), (r, index))
            continue
        one, key = market.every[fact.slot], log.table[fact.slot]
        if fact.kind == "book_metrics":
            one.has_book, one.recv = True, int(fact.records["ts_recv"][-1])
            if fact.records["state"][-1] != BookState.VALID:
                one.valid, one.dirty = False, True
        elif fact.kind == "book_level":
            one.valid = one.dirty = True
            rows = [
                tuple(map(int, x)) for x in fact.records[["side", "price", "quantity"]].tolist()
            ]
            one.book = {
                side: ladder([(p, q) for s, p, q in rows if s == side], fact.exponents, key)
                for side in (1, 2)
            }
        elif fact.kind == "quote" and not one.has_book:
            record = fact.records[-1]
            one.quote_recv, one.dirty = int(record["ts_recv"]), True
            for side, name in ((1, "bid"), (2, "ask")):
                level = int(record[f"{name}_price"]), int(record[f"{name}_quantity"])
                one.quote[side] = ladder([level], fact.exponents, key)
    return [{name: value for name, value in row.items() if value} for row in told]
