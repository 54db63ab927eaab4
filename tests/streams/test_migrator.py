"""The migrator shows, creates, changes only when told, refuses the impossible, never deletes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from tests.servers import RunningNats
from tidemill.streams.declarations import Stream, streams
from tidemill.streams.jetstream import UUID_KEY, JetStreamLog
from tidemill.streams.jetstream_connection import Connection, connect
from tidemill.streams.log import Checkpoint
from tidemill.streams.migrator import Difference, Refused, migrate

pytestmark = pytest.mark.integration


@asynccontextmanager
async def connected(nats: RunningNats) -> AsyncIterator[Connection]:
    connection = await connect(nats.url)
    yield connection
    await connection.close()


async def config(connection: Connection, name: str) -> dict[str, Any]:
    found: dict[str, Any] = (await connection.api(f"STREAM.INFO.{name}"))["config"]
    return found


async def test_it_shows_what_is_missing_and_creates_it_only_when_told(nats: RunningNats):
    async with connected(nats) as connection:
        missing = ["LOG: missing", "OUT: missing", "KV_LEASES: missing"]
        assert [str(one) for one in await migrate(connection, streams())] == missing
        assert not (await connection.api("STREAM.NAMES"))["streams"]
        assert [str(one) for one in await migrate(connection, streams(), apply=True)] == missing
        assert await migrate(connection, streams()) == []
        assert await migrate(connection, streams(), apply=True) == []


async def test_the_server_has_what_is_declared(nats: RunningNats):
    async with connected(nats) as connection:
        await migrate(connection, streams(), apply=True)
        log, out = await config(connection, "LOG"), await config(connection, "OUT")
        for one in (log, out):
            assert (one["discard"], one.get("max_age", 0), one["max_msgs"]) == ("new", 0, -1)
            assert one["allow_atomic"] is True and one["allow_direct"] is True
            assert one["republish"] == {"src": ">", "dest": "live.>"}
        assert out["allow_rollup_hdrs"] is True and out["allow_msg_ttl"] is True
        assert log["metadata"] != out["metadata"]


async def test_a_change_is_shown_as_text_and_made_only_when_told(nats: RunningNats):
    async with connected(nats) as connection:
        old = Stream("TEST", ("md.>",))
        await migrate(connection, (old,), apply=True)
        before = await config(connection, "TEST")
        new = replace(old, subjects=("time", "md.>"), transactional=True, compression="s2")
        shown = [str(one) for one in await migrate(connection, (new,))]
        assert "TEST: subjects is ['md.>'], declared ['md.>', 'time']" in shown
        assert "TEST: compression is 'none', declared 's2'" in shown
        assert await config(connection, "TEST") == before
        await migrate(connection, (new,), apply=True)
        after = await config(connection, "TEST")
        assert await migrate(connection, (new,)) == []
        assert after["metadata"][UUID_KEY] == before["metadata"][UUID_KEY]
        opened = await JetStreamLog.open(connection, "TEST")
        await opened.transact([("time", b"")], [Checkpoint("md.a.B.C.00", b"", 0)])


async def test_messages_survive_and_what_we_do_not_declare_stays(nats: RunningNats):
    async with connected(nats) as connection:
        await migrate(connection, (Stream("TEST", ("md.>",)),), apply=True)
        theirs = await config(connection, "TEST") | {"description": "by hand"}
        await connection.api("STREAM.UPDATE.TEST", theirs)
        opened = await JetStreamLog.open(connection, "TEST")
        await opened.append([("md.x", b"kept")], None)
        await migrate(connection, (Stream("TEST", ("md.>", "time"), live=False),), apply=True)
        assert (await config(connection, "TEST"))["description"] == "by hand"
        assert "republish" not in await config(connection, "TEST")
        assert (await opened.identity()).last == 1


async def test_what_jetstream_cannot_change_is_refused_before_anything_is(nats: RunningNats):
    async with connected(nats) as connection:
        in_memory = Stream("TEST", ("md.>",), transactional=True).config() | {"storage": "memory"}
        await connection.api("STREAM.CREATE.TEST", in_memory)
        declared = (Stream("NEW", ("time",)), Stream("TEST", ("md.>",)))
        shown = {one.key: one for one in await migrate(connection, declared)}
        assert str(shown["storage"]).endswith("(cannot be changed)")
        assert not shown["allow_msg_ttl"].changeable and shown["allow_rollup_hdrs"].changeable
        with pytest.raises(Refused, match="storage"):
            await migrate(connection, declared, apply=True)
        assert (await connection.api("STREAM.NAMES"))["streams"] == ["TEST"]


async def test_a_stream_made_by_hand_gets_an_identity_once(nats: RunningNats):
    async with connected(nats) as connection:
        declared = Stream("TEST", ("md.>",))
        await connection.api("STREAM.CREATE.TEST", declared.config())
        assert await migrate(connection, (declared,)) == [
            Difference("TEST", UUID_KEY, None, "a new UUID")
        ]
        await migrate(connection, (declared,), apply=True)
        first = (await (await JetStreamLog.open(connection, "TEST")).identity()).uuid
        await migrate(connection, (declared,), apply=True)
        assert len(first) == 32
        assert (await (await JetStreamLog.open(connection, "TEST")).identity()).uuid == first
