"""The engine under test as a program: what `tidemill demo --load` starts, servers behind proxies.

`python -m tidemill.tests.faults.launcher DATA_DIR RATE [NAME=PORT ...]`: the processes reach the
server NAME (nats, postgres, clickhouse) over loopback port PORT. Runs until SIGINT.
"""

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from tidemill.deploy.children import environment, exchange, roles
from tidemill.deploy.commands.composites import establish
from tidemill.deploy.commands.demo import COMPOSITE
from tidemill.deploy.commands.deployment import deploy_code
from tidemill.deploy.commands.fees import charge, configured
from tidemill.deploy.commands.output import Exit, run, say
from tidemill.deploy.commands.sets import DEMO, define
from tidemill.deploy.embedded.ports import LOOPBACK, free_port
from tidemill.deploy.embedded.servers import EmbeddedServers, ServerUrls
from tidemill.deploy.kernels import keep_kernels
from tidemill.deploy.prepared import prepare
from tidemill.deploy.roles.connections import streams
from tidemill.deploy.settings import FeedSettings, archive_of
from tidemill.deploy.supervisor.child import Child, Restart

SYMBOLS = ("BTCUSDT", "ETHUSDT")
VENUES: dict[str, dict[str, tuple[str, ...]]] = {
    "BINANCE": {"SPOT": SYMBOLS, "USDM": ("BTCUSDT-PERP", "ETHUSDT-PERP")},
    "OKX": {"SPOT": ("BTC-USDT", "ETH-USDT")},
}
"""The simulated venues: few, since what is tested is what is behind them."""
EVENTS_PER_S = 50.0
PATIENT = Restart(backoff_max_s=1.0, tries_max=100, restarts_max=10_000)
"""A campaign kills more often than a supervisor should take for an accident."""


async def launch(data_dir: Path, rate: int, proxies: Mapping[str, int]) -> Exit:
    """Run everything until a signal comes. Raises AlreadyRunning, ChildFailed, Unavailable."""
    async with EmbeddedServers(data_dir, signals=True) as servers:
        await prepare(servers.urls)
        venues, feeds = simulated()
        async with streams(servers.urls.nats_engine, "launcher", archive_of(data_dir)) as opened:
            await deploy_code(opened.log, "fused")
            await charge(opened.log, configured(feeds))
            for of, one in DEMO.items():
                await define(opened.log, of, [one])
            await establish(opened.log, *COMPOSITE)
        queries_port, live_port = free_port(), free_port()
        env = environment(through(servers.urls, proxies), data_dir, feeds, live_port)
        names = [venue.name for venue in venues]
        children = [*venues, *roles(env, queries_port, live_port, names, rate)]
        await servers.supervisor.start(*(replace(child, restart=PATIENT) for child in children))
        say(f"everything runs: http://{LOOPBACK}:{queries_port}")
        await servers.supervisor.wait()
    return Exit.HELD


def simulated() -> tuple[list[Child], list[FeedSettings]]:
    """Return the simulated venues, and the feeds of them."""
    children, feeds = [], []
    for seed, (venue, products) in enumerate(VENUES.items()):
        port = free_port()
        children.append(exchange(venue, port, SYMBOLS, EVENTS_PER_S, seed, tuple(products)))
        for product, symbols in products.items():
            websocket, rest = f"ws://{LOOPBACK}:{port}", f"http://{LOOPBACK}:{port}"
            feeds.append(
                FeedSettings(
                    venue=venue,
                    product=product,
                    symbols=symbols,
                    websocket=websocket,
                    rest=rest,
                    taker_ppm=1_000,
                )
            )
    return children, feeds


def through(urls: ServerUrls, proxies: Mapping[str, int]) -> ServerUrls:
    """Return the URLs with the proxies' ports in place of the servers'."""
    changed = {
        name: _with_port(value, proxies[server])
        for name, value in urls.model_dump().items()
        for server in (name.partition("_")[0],)
        if server in proxies and name not in ("nats_name", "nats_monitor")
    }
    return urls.model_copy(update=changed)


def _with_port(url: str, port: int) -> str:
    parts = urlsplit(url)
    login, at, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{login}{at}{host.rpartition(':')[0]}:{port}"))


def main(arguments: list[str]) -> None:
    """Run by `arguments`: DATA_DIR RATE NAME=PORT..."""
    keep_kernels()
    proxies = {name: int(port) for name, _, port in (one.partition("=") for one in arguments[2:])}
    run(launch(Path(arguments[0]), int(arguments[1]), proxies))


if __name__ == "__main__":
    main(sys.argv[1:])
