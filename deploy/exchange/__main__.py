"""Run one simulated venue: `python -m tidemill.deploy.exchange --venue BINANCE --port 0`.

Prints one JSON line {"ready": true, "venue": .., "port": .., "ws": .., "rest": ..} when it serves,
and runs until SIGINT or SIGTERM. Two venues with one seed follow one fundamental.
"""

import argparse
import asyncio
import gc
import signal
import sys
import time

import orjson

from tidemill.deploy.exchange.binance import Exchange
from tidemill.deploy.exchange.fundamental import Outlook
from tidemill.deploy.exchange.limits import Limits
from tidemill.deploy.exchange.market import Market, warm_up
from tidemill.deploy.exchange.symbols import symbol_of
from tidemill.schemas.errors import Unreadable

# Binance leads; Binance.US follows 0.3 s later, a basis point off.
OUTLOOKS = {"BINANCE": Outlook(), "BINANCE_US": Outlook(lag_s=0.3, noise=1e-4)}
FULL_SPEED_NOMINAL = 1_000.0  # events a second of the fundamental when clients set the pace


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tidemill.deploy.exchange", description=__doc__)
    parser.add_argument("--venue", choices=sorted(OUTLOOKS), default="BINANCE")
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
    defaults = Limits()
    parser.add_argument("--weight-max", type=int, default=defaults.weight_max)
    parser.add_argument("--connections-max", type=int, default=defaults.connections_max)
    parser.add_argument("--ping-interval-s", type=float, default=defaults.ping_interval_s)
    parser.add_argument("--pong-timeout-s", type=float, default=defaults.pong_timeout_s)
    parser.add_argument("--connection-age-max-s", type=float, default=defaults.connection_age_max_s)
    return parser


def rates_of(names: list[str], rate: float, zipf: float) -> dict[str, float]:
    """Events a second by symbol: `rate` on average, falling as rank ** -zipf."""
    weights = [(rank + 1) ** -zipf for rank in range(len(names))]
    scale = rate * len(names) / sum(weights)
    return {name: scale * weight for name, weight in zip(names, weights, strict=True)}


def exchange_of(options: argparse.Namespace) -> Exchange:
    """The venue that the options describe. Unreadable for a symbol that cannot be."""
    names = list(dict.fromkeys(name for name in options.symbols.split(",") if name))
    symbols = {name: symbol_of(name) for name in names}
    warm_up()
    rates = rates_of(names, options.rate or FULL_SPEED_NOMINAL, options.zipf)
    markets = {
        name: Market(
            symbols[name],
            venue=options.venue,
            seed=options.seed,
            rate=rates[name],
            outlook=OUTLOOKS[options.venue],
            trades_kept=options.trades_kept,
        )
        for name in names
    }
    limits = Limits(
        weight_max=options.weight_max,
        connections_max=options.connections_max,
        ping_interval_s=options.ping_interval_s,
        pong_timeout_s=options.pong_timeout_s,
        connection_age_max_s=options.connection_age_max_s,
    )
    paced = rates if options.rate else None
    return Exchange(options.venue, markets, paced, lambda: time.time_ns() // 1_000, limits)


async def serve(options: argparse.Namespace) -> None:
    """Serve until a signal; close what is open."""
    exchange = exchange_of(options)
    stop = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    gc.freeze()  # the books live as long as the process: no collection need look at them
    async with await exchange.listen(options.host, options.port) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        address = f"{options.host}:{port}"
        ready = {"ready": True, "venue": options.venue, "port": port}
        urls = {"ws": f"ws://{address}", "rest": f"http://{address}"}
        print(orjson.dumps({**ready, **urls}).decode(), flush=True)
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(exchange.run())
            await stop.wait()
            running.cancel()


def main() -> int:
    options = arguments().parse_args()
    try:
        asyncio.run(serve(options))
    except Unreadable as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
