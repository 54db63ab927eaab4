"""What a writer asks of a feed: frames of its items, and a declaration of those it gave up."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tidemill.schemas.enums import RecordFlag
from tidemill.schemas.events.feed import BookGapDetected, RecordsGivenUp, TradeGapDeclared
from tidemill.schemas.events.instrument import InstrumentDefined
from tidemill.schemas.identifiers import ALL
from tidemill.schemas.kinds.book import BOOK
from tidemill.schemas.kinds.status import STATUS
from tidemill.schemas.kinds.trade import TRADE
from tidemill.streams import subjects
from tidemill.streams.feeds import frames
from tidemill.streams.feeds.feed import Batch, Venue
from tidemill.streams.feeds.items import Fact, Item
from tidemill.streams.subjects import parse

FRAME_PREFIX_BYTES = 32
FACT_BYTES = 512
"""About what an event takes; only flushes and queues are bounded by it."""
REASON = "not acknowledged in time"


@dataclass
class _Records:
    """How many records of one product were given up, and between which receive times (ns)."""

    records: int = 0
    ts_from: int = 0
    ts_to: int = 0


@dataclass
class _Lost:
    """What was given up since it was last declared; bounded by the number of instruments."""

    records: dict[str, _Records] = field(default_factory=dict)  # by product
    books: dict[str, BookGapDetected] = field(default_factory=dict)  # by subject of its events
    trades: dict[str, TradeGapDeclared] = field(default_factory=dict)  # by subject of its events
    again: dict[str, Item] = field(default_factory=dict)  # newest definition, hold: said anew


class FeedSource:
    """A `writer.Source` of the items of a venue's feeds.

    `products` tells the product of a symbol, where it is another than the venue file's. A book of
    which a part was given up is torn: nothing of it is appended before its next snapshot.
    """

    def __init__(self, venue: Venue, products: Mapping[str, str] | None = None) -> None:
        self._venue, self._product = venue.venue, venue.product
        self._products = products or {}
        self._lost = _Lost()
        self._torn: set[str] = set()  # subjects of books
        self._newly_torn: set[str] = set()  # symbols

    def torn(self) -> list[str]:
        """Return the symbols whose book was torn since the last call."""
        found = sorted(self._newly_torn)
        self._newly_torn.clear()
        return found

    def size(self, item: Item) -> int:
        """Return about the bytes that `item` takes."""
        return FACT_BYTES if isinstance(item, Fact) else FRAME_PREFIX_BYTES + item.records.nbytes

    def cut(self, items: Sequence[Item], sequence: int) -> frames.Messages:
        """Return the messages of `items`, their sequences from `sequence` on."""
        if self._torn:
            items = [kept for item in items if (kept := self._mended(item)) is not None]
        return frames.cut_flush(items, sequence)

    def _mended(self, item: Item) -> Item | None:
        """Return what may be appended of an item: nothing of a torn book before a snapshot."""
        if item.subject not in self._torn or isinstance(item, Fact):
            return item
        snapshots = np.flatnonzero(item.records["flags"] & np.uint16(RecordFlag.SNAPSHOT))
        if not len(snapshots):
            return None
        self._torn.discard(item.subject)
        return item._replace(records=item.records[snapshots[0] :])

    def give_up(self, items: Sequence[Item]) -> None:
        """Note what is lost: how much, which trades; and what must be said again."""
        for item in items:
            if isinstance(item, Batch):
                self._lose_batch(item)
            elif isinstance(item.event, TradeGapDeclared):
                self._lose_trades(item.subject, item.event)
            elif isinstance(item.event, BookGapDetected):
                self._lost.books.setdefault(item.subject, item.event)
            elif isinstance(item.event, InstrumentDefined):
                self._lost.again[item.subject] = item

    def declare(self) -> Sequence[Item]:
        """Return definitions and holds that were lost, and events that declare the rest."""
        lost, self._lost = self._lost, _Lost()
        items = list(lost.again.values())
        for product, count in sorted(lost.records.items()):
            event = RecordsGivenUp(
                venue=self._venue,
                product=product,
                records=count.records,
                ts_from=count.ts_from,
                ts_to=count.ts_to,
                reason=REASON,
            )
            items.append(Fact(subjects.md("event", self._venue, product, ALL), event, count.ts_to))
        items += [Fact(subject, event, event.ts_recv) for subject, event in lost.books.items()]
        items += [Fact(subject, event, event.ts_recv) for subject, event in lost.trades.items()]
        return items

    def _lose_batch(self, batch: Batch) -> None:
        lost = self._lost
        if batch.kind is STATUS:
            if not batch.subject.endswith(".all"):
                lost.again[batch.subject] = batch
            return
        symbol = parse(batch.subject).symbol
        times = batch.records["ts_recv"]
        count = lost.records.setdefault(
            self._products.get(symbol, self._product), _Records(ts_from=int(times[0]))
        )
        count.ts_from = min(count.ts_from, int(times.min()))
        count.ts_to = max(count.ts_to, int(times.max()))
        count.records += len(times)
        if batch.kind is TRADE:
            first, last = batch.records[0], batch.records[-1]
            gap = TradeGapDeclared(
                venue=self._venue,
                symbol=symbol,
                first_id=int(first["trade_id"]),
                last_id=int(last["trade_id"]),
                ts_from=int(first["ts_event"]),
                ts_to=int(last["ts_event"]),
                ts_recv=int(last["ts_recv"]),
                reason=REASON,
            )
            self._lose_trades(batch.subject.replace(".trade.", ".event.", 1), gap)
        elif batch.kind is BOOK:
            self._tear(batch, symbol)

    def _tear(self, batch: Batch, symbol: str) -> None:
        """A part of a book is lost: what follows does not continue what LOG holds of it."""
        first, last = batch.records[0], batch.records[-1]
        self._torn.add(batch.subject)
        self._newly_torn.add(symbol)
        subject = batch.subject.replace(".book.", ".event.", 1)
        before = self._lost.books.get(subject)
        self._lost.books[subject] = BookGapDetected(
            venue=self._venue,
            symbol=symbol,
            last_update_id=before.last_update_id if before else int(first["first_update_id"]) - 1,
            expected_id=before.expected_id if before else int(first["first_update_id"]),
            received_id=int(last["last_update_id"]),
            ts_recv=int(last["ts_recv"]),
            reason="OVERFLOW",
        )

    def _lose_trades(self, subject: str, event: TradeGapDeclared) -> None:
        """Widen what is lost of an instrument by the trades of `event`."""
        before = self._lost.trades.get(subject, event)
        self._lost.trades[subject] = event.model_copy(
            update={
                "first_id": min(before.first_id, event.first_id),
                "last_id": max(before.last_id, event.last_id),
                "ts_from": min(before.ts_from, event.ts_from),
            }
        )
