"""`bench latency`: from the receipt of a trade to the bar that it closes, at a `live.>` subscriber.

Everything runs, each as its own process: nats-server (fsync always), ClickHouse, Postgres, Valkey,
time, graph, projections, queries, live; and a feed's writer on an open-loop schedule. Every update
of a one-second bar is one sample: its arrival here less `ts_recv` of the record that caused it,
which is read from LOG at the bar's own (at_r, at_i) when all is over. So nothing waits for anything
and nothing is left out. Where the time goes is told by the server's own times of both messages.
"""

import argparse
import asyncio
import base64
import os
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson
import uvloop

from tests.bench.parts.cpu import cpu_seconds
from tests.bench.rounds import answer, say
from tidemill.deploy.children import environment, roles
from tidemill.deploy.embedded.ports import free_port
from tidemill.deploy.embedded.servers import EmbeddedServers
from tidemill.deploy.prepared import prepare
from tidemill.schemas import kinds
from tidemill.streams.jetstream_connection import Connection, connect

WARM_UP_S = 12.0
START_S = 2.0
READY_TIMEOUT_S = 180.0
INSTRUMENTS = 20
BARS = "live.bars.1s.LOAD.>"


class Arrival(NamedTuple):
    """One message of bars: when it came (ns UTC), its sequence in OUT, its payload."""

    ns: int
    sequence: int
    payload: bytes


class Update(NamedTuple):
    """One bar update's way (ns UTC): received, stored in LOG, stored in OUT, arrived."""

    received: int
    logged: int
    committed: int
    arrived: int


async def listen(connection: Connection) -> list[Arrival]:
    """Return the list that arrivals are appended to from now on."""
    arrivals: list[Arrival] = []

    async def arrived(message: Any) -> None:
        now = time.time_ns()
        arrivals.append(Arrival(now, int(message.headers["Nats-Sequence"]), message.data))

    await connection.subscribe(BARS, arrived)
    return arrivals


async def stepping(connection: Connection) -> None:
    """Return when the graph commits; it may have to compile its kernels before it can."""
    deadline = time.monotonic() + READY_TIMEOUT_S
    while not (await connection.api("STREAM.INFO.OUT"))["state"]["messages"]:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the graph committed nothing in {READY_TIMEOUT_S} s")
        await asyncio.sleep(0.2)
    await asyncio.sleep(START_S)


async def stored(connection: Connection, stream: str, sequence: int) -> tuple[int, bytes]:
    """Return when the server stored a message (ns UTC), and its payload."""
    found = (await connection.api(f"STREAM.MSG.GET.{stream}", {"seq": sequence}))["message"]
    whole, _, fraction = found["time"].rstrip("Z").partition(".")
    seconds = int(datetime.fromisoformat(f"{whole}+00:00").timestamp())
    return seconds * 10**9 + int(fraction.ljust(9, "0")), base64.b64decode(found["data"])


async def updates(connection: Connection, arrivals: list[Arrival]) -> list[Update]:
    """Look up the cause of every bar that arrived."""
    facts: dict[int, tuple[int, Any]] = {}
    found = []
    for arrival in arrivals:
        committed, _ = await stored(connection, "OUT", arrival.sequence)
        for bar in kinds.decode(arrival.payload).records:
            r = int(bar["at_r"])
            if r not in facts:
                logged, payload = await stored(connection, "LOG", r)
                facts[r] = logged, kinds.decode(payload).records["ts_recv"]
            logged, received = facts[r]
            found.append(Update(int(received[bar["at_i"]]), logged, committed, arrival.ns))
    return found


def quantiles(values: np.ndarray[Any, Any], name: str) -> dict[str, float]:
    """Return p50, p99 and p999 in milliseconds under these names."""
    at = {"p50": 0.5, "p99": 0.99, "p999": 0.999}
    return {
        f"{label}{name}_ms": round(float(np.quantile(values, q, method="higher")) / 1e6, 2)
        for label, q in at.items()
    }


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Start everything, let it run, and return the result."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        servers = await stack.enter_async_context(EmbeddedServers(folder))
        await prepare(servers.urls)
        live_port = free_port()
        env = environment(servers.urls, folder, [], live_port)
        await servers.supervisor.start(*roles(env, free_port(), live_port))
        connection = await connect(servers.urls.nats_admin, name="bench")
        stack.push_async_callback(connection.close)
        await stepping(connection)
        arrivals = await listen(connection)
        seconds = WARM_UP_S + options.seconds
        generator = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.bench.parts.generator"),
            *(str(options.rate), str(INSTRUMENTS), str(seconds)),
            env={**os.environ, **env},
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,  # as a feed runs: Linux shares a core among sessions
        )
        await asyncio.sleep(WARM_UP_S)
        since, pids = time.time_ns(), _pids(servers)
        before = cpu_seconds(pids)
        say(f"warm: {len(arrivals)} messages of bars so far; measuring {options.seconds} s")
        await asyncio.sleep(options.seconds)
        after = cpu_seconds(pids)
        told, _ = await generator.communicate()
        if generator.returncode != 0:
            raise RuntimeError(f"the generator ended with {generator.returncode}")
        await asyncio.sleep(START_S)
        all_of_them = await updates(connection, arrivals)
        return _result(
            options,
            [update for update in all_of_them if update.received >= since],
            orjson.loads(told),
            {name: round(after[name] - used, 2) for name, used in before.items()},
        )


def _pids(servers: EmbeddedServers) -> dict[str, int]:
    return {s.name: s.pid for s in servers.supervisor.status() if s.pid is not None}


def _result(
    options: argparse.Namespace,
    found: list[Update],
    generator: dict[str, Any],
    cpu: dict[str, float],
) -> dict[str, Any]:
    wanted = INSTRUMENTS * (options.seconds - 2)
    assert len(found) >= wanted, f"{len(found)} updates of over {wanted} came"
    ways = np.array(found, np.int64)
    return {
        "offered_per_s": options.rate,
        **quantiles(ways[:, 3] - ways[:, 0], ""),
        "achieved_per_s": generator["achieved_per_s"],
        "samples": len(found),
        "seconds": options.seconds,
        "instruments": INSTRUMENTS,
        "received_to_log": quantiles(ways[:, 1] - ways[:, 0], ""),
        "log_to_out": quantiles(ways[:, 2] - ways[:, 1], ""),
        "out_to_subscriber": quantiles(ways[:, 3] - ways[:, 2], ""),
        "generator": generator,
        "cpu_s": cpu,
        "load_average": round(os.getloadavg()[0], 2),
        "fsync": "always",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=50_000, help="trades a second, offered")
    parser.add_argument("--seconds", type=float, default=40.0, help="measured, after a warm-up")
    parser.add_argument("--json", action="store_true", help="accepted; the result is always JSON")
    answer(uvloop.run(measure(parser.parse_args())))


if __name__ == "__main__":
    main()
