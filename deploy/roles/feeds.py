"""The role feeds: the configured venues, each with all its products from their sockets into LOG."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from tidemill.deploy.roles.connections import streams
from tidemill.deploy.roles.gauges import show, show_feed
from tidemill.deploy.settings import FeedSettings, Missing, Settings
from tidemill.streams.feeds.disk import usage_of
from tidemill.streams.feeds.live import Endpoints
from tidemill.streams.feeds.registry import venue_of
from tidemill.streams.feeds.role import Feed, Subscription
from tidemill.streams.log import Log
from tidemill.streams.proof import prove


async def run(settings: Settings, names: Sequence[str] = ()) -> None:
    """Run the feeds whose venues are in `names`, or all, until cancelled.

    Raises Missing where none is configured.
    """
    settings.require("nats_engine", "feeds")
    feeds = chosen(settings.feeds, names)
    async with streams(settings.nats_engine, "feeds", settings.archive) as opened:
        await prove(opened.log, opened.out)
        async with asyncio.TaskGroup() as group:
            for venue, subscriptions in feeds.items():
                group.create_task(_feed(settings, opened.log, venue, subscriptions))


def chosen(feeds: Sequence[FeedSettings], names: Sequence[str]) -> dict[str, list[Subscription]]:
    """Return what is subscribed to of each venue in `names` (of all, if there are none).

    Raises Missing where none is configured, ValueError for a venue or product that is not known.
    """
    venues: dict[str, list[Subscription]] = {}
    for feed in feeds:
        if not names or feed.venue in names:
            venues.setdefault(feed.venue, []).append(_subscription(feed))
    if not venues:
        known = ", ".join(sorted({feed.venue for feed in feeds}))
        raise Missing(f"no feed of {', '.join(names)} is configured; there are {known}")
    return venues


def _subscription(feed: FeedSettings) -> Subscription:
    venue = venue_of(feed.venue, feed.product)
    own = venue.endpoints
    endpoints = Endpoints(feed.websocket or own.websocket, feed.rest or own.rest)
    return Subscription(venue, feed.symbols, endpoints, feed.connections)


async def _feed(
    settings: Settings, log: Log, venue: str, subscriptions: Sequence[Subscription]
) -> None:
    running = Feed(
        log,
        subscriptions,
        settings.data_dir / "dead",
        *([usage_of(Path(settings.store))] if settings.store else []),
    )
    show(
        f"feed-{venue}",
        position=lambda: running.writer.last,
        lag=lambda: running.writer.queued_bytes,
        messages=lambda: running.writer.sequence,
        retries=lambda: running.writer.retries,
    )
    show_feed(running)
    await running.run()
