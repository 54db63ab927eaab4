"""The log port and an engine on a cluster of three, whose members die and are cut off."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import NamedTuple, TypeVar

from tidemill.deploy.roles.connections import Streams
from tidemill.deploy.roles.connections import streams as connected
from tidemill.schemas.errors import Fenced, Unavailable
from tidemill.streams.appender import Appender
from tidemill.streams.log import Checkpoint, Log, Message
from tidemill.tests.faults.apart.cluster import Cluster, cluster
from tidemill.tests.faults.apart.small import SOURCES, differing, small
from tidemill.tests.faults.observer import observer_of
from tidemill.tests.faults.stage import FLOW_S, START_S
from tidemill.tests.faults.witness import Witness

SUBJECT = "md.trade.CLUSTER.{}.00"
CHECKPOINT = "ckpt.cluster.00"
OUTPUT = "bars.1m.CLUSTER.X.00"
PULL_BYTES = 8 << 20
Answer = TypeVar("Answer")


class Struck(NamedTuple):
    """One round on a cluster."""

    what: str
    proof: str
    recovered_s: float
    took_s: float
    witnessed: int
    records: int
    lost: int
    duplicated: int
    why: tuple[str, ...]


@dataclass
class Port:
    """Who appends, who commits and who reads, each counting for itself."""

    opened: Streams
    random: Random
    confirmed: dict[int, bytes] = field(default_factory=dict)
    commits: int = 0
    read: list[Message] = field(default_factory=list)

    async def append(self) -> None:
        """Append batches of one to eight, each with the next numbers, until cancelled."""
        appender, numbers = Appender(self.opened.log, SUBJECT.format("*")), itertools.count(1)
        await _patiently(appender.own)
        while True:
            count = self.random.randint(1, 8)
            batch = [(SUBJECT.format(f"S{k}"), b"%d" % next(numbers)) for k in range(count)]
            last = await appender.append(batch)
            for k, (_, payload) in enumerate(batch):
                self.confirmed[last - count + 1 + k] = payload

    async def commit(self) -> None:
        """Commit an output with a checkpoint, again and again, as a graph does."""
        last = 0
        for number in itertools.count(1):
            payload = b"%d" % number
            checkpoint = Checkpoint(CHECKPOINT, payload, last)
            while True:
                try:
                    done = await self.opened.out.transact([(OUTPUT, payload)], [checkpoint])
                    last = done[CHECKPOINT]
                    break
                except (Unavailable, Fenced):
                    await asyncio.sleep(0.05)
                found = await _newest(self.opened.out, CHECKPOINT)
                if found is not None and found.payload == payload:
                    last = found.sequence
                    break
                assert (found.sequence if found else 0) == last, "nobody else commits here"
            self.commits = number

    async def follow(self) -> None:
        """Read all that is appended, until cancelled."""
        reader = await _patiently(lambda: self.opened.log.read(1, [SUBJECT.format("*")]))
        try:
            while True:
                with contextlib.suppress(Unavailable):
                    self.read += await reader.pull(500, PULL_BYTES, 0.5)
        finally:
            await reader.close()


async def log_port(directory: Path, random: Random, strikes: int) -> Struck:
    """Append, commit and read while members die and are cut off; then hold it all together."""
    began_s = time.monotonic()
    async with cluster(directory) as three, connected(three.url("engine"), "port") as opened:
        port = Port(opened, random)
        tasks = [asyncio.create_task(one()) for one in (port.append, port.commit, port.follow)]
        worst, said = 0.0, []
        try:
            for _ in range(strikes):
                said.append(await three.strike(random.choice(("LOG", "OUT")), random))
                worst = max(worst, await _goes_on(port, tasks))
                await three.current("LOG")
                await three.current("OUT")
            tasks[0].cancel()
            tasks[1].cancel()
            await asyncio.sleep(1.0)
            await _caught_up(port)
        finally:
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
        why = [repr(end) for end in ends if isinstance(end, Exception)]
        lost, twice = await _compared(port, why)
    proof = (
        f"{len(port.confirmed)} confirmed appends, {port.commits} commits, {len(port.read)} read"
    )
    what = "log port: " + "; ".join(said)
    took_s = time.monotonic() - began_s
    return Struck(what, proof, worst, took_s, len(port.confirmed), 0, lost, twice, tuple(why))


async def _goes_on(port: Port, tasks: list["asyncio.Task[None]"]) -> float:
    """Return how long it takes until everyone of them has got further."""
    began = time.monotonic()
    before = (len(port.confirmed), port.commits, len(port.read))
    async with asyncio.timeout(FLOW_S):
        while True:
            for task in tasks:
                if task.done():
                    task.result()
            now = (len(port.confirmed), port.commits, len(port.read))
            if all(b > a for a, b in zip(before, now, strict=True)):
                return time.monotonic() - began
            await asyncio.sleep(0.02)


async def _caught_up(port: Port) -> None:
    newest = await _newest(port.opened.log, SUBJECT.format("*"))
    assert newest is not None
    async with asyncio.timeout(FLOW_S):
        while not port.read or port.read[-1].sequence < newest.sequence:
            await asyncio.sleep(0.05)


async def _compared(port: Port, why: list[str]) -> tuple[int, int]:
    """Return what is lost and what is twice: of confirmed appends, of what was read, of commits."""
    log = await _all(port.opened.log, SUBJECT.format("*"))
    out = await _all(port.opened.out, OUTPUT)
    there = {message.sequence: message.payload for message in log}
    gone = [r for r, payload in port.confirmed.items() if there.get(r) != payload]
    lost, twice = len(gone), 0
    if gone:
        why.append(f"confirmed, and not there: {gone[:10]}")
    if port.read != log:
        lost += 1
        why.append(f"the reader saw {len(port.read)} messages, LOG holds {len(log)}")
    for name, messages in (("LOG", log), ("OUT", out)):
        numbers = [int(message.payload) for message in messages]
        wanted = list(range(1, len(numbers) + 1))
        if numbers != wanted:
            lost += len(set(wanted) - set(numbers))
            twice += len(numbers) - len(set(numbers))
            why.append(f"{name} does not count from 1 to {len(numbers)} without a break")
    if not port.commits <= len(out) <= port.commits + 1:
        lost += 1
        why.append(f"{port.commits} commits, {len(out)} outputs")
    return lost, twice


async def _all(log: Log, subject: str) -> list[Message]:
    newest = await _newest(log, subject)
    reader = await _patiently(lambda: log.read(1, [subject]))
    found: list[Message] = []
    while newest is not None and (not found or found[-1].sequence < newest.sequence):
        with contextlib.suppress(Unavailable):
            found += await reader.pull(1_000, PULL_BYTES, 1.0)
    await reader.close()
    return found


async def _newest(log: Log, subject: str) -> Message | None:
    return await _patiently(lambda: log.last(subject))


async def _patiently(ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """Ask until somebody answers."""
    async with asyncio.timeout(FLOW_S):
        while True:
            with contextlib.suppress(Unavailable):
                return await ask()
            await asyncio.sleep(0.05)


async def engine(directory: Path, random: Random, strikes: int) -> Struck:
    """Run an engine on a cluster while members die and are cut off; then recompute its tables."""
    began_s = time.monotonic()
    async with cluster(directory) as three:
        nats = {role: three.url(role) for role in three.members[0].urls}
        async with small(directory, nats, "cluster") as run:
            run.start("time", "load", "graph", "projections")
            keeping = asyncio.create_task(run.keep())
            async with observer_of(run.urls, SOURCES) as observer:
                await observer.flowing(await _patiently(observer.mark), START_S)
                async with Witness(observer).listening() as witness:
                    said, worst = [], 0.0
                    for _ in range(strikes):
                        said.append(await _strike(three, random))
                        began = time.time()
                        since = await _patiently(observer.mark)
                        worst = max(worst, await observer.flowing(since, FLOW_S) - began)
                    found = await witness.look()
                keeping.cancel()
                (ended,) = await asyncio.gather(keeping, return_exceptions=True)
                why = [*found.why, *([repr(ended)] if isinstance(ended, Exception) else [])]
                run.end()
                why += await differing(observer)
    proof = f"{run.restarts} roles were started again; every table recomputed"
    what = "engine: " + "; ".join(said)
    return Struck(
        what,
        proof,
        worst,
        time.monotonic() - began_s,
        found.witnessed,
        found.records,
        found.lost,
        found.duplicated,
        tuple(why),
    )


async def _strike(three: Cluster, random: Random) -> str:
    return await three.strike(random.choice(("LOG", "OUT")), random)
