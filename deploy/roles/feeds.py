"""The role feeds: the configured venues, each from its sockets into LOG."""

import asyncio
from collections.abc import Sequence

from tidemill.deploy.roles.connections import streams
from tidemill.deploy.roles.gauges import show
from tidemill.deploy.settings import FeedSettings, Missing, Settings
from tidemill.streams.feeds.live import Endpoints
from tidemill.streams.feeds.registry import venue_of
from tidemill.streams.feeds.role import Feed
from tidemill.streams.log import Log


async def run(settings: Settings, names: Sequence[str] = ()) -> None:
    """Run the feeds whose venues are in `names`, or all, until cancelled.

    Raises Missing where none is configured.
    """
    settings.require("nats_engine", "feeds")
    chosen = [feed for feed in settings.feeds if not names or feed.venue in names]
    if not chosen:
        known = ", ".join(feed.venue for feed in settings.feeds)
        raise Missing(f"no feed of {', '.join(names)} is configured; there are {known}")
    async with (
        streams(settings.nats_engine, "feeds", settings.archive) as opened,
        asyncio.TaskGroup() as group,
    ):
        for feed in chosen:
            group.create_task(_feed(settings, opened.log, feed))


async def _feed(settings: Settings, log: Log, feed: FeedSettings) -> None:
    running = Feed(
        log,
        venue_of(feed.venue, feed.product),
        feed.symbols,
        Endpoints(feed.websocket, feed.rest),
        dead=settings.data_dir / "dead",
    )
    show(
        f"feed-{feed.venue}-{feed.product}",
        position=lambda: running.writer.last,
        lag=lambda: running.writer.queued_bytes,
        messages=lambda: running.writer.sequence,
        retries=lambda: running.writer.retries,
    )
    await running.run()
