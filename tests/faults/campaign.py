"""Kills in a running engine, each proven to have happened, and each followed by flow again."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

import httpx2
import orjson
import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as ValkeyGone
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tidemill.deploy.supervisor import leftovers
from tidemill.schemas.errors import Unavailable
from tidemill.streams.crash_points import Arming, Hit
from tidemill.tests.faults.engine import Engine
from tidemill.tests.faults.kills import REPAIRS, Kill, Wave
from tidemill.tests.faults.observer import Mark, Observer
from tidemill.tests.faults.report import Line, Report

HIT_S = 120.0
"""How long a point may take to be reached."""
FLOW_S = 120.0
"""How long the engine may take to flow again; a bound for the test, no promise."""
TRIES = 8
"""Attempts to kill inside what takes a few milliseconds."""
WAITING = "a request waited in it"
STEADY_S = 0.6
"""What has just started is given this long, so that the supervisor does not count a failed try."""


async def nothing() -> None:
    """Ask nothing of a process that serves nobody."""


class Campaign:
    """Kills what runs on an engine, watched by an observer, into a report."""

    def __init__(self, engine: Engine, observer: Observer, report: Report) -> None:
        self._engine, self._observer, self._report = engine, observer, report
        self.wave = 0
        self._load_per_s = 0

    async def at_points(self, wave: Wave) -> None:
        """Arm a wave's points, see each hit, and all flow again."""
        self.wave += 1
        self._load_per_s = await self._observer.load_per_s()
        for kill in wave:
            await self._arm(kill)
        await self._see(wave)

    async def at_points_armed_before(self, wave: Wave) -> None:
        """See hit what was armed before the engine was started, and all flow again."""
        self.wave += 1
        await self._see(wave)

    async def _see(self, wave: Wave) -> None:
        hits = [await self._hit(kill) for kill in wave]
        last = max(hits, key=lambda hit: hit.ts)
        for kill, hit in zip(wave, hits, strict=True):
            await self._successor(kill.victim, hit.killed)
        recovered_s = await self._recovered(last.ts)
        for kill in wave:
            self._tell(kill.victim, kill.point, kill.inside, recovered_s)
        self._load_per_s = 0

    async def _successor(self, name: str, pid: int) -> None:
        """See that a killed process is gone, and wait until another one runs in its place."""
        async with asyncio.timeout(FLOW_S):
            while leftovers.process(pid) is not None or self._engine.pids().get(name, pid) == pid:
                await asyncio.sleep(0.02)

    async def _arm(self, kill: Kill) -> None:
        pid = await self._engine.pid_of(kill.killed) if kill.killed else None
        self._engine.arm(kill.point, Arming(nth=kill.nth, pid=pid, after_s=kill.after_s))

    async def _hit(self, kill: Kill) -> Hit:
        """Wait for a hit, of the process that was meant; try again until it was inside."""
        for _ in range(TRIES):
            hit = await self._engine.hit(kill.point, HIT_S)
            assert self._engine.names.get(hit.killed) == kill.victim, (hit, self._engine.names)
            assert self._engine.names.get(hit.by) == kill.killer, (hit, self._engine.names)
            if not kill.inside or hit.latest == kill.point:
                return hit
            await asyncio.sleep(STEADY_S)
            await self._arm(kill)
        raise AssertionError(f"{kill} never came inside")

    async def _recovered(self, killed_ns: int) -> float:
        since = await self.mark()
        at = await self._observer.flowing(since, FLOW_S)
        await asyncio.sleep(STEADY_S)
        return at - killed_ns / 1e9

    async def mark(self) -> Mark:
        """Return how far every source is, once LOG can be asked."""
        async with asyncio.timeout(FLOW_S):
            while True:
                with contextlib.suppress(Unavailable):
                    return await self._observer.mark()
                await asyncio.sleep(0.02)

    def _tell(self, victim: str, where: str, inside: bool, recovered_s: float) -> None:
        line = Line(victim, where, inside, round(recovered_s, 2), self.wave, self._load_per_s)
        self._report.add(line)

    # Those without a point of their own: killed from here, in the middle of what they do

    def kill(self, name: str) -> int:
        """kill -9 of one process; return its pid."""
        pid = self._engine.pids()[name]
        os.kill(pid, signal.SIGKILL)
        return pid

    async def replaced(
        self,
        name: str,
        pid: int,
        killed_ns: int,
        where: str,
        serves: Callable[[], Awaitable[None]] = nothing,
    ) -> None:
        """See that a killed process is followed by another, which serves, and that all flows."""
        await self._successor(name, pid)
        await serves()
        recovered_s = await self._recovered(killed_ns)
        self._tell(name, where, where == WAITING, recovered_s)

    async def venue(self, name: str) -> None:
        """Kill a simulated venue while its trades come."""
        self.wave += 1
        subject = f"md.trade.{name.removeprefix('exchange-').upper()}.*.*"
        await self._appended(subject)
        pid = self.kill(name)
        await self.replaced(name, pid, time.time_ns(), "a trade of it appended just before")

    async def _appended(self, subject: str) -> None:
        """Return within a tenth of a second of an append to `subject`."""
        async with asyncio.timeout(HIT_S):
            while True:
                before = await self._observer.log.last(subject)
                await asyncio.sleep(0.05)
                after = await self._observer.log.last(subject)
                if before and after and after.sequence > before.sequence:
                    return

    async def queries(self) -> None:
        """Kill the query server while a request waits in it for a position to come."""
        self.wave += 1
        far = (await self._observer.log.identity()).last + 10_000_000
        url = f"{self._engine.queries_url}/api/market-data/trades/BTCUSDT"
        async with httpx2.AsyncClient(timeout=20) as client:
            assert (await client.get(url)).status_code == 200
            waiting = asyncio.create_task(client.get(url, params={"min_seq": far}))
            await asyncio.sleep(0.1)
            assert not waiting.done(), waiting.result()
            pid, killed_ns = self.kill("queries"), time.time_ns()
            (outcome,) = await asyncio.gather(waiting, return_exceptions=True)
            assert isinstance(outcome, httpx2.TransportError), outcome
            where = WAITING
            serves = partial(self._answers, client, url)
            await self.replaced("queries", pid, killed_ns, where, serves)

    async def _answers(self, client: httpx2.AsyncClient, url: str) -> None:
        async with asyncio.timeout(FLOW_S):
            while True:
                with contextlib.suppress(httpx2.TransportError):
                    if (await client.get(url)).status_code == 200:
                        return
                await asyncio.sleep(0.1)

    async def live(self) -> None:
        """Kill the server of updates while it pushes them; a new one goes on after the last."""
        self.wave += 1
        async with self._updates() as socket:
            newest = await _update(socket)
            pid, killed_ns = self.kill("live"), time.time_ns()
            with pytest.raises(ConnectionClosed):
                while True:
                    newest = await _update(socket)
        where = "an update had just come from it"
        await self.replaced("live", pid, killed_ns, where, partial(self._pushes, newest))

    async def _pushes(self, newest: int) -> None:
        async with asyncio.timeout(FLOW_S):
            while True:
                with contextlib.suppress(OSError, ConnectionClosed):
                    async with self._updates() as socket:
                        if await _update(socket) > newest:
                            return
                await asyncio.sleep(0.1)

    @contextlib.asynccontextmanager
    async def _updates(self) -> AsyncIterator[ClientConnection]:
        await self._engine.pid_of("live")
        async with connect(self._engine.live_url()) as socket:
            asked = {"op": "subscribe", "channel": "trades", "symbol": "*", "venue": "BINANCE"}
            await socket.send(orjson.dumps(asked).decode())
            yield socket

    async def valkey(self) -> None:
        """Kill the cache while a request waits in it; queries answer without."""
        self.wave += 1
        url = f"{self._engine.queries_url}/api/market-data/candles/BTCUSDT"
        cache = Redis.from_url(self._observer.urls.valkey, retry=None, socket_timeout=20)
        waiting = asyncio.ensure_future(cache.blpop(["nothing"], 20))
        await asyncio.sleep(0.1)
        assert not waiting.done(), waiting.result()
        pid, killed_ns = self.kill("valkey"), time.time_ns()
        async with httpx2.AsyncClient(timeout=20) as client:
            answer = await client.get(url)
            assert answer.status_code == 200, (answer.status_code, answer.text)
        (outcome,) = await asyncio.gather(waiting, return_exceptions=True)
        assert isinstance(outcome, ValkeyGone), outcome
        await cache.aclose()
        await self.replaced("valkey", pid, killed_ns, WAITING)

    async def lost_rows(self) -> None:
        """Delete a root of the table's tail behind the sink's back: its takeover puts it back.

        The sink stands still meanwhile, and is killed before and after it repairs.
        """
        self.wave += 1
        pid = self._engine.pids()["projections"]
        os.kill(pid, signal.SIGSTOP)
        tail = "SELECT _r FROM trades__v1 GROUP BY _r ORDER BY _r DESC LIMIT 1 OFFSET 3"
        ((root,),) = await self._observer.query(tail)
        await self._observer.clickhouse.command(
            f"ALTER TABLE trades__v1 DELETE WHERE _r = {root}", None, {"mutations_sync": 2}
        )
        count = f"SELECT count() FROM trades__v1 WHERE _r = {root}"
        assert await self._observer.query(count) == [(0,)]
        for repair in REPAIRS:
            await self._arm(repair)
        os.kill(pid, signal.SIGKILL)
        hits = [await self._hit(repair) for repair in REPAIRS]
        recovered_s = await self._recovered(hits[-1].ts)
        ((found,),) = await self._observer.query(count)
        assert found > 0
        for repair in REPAIRS:
            self._tell(repair.victim, repair.point, True, recovered_s)


async def _update(socket: ClientConnection) -> int:
    """Return the position of the next update of trades."""
    while True:
        told = orjson.loads(await asyncio.wait_for(socket.recv(), HIT_S))
        updates = [one for one in told if "data" in one]
        if updates:
            return int(updates[-1]["r"])
