"""LOG filled with synthetic trades, and the sink that brings them into ClickHouse."""

import asyncio
import os
import sys
from asyncio.subprocess import Process
from pathlib import Path

from tidemill.deploy.children import environment
from tidemill.deploy.embedded.servers import ServerUrls
from tidemill.deploy.load import Load
from tidemill.projections.clickhouse.trades import TRADES
from tidemill.projections.postgres.readings import Pool
from tidemill.streams.appender import Appender

FRAMES_A_FLUSH = 32
_POSITION = "SELECT position FROM sink WHERE t = $1"


async def sink_of_trades(urls: ServerUrls, folder: Path) -> Process:
    """Start the role projections with the table of trades alone."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tidemill.deploy.cli", "run", "projections", "trades"),
        env={**os.environ, **environment(urls, folder, [], 0)},
    )


async def filled(appender: Appender, load: Load, trades: int) -> int:
    """Append about so many trades; return how many."""
    flush: list[tuple[str, bytes]] = []
    for batch in load.facts(trades):
        flush += batch
        if len(flush) >= FRAMES_A_FLUSH:
            await appender.append(flush)
            flush = []
    if flush:
        await appender.append(flush)
    per_round = len(load.definitions) * load.per_frame
    return -(-trades // per_round) * per_round


async def materialised(pool: Pool, r: int, pause_s: float = 0.01) -> None:
    """Return when the table of trades has come to `r`.

    By the sink's position, not a count: asking ClickHouse itself would take its time.
    """
    while (await pool.fetchval(_POSITION, TRADES.physical) or 0) < r:
        await asyncio.sleep(pause_s)
