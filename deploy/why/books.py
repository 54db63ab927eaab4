"""Why a book is as it is: its last snapshot, every change after it, and what spoke against it."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tidemill.deploy.why.deriving import Record
from tidemill.deploy.why.reading import (
    Context,
    Explained,
    Gathered,
    check,
    events_shown,
    facts,
    newest,
    upto,
    used,
)
from tidemill.processors.kernels.book_state import BUY, LAST, SELL, SNAPSHOT, TRUNCATED, VALID
from tidemill.schemas import events
from tidemill.schemas.errors import Unreadable
from tidemill.schemas.events import Event
from tidemill.schemas.events.feed import BookGapDetected, ChecksumMismatch
from tidemill.schemas.frame import Frame
from tidemill.schemas.identifiers import ALL, partition_token
from tidemill.streams.log import Message


@dataclass
class _Book:
    """A book made again, level by level, with the records since its last snapshot began."""

    records: Gathered
    doubts: list[tuple[int, Event]] = field(default_factory=list)
    sides: dict[int, dict[int, int]] = field(default_factory=lambda: {BUY: {}, SELL: {}})
    loading: int | None = None
    begun: bool = False
    update: int = 0
    before: int = 0
    first: int = 0
    set_at: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)
    """Side and price of a level to the position of what set it last."""

    def take(self, message: Message, frame: Frame, cause: tuple[int, int]) -> None:
        """Take the records of a frame up to the cause."""
        self.first = self.first or message.sequence
        keep = upto(message, frame, cause)
        starts = 0
        for index in np.flatnonzero(keep).tolist():
            record = frame.records[index]
            self.set_at[int(record["side"]), int(record["price"])] = (message.sequence, index)
            if self._one(record):
                self.before += len(self.records)
                self.records.clear()
                self.doubts.clear()
                self.before += index - starts
                starts = index
        keep[:starts] = False
        if keep.any():
            self.records.used.append(used(message, frame, keep))

    def _one(self, record: Any) -> bool:
        """Take one record; return whether a snapshot begins with it."""
        flags, update = int(record["flags"]), int(record["last_update_id"])
        begins = bool(flags & SNAPSHOT) and self.loading != update
        if begins:
            self.sides = {BUY: {}, SELL: {}}
            self.begun = True
        self.loading = update if flags & SNAPSHOT and not flags & LAST else None
        side, quantity = int(record["side"]), int(record["quantity"])
        self.update = update
        if side in self.sides:
            levels, price = self.sides[side], int(record["price"])
            if quantity:
                levels[price] = quantity
            else:
                levels.pop(price, None)
        return begins

    def doubt(self, r: int, event: Event) -> None:
        """Note what says that the book is not proven."""
        self.loading = None
        self.doubts.append((r, event))

    def best(self, side: int) -> list[tuple[int, int]]:
        """Return the levels of a side, best first."""
        return sorted(self.sides[side].items(), reverse=side == BUY)


async def explain(context: Context, record: Record) -> Explained:
    """Return what a book's metrics, one of its levels or a level of its snapshot was made of."""
    raw, name = record.raw, record.name
    book = await _rebuilt(context, name.venue, name.symbol)
    inputs = [book.records.shown(context)]
    if book.doubts:
        inputs.append(events_shown("what spoke against it since", book.doubts, context))
    valid = raw.get("state", VALID) == VALID
    if not valid:
        product = context.found.defined[name.venue, name.symbol][1].product
        subject = f"md.status.{name.venue}.{product}.{partition_token(ALL)}"
        heard = await newest(context, "when its feed was heard last", subject)
        inputs.append(heard.shown(context))
        return Explained(inputs, [])
    if record.frame is not None and record.frame.kind.name == "book_metrics" and book.before:
        usual = {"role": "its earlier records, for what depth is usual for it (liquidity_score)"}
        inputs.append({**usual, "records": book.before, "first": {"r": book.first}})
    place = book.set_at.get((raw.get("side", 0), raw.get("price", 0)))
    if place is not None:
        at = {"r": place[0], "i": place[1]}
        inputs.append({"role": "what set this level last", "records": 1, "first": at})
    return Explained(inputs, _checks(raw, book))


async def _rebuilt(context: Context, venue: str, symbol: str) -> _Book:
    book = _Book(Gathered("its last snapshot and the changes after it"))
    subjects = [context.subject(kind, venue, symbol) for kind in ("book", "event")]
    async for message, frame in facts(context, subjects):
        if frame is not None and frame.kind.name == "book":
            book.take(message, frame, context.cause)
        elif frame is None:
            try:
                event = events.decode(message.payload)
            except Unreadable:
                continue
            if isinstance(event, BookGapDetected | ChecksumMismatch):
                book.doubt(message.sequence, event)
    return book


def _checks(raw: dict[str, Any], book: _Book) -> list[dict[str, Any]]:
    checks = [check("last_update_id", raw["last_update_id"], book.update)]
    if "level" in raw:
        if raw["side"] not in (BUY, SELL):
            return [*checks, check("levels", 0, len(book.best(BUY)) + len(book.best(SELL)))]
        levels = book.best(raw["side"])
        there = levels[raw["level"]] if raw["level"] < len(levels) else None
        said = (raw["price"], raw["quantity"])
        return [*checks, check(f"level {raw['level']}, price and quantity", said, there)]
    for side, word in ((BUY, "bid"), (SELL, "ask")):
        levels = book.best(side)
        best = levels[0] if levels else (0, 0)
        checks.append(check(f"{word}_price", raw[f"{word}_price"], best[0]))
        checks.append(check(f"{word}_quantity", raw[f"{word}_quantity"], best[1]))
        if not raw["flags"] & TRUNCATED:
            checks.append(check(f"{word}_levels", raw[f"{word}_levels"], len(levels)))
    return checks
