"""`tidemill demo`: everything on this machine, shown while it flows, and summed up at the end."""

import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live

from tidemill.deploy.children import (
    LIVE_PORT,
    QUERIES_PORT,
    environment,
    exchange,
    port_or_free,
    roles,
)
from tidemill.deploy.commands.composites import establish
from tidemill.deploy.commands.deployment import deploy_code
from tidemill.deploy.commands.fees import charge, configured
from tidemill.deploy.commands.output import Exit, answer, say
from tidemill.deploy.commands.sets import DEMO, define
from tidemill.deploy.embedded.ports import LOOPBACK, free_port
from tidemill.deploy.embedded.servers import EmbeddedServers, ServerUrls
from tidemill.deploy.prepared import databases, prepare
from tidemill.deploy.roles.connections import streams
from tidemill.deploy.screen import Monitor, drawn
from tidemill.deploy.settings import FeedSettings, archive_of
from tidemill.deploy.supervisor.child import Child
from tidemill.deploy.tables import database_digests
from tidemill.projections.postgres import readings
from tidemill.projections.registry import TABLES
from tidemill.schemas.errors import Unavailable
from tidemill.schemas.events.composites import CompositeDefined
from tidemill.schemas.events.instrument import InstrumentDefined
from tidemill.streams.feeds.registry import ENDPOINTS

SYMBOLS = ("BTCUSDT", "ETHUSDT", "BNBUSDT", "SOLUSDT")
VENUES: dict[str, dict[str, Sequence[str]]] = {
    "BINANCE": {"SPOT": SYMBOLS, "USDM": [f"{s}-PERP" for s in SYMBOLS]},
    "BYBIT": {"LINEAR": [f"{s}-LINEAR" for s in SYMBOLS]},
    "OKX": {"SPOT": [s.replace("USDT", "-USDT") for s in SYMBOLS]},
}
"""The simulated venues: their products, and what is subscribed to of each."""
COMPOSITE = (
    CompositeDefined(
        name="btc",
        instrument="BTCUSDT.COMPOSITE",
        members=("BTCUSDT.BINANCE", "BTC-USDT.OKX"),
        bars=("1s", "1m"),
    ),
    InstrumentDefined(
        venue="COMPOSITE", symbol="BTCUSDT", product="COMPOSITE", base="BTC", quote="USDT",
        source="CONFIGURED",
    ),
)  # fmt: skip
"""Bars over venues, and the instrument whose they are: 8 decimals, which are enough for both."""
RATE = 50.0
"""Events a second and symbol of a simulated venue."""
SEED = 1
SAMPLE_S = 1.0
CAUGHT_UP_S = 60.0
SOURCES = ("feeds", "load")


TAKER_PPM = (1_000, 500)
"""What takers without a volume discount pay for spot and for contracts, about, at these venues."""


@dataclass(frozen=True)
class Options:
    """What was asked for on the command line; `seconds` None: until stopped."""

    seconds: float | None
    data_dir: Path
    live: bool
    load: int
    json: bool


async def demo(options: Options) -> Exit:
    """Run everything, show it, sum it up. Raises AlreadyRunning, ChildFailed, Unavailable."""
    result = None  # stays so when a signal ends it, at whatever moment
    say(f"starting servers on {options.data_dir} ...")
    async with EmbeddedServers(options.data_dir, signals=True) as servers:
        await prepare(servers.urls)
        async with streams(
            servers.urls.nats_engine, "demo", archive_of(options.data_dir)
        ) as opened:
            await deploy_code(opened.log, "fused")
            venues, feeds = _venues(options.live)
            await charge(opened.log, configured(feeds))
            for of, one in DEMO.items():
                await define(opened.log, of, [one])
            await establish(opened.log, *COMPOSITE)
            queries_port, live_port = port_or_free(QUERIES_PORT), port_or_free(LIVE_PORT)
            env = environment(servers.urls, options.data_dir, feeds, live_port)
            names = [venue.name for venue in venues]
            children = roles(env, queries_port, live_port, names, options.load)
            await servers.supervisor.start(*venues, *children)
            url = f"http://{LOOPBACK}:{queries_port}"
            say(f"everything runs: {url}  (API: {url}/docs, data: {options.data_dir})")
            async with databases(servers.urls) as (pool, clickhouse):
                monitor = Monitor(opened.log, opened.out, pool, clickhouse)
                await _watch(monitor, servers, url, options.seconds)
                if options.seconds is not None:
                    await servers.supervisor.end(*(s for s in SOURCES if _runs(s, children)))
                    result = await _summary(monitor, servers.urls, url)
    if result is None:
        return Exit.HELD
    answer(result, options.json)
    return Exit.HELD if result["ok"] else Exit.DID_NOT_HOLD


def _runs(name: str, children: list[Child]) -> bool:
    return any(child.name == name for child in children)


def _venues(live: bool) -> tuple[list[Child], list[FeedSettings]]:
    """Return the simulated venues to start, and the feeds of them or of the real ones."""
    if live:
        return [], [_feed(v, p, symbols) for v, ps in VENUES.items() for p, symbols in ps.items()]
    children, feeds = [], []
    for venue, products in VENUES.items():
        port = free_port()
        children.append(exchange(venue, port, SYMBOLS, RATE, SEED, tuple(products)))
        feeds += [_feed(venue, p, symbols, port) for p, symbols in products.items()]
    return children, feeds


def _feed(
    venue: str, product: str, symbols: Sequence[str], port: int | None = None
) -> FeedSettings:
    """Return a feed of the venue simulated on `port`, or of the real one."""
    real = ENDPOINTS[venue, product]
    return FeedSettings(
        venue=venue,
        product=product,
        symbols=tuple(symbols),
        websocket=real.websocket if port is None else f"ws://{LOOPBACK}:{port}",
        rest=real.rest if port is None else f"http://{LOOPBACK}:{port}",
        taker_ppm=TAKER_PPM[product != "SPOT"],
    )


async def _watch(
    monitor: Monitor, servers: EmbeddedServers, url: str, seconds: float | None
) -> None:
    """Show what flows, once a second, until the time is over or a signal comes."""
    began = time.monotonic()
    console = Console(file=sys.stderr)
    with Live(console=console, auto_refresh=False, transient=not console.is_terminal) as screen:
        while seconds is None or time.monotonic() < began + seconds:
            left = None if seconds is None else began + seconds - time.monotonic()
            try:
                sample = await monitor.sample()
            except Unavailable as error:
                say(f"waiting: {error}")
            else:
                if console.is_terminal:
                    status = servers.supervisor.status()
                    screen.update(drawn(monitor, status, url, left), refresh=True)
                else:
                    say(
                        f"trades {sample.rows.get('trades', 0):,} ({monitor.rate('trades'):,.0f}/s)"
                        f"  quotes {sample.rows.get('quotes', 0):,}"
                        f"  bars {sample.rows.get('bars', 0):,}  lag {sample.lag_ms or 0:,.0f} ms"
                    )
            await asyncio.sleep(SAMPLE_S)


async def _summary(monitor: Monitor, urls: ServerUrls, url: str) -> dict[str, Any]:
    """Let the tables catch up with what was fed, and digest them."""
    say("feeds stopped; the tables catch up ...")
    last = (await monitor.log.identity()).last
    async with databases(urls) as (pool, _):
        await readings.wait_for(pool, list(TABLES), last, CAUGHT_UP_S)
    digests = await database_digests(urls, last)
    tables = {name: {"rows": d.rows, "sha256": d.sha256} for name, d in digests.items()}
    trades, bars = digests["trades"].rows, digests["bars"].rows
    return {
        "ok": trades > 0 and bars > 0,
        "url": url,
        "trades": trades,
        "bars": bars,
        "lag_ms": monitor.lag_ms,
        "tables": tables,
    }
