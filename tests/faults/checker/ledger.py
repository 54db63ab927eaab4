"""I8: rows of Postgres, kept as they must be while LOG and OUT pass by."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import numpy as np

from tidemill.tests.faults.checker.messages import parse
from tidemill.tests.faults.checker.rows import OF_SUBJECT, TIME_NONE, Piece
from tidemill.tests.faults.checker.sbe import KINDS
from tidemill.tests.faults.checker.verdicts import Verdicts

LATEST = {
    "latest_trades": ("trade", ("symbol", "venue"), ("_r", "_i", "_n")),
    "latest_quotes": ("quote", ("symbol", "venue"), ("_r", "_i", "_n")),
    "latest_bars": ("bar", ("symbol", "venue", "interval_s"), ("ts_open", "revision")),
    "latest_prices": ("price", ("pair", "window"), ("_r", "_i", "_n")),
}
"""Tables of what is newest: the kind, the key, and what newest means."""
OPEN = 2**63 - 1
"""`r_to` of what is still valid."""
SIDES = ("NO_AGGRESSOR", "BUYER", "SELLER")
DEFINED = {
    "kind": "SPOT", "settle": "", "inverse": False, "raw_symbol": "", "contract_multiplier": "1",
    "funding_interval_s": 0, "ts_listed": 0, "ts_expires": 0, "status": "TRADING",
    "price_exponent": -8, "quantity_exponent": -8, "tick_size": "0", "lot_size": "0",
    "min_notional": "0", "ts_event": 0, "source": "VENUE",
}  # fmt: skip
"""What a definition means where it says nothing."""
DECIMALS = ("tick_size", "lot_size", "min_notional", "contract_multiplier")
Row = dict[str, Any]


class Latest:
    """What one table of newest rows must hold at `position`, and what it would if it read on."""

    def __init__(self, name: str, position: int) -> None:
        self.name, self.position = name, position
        self.kind, self.key, self.order = LATEST[name]
        self.rows: dict[tuple[Any, ...], Row] = {}

    def take(self, piece: Piece) -> None:
        """Follow one message's records; those beyond the position do not count."""
        records = piece.records
        if self.kind in ("bar", "price"):
            records = records[records["at_r"] <= self.position]
            if not len(records):
                return
            order = ("at_r", "at_i", "n") if self.kind == "price" else ("ts_open", "revision")
            at = int(np.lexsort([records[name] for name in reversed(order)])[-1])
        elif piece.r > self.position:
            return
        else:
            at = len(records) - 1
        row = self._row(piece._replace(records=records), at)
        key = tuple(row[name] for name in self.key)
        known = self.rows.get(key)
        if known is None or self._rank(row) >= self._rank(known):
            self.rows[key] = row

    def _rank(self, row: Row) -> tuple[Any, ...]:
        return tuple(row[name] for name in self.order)

    def _row(self, piece: Piece, at: int) -> Row:
        subject, record = parse(piece.subject), piece.records[at]
        assert subject is not None
        row: Row = {name: getattr(subject, of) for name, of in OF_SUBJECT.items()}
        if self.kind in ("bar", "price"):
            row |= {"_r": int(record["at_r"]), "_i": int(record["at_i"]), "_n": int(record["n"])}
        else:
            row |= {"_r": piece.r, "_i": at, "_n": 0}
        units, wides = KINDS[self.kind].units, KINDS[self.kind].wide
        powers = {"price": piece.exponents[0], "quantity": piece.exponents[1]}
        powers["notional"] = sum(piece.exponents)
        for name in KINDS[self.kind].newest.names or ():
            plain = name.removesuffix("_lo") if name.endswith("_lo") else name
            if plain in wides:
                value = int(record[f"{plain}_lo"]) + (int(record[f"{plain}_hi"]) << 64)
                row[plain] = Decimal(value).scaleb(powers[str(units[plain])])
            elif name in units:
                row[name] = Decimal(int(record[name])).scaleb(powers[str(units[name])])
            elif isinstance(record[name], bytes):
                row[name] = record[name].decode()
            elif not name.endswith("_hi"):
                row[name] = int(record[name])
        if "aggressor_side" in row:
            row["aggressor_side"] = SIDES[row["aggressor_side"]]
        if row.get("ts_event") == TIME_NONE:
            row["ts_event"] = None
        return row

    def expected(self) -> list[Row]:
        """Its rows."""
        return list(self.rows.values())


class Definitions:
    """What a ledger of instruments must hold at `position`."""

    def __init__(self, name: str, position: int) -> None:
        self.name, self.position = name, position
        self.key = ("symbol", "venue", "_r")
        self._rows: list[Row] = []
        self._open: dict[tuple[str, str], Row] = {}

    def take(self, r: int, event: Mapping[str, Any]) -> None:
        """Follow one definition."""
        if r > self.position:
            return
        row = {**DEFINED, **event, "_r": r, "_i": 0, "_n": 0, "r_to": OPEN}
        row |= {name: Decimal(row[name]) for name in DECIMALS}
        row["inverse"] = int(row["inverse"])
        key = (row["symbol"], row["venue"])
        if key in self._open:
            self._open[key]["r_to"] = r
        self._open[key] = row
        self._rows.append(row)

    def expected(self) -> list[Row]:
        """Its rows."""
        return self._rows


def compare_ledger(
    physical: str, kept: "Latest | Definitions", found: list[Mapping[str, Any]], verdicts: Verdicts
) -> None:
    """Judge the rows of a table, by its key."""
    there = {tuple(row[name] for name in kept.key): row for row in found}
    wanted = {tuple(row[name] for name in kept.key): row for row in kept.expected()}
    verdicts.held("I8", len(wanted) + 1)
    for key in sorted(wanted.keys() | there.keys(), key=str):
        where = f"{physical} {key}"
        if key not in there:
            verdicts.broken("I8", where, "a row", f"none at position {kept.position}")
        elif key not in wanted:
            verdicts.broken("I8", where, f"no row at position {kept.position}", "a row")
        else:
            wrong = [n for n, value in there[key].items() if wanted[key][n] != value]
            if wrong:
                name = wrong[0]
                verdicts.broken("I8", f"{where} {name}", wanted[key][name], there[key][name])
