"""Run a simulated venue: `python -m tidemill.deploy.exchange --venue BINANCE --product SPOT,USDM`

Its products share a port. Prints one JSON line {"ready": true, "venue": .., "products": [..],
"port": .., "ws": .., "rest": ..} when it serves, and runs until SIGINT or SIGTERM. Two venues with
one seed follow one fundamental.
"""

import argparse
import asyncio
import gc
import signal
import sys
import time
from dataclasses import replace
from itertools import chain
from pathlib import Path

import orjson

from tidemill.deploy.exchange.exchange import Exchange, Opening
from tidemill.deploy.exchange.flow import LIQUIDATION_SHARE
from tidemill.deploy.exchange.market import warm_up
from tidemill.deploy.exchange.playback import Playback
from tidemill.deploy.exchange.server import listen
from tidemill.deploy.exchange.venues import OUTLOOKS, PROTOCOLS, exchange_of, products
from tidemill.schemas.errors import Unreadable
from tidemill.streams.feeds.capture import CaptureFile

LIMITS = {
    "weight_max": int,
    "connections_max": int,
    "connections_window_s": float,
    "ping_interval_s": float,
    "pong_timeout_s": float,
    "connection_age_max_s": float,
}


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tidemill.deploy.exchange", description=__doc__)
    parser.add_argument("--venue", choices=sorted(PROTOCOLS), default="BINANCE")
    parser.add_argument(
        "--product", default="", help="one or more, by commas; the first if not said"
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--symbols", default="BTCUSDT,ETHUSDT,BNBUSDT,SOLUSDT")
    parser.add_argument(
        "--rate",
        type=float,
        default=50.0,
        help="trades and quotes a second and symbol (mean over symbols); 0: as clients take them",
    )
    parser.add_argument(
        "--zipf",
        type=float,
        default=0.0,
        help="spread the rate over the symbols in the order given: the k-th gets k**-ZIPF",
    )
    parser.add_argument("--trades-kept", type=int, default=100_000, help="a symbol, for REST")
    parser.add_argument(
        "--liquidations", type=float, default=LIQUIDATION_SHARE, help="share of a contract's orders"
    )
    parser.add_argument(
        "--play",
        type=Path,
        nargs="+",
        help="captures of Binance to play instead: one symbol of one product",
    )
    parser.add_argument("--speed", type=float, default=1.0, help="of --play")
    for name, kind in LIMITS.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, help="instead of the venue's")
    return parser


def rates_of(names: list[str], rate: float, zipf: float) -> dict[str, float]:
    """Events a second by symbol: `rate` on average, falling as rank ** -zipf."""
    weights = [(rank + 1) ** -zipf for rank in range(len(names))]
    scale = rate * len(names) / sum(weights)
    return {name: scale * weight for name, weight in zip(names, weights, strict=True)}


def playback_of(options: argparse.Namespace, names: list[str]) -> Playback | None:
    """What is to be played. ValueError where that is not of one symbol."""
    if not options.play:
        return None
    if len(names) != 1:
        raise ValueError("captures of one symbol can be played: say which by --symbols")
    lines = chain.from_iterable(CaptureFile(path) for path in options.play)
    return Playback(lines, names[0], options.speed)


def exchange_from(options: argparse.Namespace) -> tuple[Exchange, Playback | None]:
    """The venue that the options describe. Unreadable for a symbol that cannot be, ValueError for a
    product that is not offered."""
    names = list(dict.fromkeys(name for name in options.symbols.split(",") if name))
    wanted = options.product.split(",") if options.product else products(options.venue)[:1]
    playback = playback_of(options, names)
    warm_up()
    rates = rates_of(names, options.rate, options.zipf) if options.rate and not playback else {}
    opening = Opening(
        seed=options.seed,
        rate=0.0 if playback else options.rate or None,
        rates=rates,
        outlook=OUTLOOKS[options.venue],
        trades_kept=options.trades_kept,
        liquidation_share=options.liquidations,
    )
    own = PROTOCOLS[options.venue][0].limits
    asked = {name: getattr(options, name) for name in LIMITS}
    given = {name: value for name, value in asked.items() if value is not None}
    limits = replace(own, **given) if given else None
    clock_us = playback.clock_us if playback else lambda: time.time_ns() // 1_000
    return exchange_of(options.venue, wanted, names, clock_us, opening, limits), playback


async def serve(options: argparse.Namespace) -> None:
    """Serve until a signal; close what is open."""
    exchange, playback = exchange_from(options)
    stop = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    gc.freeze()  # the books live as long as the process: no collection need look at them
    async with await listen(exchange, options.host, options.port) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        address = f"{options.host}:{port}"
        traded = list(dict.fromkeys(product for product, _ in exchange.markets))
        ready = {"ready": True, "venue": options.venue, "products": traded, "port": port}
        urls = {"ws": f"ws://{address}", "rest": f"http://{address}"}
        print(orjson.dumps({**ready, **urls}).decode(), flush=True)
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(playback.run(exchange) if playback else exchange.run())
            await stop.wait()
            running.cancel()


def main() -> int:
    options = arguments().parse_args()
    try:
        asyncio.run(serve(options))
    except (OSError, Unreadable, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
