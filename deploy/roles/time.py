"""The role time: appends what time it is; any number may run, one writes."""

from tidemill.deploy.roles.connections import streams
from tidemill.deploy.settings import Settings
from tidemill.streams.feeds.live import ReceiveClock
from tidemill.streams.proof import prove
from tidemill.streams.time_writer import TimeWriter


async def run(settings: Settings) -> None:
    """Write or stand by until cancelled."""
    settings.require("nats_engine")
    async with streams(settings.nats_engine, "time", settings.archive) as opened:
        await prove(opened.log, opened.out)
        await TimeWriter(opened.log, ReceiveClock()).run()
