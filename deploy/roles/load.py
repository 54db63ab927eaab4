"""The role load: synthetic trades straight into LOG at a rate, for soak and fault tests."""

import asyncio

import numpy as np

from tidemill.deploy.load import Load
from tidemill.deploy.roles.connections import streams
from tidemill.deploy.settings import Settings
from tidemill.schemas import kinds
from tidemill.streams import crash_points
from tidemill.streams.appender import Appender
from tidemill.streams.feeds.live import ReceiveClock
from tidemill.streams.log import Log
from tidemill.streams.proof import prove
from tidemill.streams.writer import sequence_of

INSTRUMENTS = 8
ROUND_S = 0.02
STATUS_S = 0.5


async def run(settings: Settings, rate: int) -> None:
    """Append `rate` trades a second over 8 instruments until cancelled, ids going on as they were.

    Raises Fenced when another load has taken over.
    """
    settings.require("nats_engine")
    async with streams(settings.nats_engine, "load", settings.archive) as opened:
        await prove(opened.log, opened.out)
        now = ReceiveClock()
        appender = Appender(opened.log, "md.*.LOAD.*.*")
        load = Load(INSTRUMENTS, rate)
        load.ts = now()
        newest = await appender.own()
        if newest is None:
            await appender.append([fact for fact in load.opening() if fact[0] != "time"])
        else:
            load.sequence = sequence_of(newest.payload)
        await _continue(load, opened.log)
        status_at = 0
        while True:
            missing = (now() - load.ts) * rate // 1_000_000_000 // INSTRUMENTS
            if missing > 0:
                made = load.round(min(missing, load.per_frame))
                crash_points.reach("load.append.storing")
                await appender.append(made)
                crash_points.reach("load.append.stored")
            if now() - status_at >= STATUS_S * 1e9:
                status_at = now()
                await appender.append([load.status()])
            await asyncio.sleep(ROUND_S if missing < load.per_frame else 0)
            load.ts = max(load.ts, now() - 1_000_000_000)  # what a stall missed is not made up


async def _continue(load: Load, log: Log) -> None:
    """Take trade ids and prices up where LOG has them."""
    symbols = [definition.symbol for definition in load.definitions]
    for message in await log.lasts("md.trade.LOAD.*.*"):
        which = symbols.index(message.subject.split(".")[3])
        newest = kinds.decode(message.payload).records[-1]
        load.next_id[which] = newest["trade_id"] + np.uint64(1)
        load.prices[which] = newest["price"]
        load.ts = max(load.ts, int(newest["ts_event"]))
