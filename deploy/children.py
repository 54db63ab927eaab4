"""The processes of a whole engine on one machine, for the supervisor to run."""

import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import httpx2
import orjson

from tidemill.deploy.embedded.ports import LOOPBACK, free_port, is_free
from tidemill.deploy.embedded.servers import ServerUrls
from tidemill.deploy.settings import FeedSettings, archive_of
from tidemill.deploy.supervisor.child import YIELDING, Child, running
from tidemill.schemas.errors import Unavailable
from tidemill.streams.feeds.ccxt_venue import PRODUCT as CCXT

QUERIES_PORT, LIVE_PORT = 3000, 3002
PROBE_TIMEOUT_S = 2.0
SERVERS = ("nats", "postgres", "valkey", "clickhouse")


def port_or_free(wanted: int) -> int:
    """Return the usual port, or a free one where somebody has it."""
    return wanted if is_free(wanted) else free_port()


def answers(url: str) -> Callable[[], Awaitable[None]]:
    """Return a probe that passes when `url` answers 200."""

    async def probe() -> None:
        try:
            async with httpx2.AsyncClient(timeout=PROBE_TIMEOUT_S) as client:
                answer = await client.get(url)
        except httpx2.HTTPError as error:
            raise Unavailable(f"{url}: {error!r}") from error
        if answer.status_code != 200:
            raise Unavailable(f"{url} answers {answer.status_code}")

    return probe


def exchange(
    venue: str,
    port: int,
    symbols: Sequence[str],
    rate: float,
    seed: int,
    products: Sequence[str] = ("SPOT",),
) -> Child:
    """Return a simulated venue with `products` on `port`; `rate` in events a second and symbol."""
    return Child(
        name=f"exchange-{venue.lower()}",
        argv=(
            *(sys.executable, "-m", "tidemill.deploy.exchange", "--venue", venue),
            *("--product", ",".join(products)),
            *("--port", str(port), "--symbols", ",".join(symbols)),
            *("--rate", str(rate), "--seed", str(seed)),
        ),
        probe=answers(f"http://{LOOPBACK}:{port}/sim/state"),
    )


def bridged(feeds: Sequence[FeedSettings]) -> tuple[list[Child], list[FeedSettings]]:
    """Return a bridge for each exchange by ccxt that has no address, and the feeds with theirs.

    Nothing waits for a bridge: what one exchange lacks is no concern of the others.
    """
    children, addressed = [], []
    for feed in feeds:
        if feed.product == CCXT and not (feed.websocket or feed.rest):
            port = free_port()
            children.append(bridge(feed.venue, port))
            at = f"{LOOPBACK}:{port}"
            feed = feed.model_copy(update={"websocket": f"ws://{at}", "rest": f"http://{at}"})
        addressed.append(feed)
    return children, addressed


def bridge(venue: str, port: int) -> Child:
    """Return the bridge to an exchange by ccxt on `port`."""
    return Child(
        name=f"bridge-{venue.lower()}",
        argv=(
            *(sys.executable, "-m", "tidemill.streams.feeds.ccxt_bridge", venue.lower()),
            *("--host", LOOPBACK, "--port", str(port)),
        ),
        probe=answers(f"http://{LOOPBACK}:{port}/health"),
    )


def environment(
    urls: ServerUrls, data_dir: Path, feeds: Sequence[FeedSettings], live_port: int
) -> dict[str, str]:
    """Return the settings of every role as environment variables; secrets stay out of argv."""
    named = {f"TIDEMILL_{name.upper()}": value for name, value in urls.model_dump().items()}
    return {
        **named,
        "TIDEMILL_DATA_DIR": str(data_dir.absolute()),
        "TIDEMILL_ARCHIVE": archive_of(data_dir),
        "TIDEMILL_STORE": str(data_dir.absolute()),
        "TIDEMILL_OWNER": f"{urls.nats_name}-supervised",
        "TIDEMILL_FEEDS": orjson.dumps([feed.model_dump() for feed in feeds]).decode(),
        "TIDEMILL_LIVE_URL": f"ws://{LOOPBACK}:{live_port}/live",
    }


def role(
    name: str,
    arguments: Sequence[str],
    env: dict[str, str],
    after: Sequence[str] = SERVERS,
    probe: Callable[[], Awaitable[None]] = running,
    nice: int = 0,
) -> Child:
    """Return a role's process: ``tidemill run ...``."""
    argv = (sys.executable, "-m", "tidemill.deploy.cli", "run", *arguments)
    return Child(name=name, argv=argv, env=env, after=tuple(after), probe=probe, nice=nice)


def roles(
    env: dict[str, str],
    queries_port: int,
    live_port: int,
    feeds_after: Sequence[str] = (),
    load: int = 0,
) -> list[Child]:
    """Return all roles: time, graph, projections, queries, live, and feeds where there are any."""
    page = ("--host", LOOPBACK, "--port")
    children = [
        role("time", ["time"], env),
        role("graph", ["graph", "main"], env),
        role("projections", ["projections"], env),
        role("archive", ["archive"], env, nice=YIELDING),
        role(
            "queries",
            ["queries", *page, str(queries_port)],
            env,
            probe=answers(f"http://{LOOPBACK}:{queries_port}/health"),
        ),
        role(
            "live",
            ["live", *page, str(live_port)],
            env,
            probe=answers(f"http://{LOOPBACK}:{live_port}/health"),
        ),
    ]
    if env["TIDEMILL_FEEDS"] != "[]":
        children.append(role("feeds", ["feeds"], env, after=[*SERVERS, "time", *feeds_after]))
    if load:
        children.append(role("load", ["load", str(load)], env, after=[*SERVERS, "time"]))
    return children
