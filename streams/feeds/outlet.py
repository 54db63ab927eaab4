"""What a writer asks of a feed: frames of its items, and a declaration of those it gave up."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from tidemill.schemas.events.feed import RecordsGivenUp, TradeGapDeclared
from tidemill.schemas.events.instrument import InstrumentDefined
from tidemill.schemas.kinds.status import STATUS
from tidemill.schemas.kinds.trade import TRADE
from tidemill.streams.feeds import frames
from tidemill.streams.feeds.feed import Batch, Venue, feed_subject
from tidemill.streams.feeds.intake import Fact, Item
from tidemill.streams.subjects import parse

FRAME_PREFIX_BYTES = 32
FACT_BYTES = 512
"""About what an event takes; only flushes and queues are bounded by it."""
REASON = "not acknowledged in time"


@dataclass
class _Lost:
    """What was given up since it was last declared; bounded by the number of instruments."""

    records: int = 0
    ts_from: int = 0
    ts_to: int = 0
    trades: dict[str, TradeGapDeclared] = field(default_factory=dict)  # by subject of its events
    again: dict[str, Item] = field(default_factory=dict)  # newest definition, hold: said anew


class FeedSource:
    """A `writer.Source` of a feed's items."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._lost = _Lost()

    def size(self, item: Item) -> int:
        """Return about the bytes that `item` takes."""
        return FACT_BYTES if isinstance(item, Fact) else FRAME_PREFIX_BYTES + item.records.nbytes

    def cut(self, items: Sequence[Item], sequence: int) -> frames.Messages:
        """Return the messages of `items`, their sequences from `sequence` on."""
        return frames.cut_flush(items, sequence)

    def give_up(self, items: Sequence[Item]) -> None:
        """Note what is lost: how much, which trades; and what must be said again."""
        for item in items:
            if isinstance(item, Batch):
                self._lose_batch(item)
            elif isinstance(item.event, TradeGapDeclared):
                self._lose_trades(item.subject, item.event)
            elif isinstance(item.event, InstrumentDefined):
                self._lost.again[item.subject] = item

    def declare(self) -> Sequence[Item]:
        """Return definitions and holds that were lost, and events that declare the rest."""
        lost, self._lost = self._lost, _Lost()
        items = list(lost.again.values())
        if lost.records:
            event = RecordsGivenUp(
                venue=self._venue.venue,
                product=self._venue.product,
                records=lost.records,
                ts_from=lost.ts_from,
                ts_to=lost.ts_to,
                reason=REASON,
            )
            items.append(Fact(feed_subject("event", self._venue), event, lost.ts_to))
        items += [Fact(subject, event, event.ts_recv) for subject, event in lost.trades.items()]
        return items

    def _lose_batch(self, batch: Batch) -> None:
        lost = self._lost
        if batch.kind is STATUS:
            if not batch.subject.endswith(".all"):
                lost.again[batch.subject] = batch
            return
        times = batch.records["ts_recv"]
        lost.ts_from = min(lost.ts_from or int(times[0]), int(times.min()))
        lost.ts_to = max(lost.ts_to, int(times.max()))
        lost.records += len(times)
        if batch.kind is TRADE:
            first, last = batch.records[0], batch.records[-1]
            event = TradeGapDeclared(
                venue=self._venue.venue,
                symbol=parse(batch.subject).symbol,
                first_id=int(first["trade_id"]),
                last_id=int(last["trade_id"]),
                ts_from=int(first["ts_event"]),
                ts_to=int(last["ts_event"]),
                ts_recv=int(last["ts_recv"]),
                reason=REASON,
            )
            self._lose_trades(batch.subject.replace(".trade.", ".event.", 1), event)

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
