"""I2 of trades: where a venue counts them, no id is missing that no event declares."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tidemill.tests.faults.checker.messages import Message, parse
from tidemill.tests.faults.checker.sbe import Frame
from tidemill.tests.faults.checker.verdicts import Verdicts

COUNTED = {("LOAD", "SPOT"), ("BINANCE", "SPOT"), ("OKX", "SPOT")}
"""Venues and products whose trade ids count up by one for each instrument."""
DECLARING = ("TradeGapDetected.", "TradeGapDeclared.")
Span = tuple[int, int]


class TradeIds:
    """Follows the ids of each instrument: what was skipped must come later, or be declared."""

    def __init__(self, verdicts: Verdicts) -> None:
        self._verdicts = verdicts
        self._products: dict[tuple[str, str], str] = {}
        self._next: dict[tuple[str, str], int] = {}
        self._missing: dict[tuple[str, str], dict[Span, int]] = {}
        self._declared: dict[tuple[str, str], list[Span]] = {}
        self._given_up: set[str] = set()

    def take(self, message: Message, frame: Frame | None, event: Mapping[str, Any] | None) -> None:
        """Follow one message of LOG."""
        subject = parse(message.subject)
        if subject is None or subject.root != "md":
            return
        key = (subject.venue, subject.symbol)
        if frame is not None and frame.kind == "trade" and self._counted(key):
            self._trades(key, message.sequence, frame.records["trade_id"])
        if event is None:
            return
        if subject.kind == "instrument":
            self._products[key] = str(event.get("product", ""))
        elif event["event"].startswith(DECLARING):
            self._declared.setdefault(key, []).append((event["first_id"], event["last_id"]))
        elif event["event"].startswith("RecordsGivenUp."):
            self._given_up.add(subject.venue)

    def _counted(self, key: tuple[str, str]) -> bool:
        return (key[0], self._products.get(key, "")) in COUNTED

    def _trades(self, key: tuple[str, str], r: int, ids: "np.ndarray[Any, np.dtype[Any]]") -> None:
        self._verdicts.held("I2", len(ids))
        steps = np.diff(ids.astype(np.int64))
        following = self._next.get(key, int(ids[0]))
        if int(ids[0]) == following and (steps == 1).all():
            self._next[key] = int(ids[-1]) + 1
            return
        for one in ids.tolist():
            following = self._one(key, r, one, following)
        self._next[key] = following

    def _one(self, key: tuple[str, str], r: int, one: int, following: int) -> int:
        missing = self._missing.setdefault(key, {})
        if one >= following:
            if one > following:
                missing[following, one - 1] = r
            return one + 1
        for first, last in missing:
            if first <= one <= last:
                seen = missing.pop((first, last))
                missing |= {span: seen for span in ((first, one - 1), (one + 1, last))
                            if span[0] <= span[1]}  # fmt: skip
                return following
        if key[0] == "LOAD":  # a venue may repeat itself; the load never does
            self._verdicts.broken("I2", f"LOG {r} (trades of {key})", f"{following}", one)
        return following

    def end(self) -> None:
        """See that what never came is declared."""
        for key, missing in self._missing.items():
            for (first, last), r in missing.items():
                rest = [(first, last)]
                for a, b in self._declared.get(key, []):
                    rest = [s for x, y in rest for s in ((x, min(y, a - 1)), (max(x, b + 1), y))
                            if s[0] <= s[1]]  # fmt: skip
                if rest and key[0] not in self._given_up:
                    where = f"LOG {r} (trades of {key})"
                    self._verdicts.broken("I2", where, "declared holes alone", f"a hole {rest}")
