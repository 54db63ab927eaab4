"""Leases: one holder, a silent one is replaced, a zombie is told."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.servers import nats_server
from tidemill.schemas.errors import Fenced
from tidemill.streams.declarations import streams
from tidemill.streams.jetstream import JetStreamLog
from tidemill.streams.jetstream_connection import connect
from tidemill.streams.lease import Lease
from tidemill.streams.log import Log
from tidemill.streams.memory import Fault, MemoryLog
from tidemill.streams.migrator import migrate

TTL_S = 0.4


@pytest.fixture(params=["memory", pytest.param("jetstream", marks=pytest.mark.integration)])
async def leases(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Log]:
    if request.param == "memory":
        yield MemoryLog("KV_LEASES", ["$KV.LEASES.>"])
        return
    async with nats_server(tmp_path_factory.mktemp("nats")) as nats:
        connection = await connect(nats.url)
        await migrate(connection, streams(), apply=True)
        yield await JetStreamLog.open(connection, "KV_LEASES")
        await connection.close()


def lease(log: Log, owner: str) -> Lease:
    return Lease(log, "graph.core.0-1", owner, TTL_S)


async def test_one_holds_a_lease_and_the_other_does_not_get_it(leases: Log):
    one, other = lease(leases, "one"), lease(leases, "other")
    assert await one.acquire() and not await other.acquire()
    assert await one.holder() == await other.holder() == "one"
    keeping = asyncio.create_task(one.keep())
    waiting = asyncio.create_task(other.wait())
    await asyncio.sleep(3 * TTL_S)
    assert one.held and not waiting.done() and not keeping.done()
    keeping.cancel()
    await asyncio.wait_for(waiting, 3 * TTL_S)
    assert other.held and await one.holder() == "other"


async def test_a_zombie_is_told_that_its_lease_is_gone(leases: Log):
    zombie, heir = lease(leases, "zombie"), lease(leases, "heir")
    assert await zombie.acquire()
    await heir.wait()
    with pytest.raises(Fenced):
        await zombie.keep()
    assert not zombie.held and heir.held
    assert not await zombie.acquire()


async def test_a_released_lease_is_free_at_once(leases: Log):
    one, other = lease(leases, "one"), lease(leases, "other")
    assert await one.acquire()
    assert not await other.acquire()
    await one.release()
    assert await one.holder() == ""
    assert await other.acquire()
    await one.release()  # it is another's: nothing happens
    assert await other.holder() == "other"


async def test_a_restarted_owner_takes_its_lease_back_and_its_ghost_loses_it(leases: Log):
    ghost, again = lease(leases, "one"), lease(leases, "one")
    assert await ghost.acquire() and await again.acquire()
    with pytest.raises(Fenced):
        await ghost.keep()
    keeping = asyncio.create_task(again.keep())
    await asyncio.sleep(TTL_S)
    assert not keeping.done()
    keeping.cancel()


async def test_of_many_that_ask_at_once_one_gets_it(leases: Log):
    all_of_them = [lease(leases, f"candidate-{at}") for at in range(8)]
    assert sum(await asyncio.gather(*(one.acquire() for one in all_of_them))) == 1


async def test_a_renewal_whose_acknowledgement_was_lost_keeps_the_lease():
    log = MemoryLog("KV_LEASES", ["$KV.LEASES.>"])
    one = lease(log, "one")
    assert await one.acquire()
    log.faults = [Fault.LANDED, Fault.LOST]
    keeping = asyncio.create_task(one.keep())
    await asyncio.sleep(2 * TTL_S)
    assert one.held and not keeping.done()
    keeping.cancel()


async def test_a_holder_that_cannot_renew_in_time_lets_go():
    log = MemoryLog("KV_LEASES", ["$KV.LEASES.>"])
    one = lease(log, "one")
    assert await one.acquire()
    log.away = True
    with pytest.raises(Fenced):
        async with asyncio.timeout(5 * TTL_S):
            await one.keep()
    assert not one.held


def test_a_lease_without_an_owner_is_refused():
    with pytest.raises(ValueError):
        Lease(MemoryLog("KV_LEASES", ["$KV.LEASES.>"]), "x", "")
