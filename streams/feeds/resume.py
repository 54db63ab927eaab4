"""What a log already holds of a feed: a restarted one continues where the last one ended."""

from collections.abc import Sequence

from tidemill.schemas import events, kinds
from tidemill.schemas.events.instrument import InstrumentDefined
from tidemill.schemas.identifiers import ALL
from tidemill.streams import subjects
from tidemill.streams.feeds.feed import Instruments, Venue
from tidemill.streams.feeds.live import Known
from tidemill.streams.log import Log


async def known_of(log: Log, venue: Venue, symbols: Sequence[str]) -> Known:
    """Read the newest definition, trade and status of each of `symbols` from LOG.

    Raises Unavailable as the log does, Unreadable when what it holds is damaged.
    """
    known = Known(Instruments(wanted=frozenset(symbols)))
    for message in await log.lasts(f"md.instrument.{venue.venue}.*.*"):
        definition = events.decode(message.payload)
        if isinstance(definition, InstrumentDefined) and definition.symbol in symbols:
            known.instruments.define(definition)
    known.instruments.fresh.clear()
    for message in await log.lasts(f"md.trade.{venue.venue}.*.*"):
        symbol = subjects.parse(message.subject).symbol
        trade = kinds.decode(message.payload).records[-1]
        if symbol in symbols:
            known.lasts[symbol] = int(trade["trade_id"]), int(trade["ts_event"])
    for message in await log.lasts(f"md.status.{venue.venue}.*.*"):
        subject = subjects.parse(message.subject)
        status = kinds.decode(message.payload).records[-1]
        if subject.partition != ALL:
            known.held += [subject.symbol] if status["hold"] and subject.symbol in symbols else []
        elif subject.symbol == venue.product:
            known.venue_time = int(status["venue_time"])
    return known
