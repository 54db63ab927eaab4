"""`tidemill fees`: the fact of what a venue's product costs from here on.

Steps read fees from LOG alone, so that a replay reads the same ones; a configuration is a fact only
once it is appended.
"""

from collections.abc import Iterable
from pathlib import Path

from tidemill.deploy.commands.output import Exit, answer
from tidemill.deploy.embedded.servers import servers_on
from tidemill.deploy.roles.connections import streams
from tidemill.deploy.settings import FeedSettings, archive_of
from tidemill.schemas import events
from tidemill.schemas.events.fees import FeesDefined
from tidemill.streams.appender import Appender
from tidemill.streams.log import Log


async def fees(event: FeesDefined, data_dir: Path, json: bool) -> Exit:
    """Append the fact, unless LOG says so already."""
    async with (
        servers_on(data_dir) as urls,
        streams(urls.nats_engine, "fees", archive_of(data_dir)) as opened,
    ):
        changed = await charge(opened.log, [event])
    answer({**event.model_dump(exclude={"sequence"}), "changed": bool(changed)}, json)
    return Exit.HELD


async def charge(log: Log, wanted: Iterable[FeesDefined]) -> list[FeesDefined]:
    """Append those that LOG does not say already; return them. Raises Unavailable, Fenced."""
    changed = []
    for event in wanted:
        appender = Appender(log, f"ctl.fees.{event.venue}.{event.product}")
        newest = await appender.own()
        if newest is None or events.decode(newest.payload) != event:
            await appender.append([(appender.subject, events.encode(event))])
            changed.append(event)
    return changed


def configured(feeds: Iterable[FeedSettings]) -> list[FeesDefined]:
    """Return the fees that a configuration names."""
    return [
        FeesDefined(
            venue=feed.venue,
            product=feed.product,
            taker_ppm=feed.taker_ppm,
            maker_ppm=feed.taker_ppm if feed.maker_ppm is None else feed.maker_ppm,
        )
        for feed in feeds
        if feed.taker_ppm is not None
    ]
