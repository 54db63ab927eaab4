"""Leases: who should run. They keep two from doing the same work; that it is never written twice is
the checkpoint fences' part, so a lease may be wrong for a moment without harm.

A lease is a key of the NATS KV bucket LEASES (a stream like any other, so the log in memory serves
as well). Its holder writes it anew all the time; who sees it unchanged for its `ttl_s`, by a clock
of its own, may take it. No clock is compared with another machine's.
"""

import asyncio
import itertools
from dataclasses import dataclass
from uuid import uuid4

import orjson

from tidemill.schemas.errors import Fenced, Unavailable
from tidemill.streams import crash_points
from tidemill.streams.declarations import LEASES_BUCKET
from tidemill.streams.log import Checkpoint, Log, Message

TTL_S = 2.0
BEATS = 4
"""How often a holder writes within one `ttl_s`."""


@dataclass(frozen=True)
class Holder:
    """What a lease says: its owner (empty once released), and how long its silence is to last.

    `instance` tells two processes of one owner apart: of these the newer one takes the lease.
    """

    owner: str
    instance: str
    ttl_s: float


class Lease:
    """One process's view of the lease `name`. `owner` names the process, the same after a restart:
    a lease that it held before it died is taken back at once."""

    def __init__(self, log: Log, name: str, owner: str, ttl_s: float = TTL_S) -> None:
        if not owner:
            raise ValueError("a lease needs an owner")
        self.subject = f"$KV.{LEASES_BUCKET}.{name}"
        self.owner = owner
        self.held = False
        self._instance = uuid4().hex
        self._log = log
        self._ttl_s = ttl_s
        self._last = 0
        self._beats = itertools.count(1)
        self._seen = -1
        self._seen_since = 0.0

    async def holder(self) -> str:
        """Return who holds or held it last, empty for nobody. Raises Unavailable."""
        newest = await self._log.last(self.subject)
        return "" if newest is None else _read(newest).owner

    async def acquire(self) -> bool:
        """Take the lease if it is free, ours, or silent for too long. Raises Unavailable."""
        newest = await self._log.last(self.subject)
        if newest is not None and not self._free(newest):
            return False
        self._last = 0 if newest is None else newest.sequence
        try:
            await self._beat(self.owner)
        except Fenced:
            return False
        self.held = True
        return True

    def _free(self, newest: Message) -> bool:
        holder, now = _read(newest), asyncio.get_running_loop().time()
        if newest.sequence != self._seen:
            self._seen, self._seen_since = newest.sequence, now
        return holder.owner in ("", self.owner) or now - self._seen_since >= holder.ttl_s

    async def wait(self) -> None:
        """Return when the lease is ours, however long that takes."""
        while True:
            try:
                if await self.acquire():
                    return
            except Unavailable:
                self._seen = -1  # we cannot tell whether its holder was silent
            await asyncio.sleep(self._ttl_s / BEATS)

    async def keep(self) -> None:
        """Renew for ever. Raises Fenced when it is lost: taken, or not renewed for its `ttl_s`."""
        clock = asyncio.get_running_loop().time
        renewed = clock()
        try:
            while True:
                await asyncio.sleep(self._ttl_s / BEATS)
                try:
                    async with asyncio.timeout(self._ttl_s):
                        await self._renew()
                    renewed = clock()
                except (Unavailable, TimeoutError) as error:
                    if clock() - renewed >= self._ttl_s:
                        raise Fenced(f"lease {self.subject} was not renewed in time") from error
        finally:
            self.held = False

    async def _renew(self) -> None:
        try:
            await self._beat(self.owner)
        except Fenced:
            newest = await self._log.last(self.subject)
            if newest is None or _read(newest).instance != self._instance:
                raise
            self._last = newest.sequence  # a renewal whose acknowledgement was lost

    async def release(self) -> None:
        """Give the lease up, so that the next may take it at once. Raises Unavailable."""
        self.held = False
        try:
            await self._beat("")
        except Fenced:
            return  # it is another's already

    async def _beat(self, owner: str) -> None:
        value = {
            "owner": owner,
            "instance": self._instance,
            "ttl_s": self._ttl_s,
            "beat": next(self._beats),
        }
        point = Checkpoint(self.subject, orjson.dumps(value), self._last)
        crash_points.reach("lease.beat.storing")
        self._last = (await self._log.transact((), (point,)))[self.subject]
        crash_points.reach("lease.beat.stored")


def _read(message: Message) -> Holder:
    value = orjson.loads(message.payload)
    return Holder(str(value["owner"]), str(value["instance"]), float(value["ttl_s"]))
