"""The embedded nats-server: durable, on loopback, and each role may do only its own verbs."""

import asyncio
import json
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nats
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from tidemill.schemas.errors import Unavailable
from tidemill.tests.servers import RunningNats

pytestmark = pytest.mark.integration


async def connect(
    url: str, refused: list[str] | None = None, inbox_prefix: str = "_INBOX"
) -> Client:
    async def note(error: Exception) -> None:
        if refused is not None:
            refused.append(str(error))

    return await nats.connect(url, error_cb=note, inbox_prefix=inbox_prefix.encode())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.01)


async def test_the_fixture_talks_to_its_own_server(nats: RunningNats) -> None:
    client = await connect(nats.url)
    assert client.connected_server_version.major >= 2
    assert client._server_info["server_name"] == nats.name
    await client.close()


async def test_every_write_is_synced_and_payloads_are_bounded(nats: RunningNats) -> None:
    def ask(path: str) -> dict[str, dict[str, object]]:
        with urllib.request.urlopen(nats.monitor_url + path) as answer:
            return dict(json.loads(answer.read()))

    jetstream = await asyncio.to_thread(ask, "/jsz")
    varz = await asyncio.to_thread(ask, "/varz")
    assert jetstream["config"]["sync_always"] is True
    assert varz["max_payload"] == 8 * 1024 * 1024
    assert varz["host"] == "127.0.0.1" and varz["http_host"] == "127.0.0.1"


async def test_what_was_acknowledged_survives_kill_9_on_the_same_port(nats: RunningNats) -> None:
    client = await connect(nats.url)
    stream = client.jetstream()
    await stream.add_stream(name="KEPT", subjects=["kept.>"])
    acknowledged = [await stream.publish(f"kept.{i}", b"x" * i) for i in range(20)]
    await client.close()
    url = nats.url
    nats.kill()
    await nats.restart()
    client = await connect(url)
    state = (await client.jetstream().stream_info("KEPT")).state
    assert state.last_seq == acknowledged[-1].seq == 20
    await client.close()


async def test_a_reader_hears_live_and_json_and_nothing_else(nats: RunningNats) -> None:
    refused: list[str] = []
    reader = await connect(nats.urls["reader"], refused)
    admin = await connect(nats.url)
    heard: list[str] = []

    async def note(message: Msg) -> None:
        heard.append(message.subject)

    subjects = ("live.md.x", "json.bars.x", "md.x", "_INBOX.gateway.x", "door.x")
    for subject in (*subjects, ">"):
        await reader.subscribe(subject, cb=note)
    await reader.publish("live.md.x", b"forged")
    await reader.flush()
    for subject in subjects:
        await admin.publish(subject, b"")
    await admin.flush()
    await reader.flush()
    await until(lambda: len(refused) == 5)
    await reader.drain()  # a subscription's task calls back after the flush
    assert heard == ["live.md.x", "json.bars.x"]
    await admin.close()


async def test_the_gateway_asks_the_door_and_cannot_append(nats: RunningNats) -> None:
    refused: list[str] = []
    engine = await connect(nats.urls["engine"])
    gateway = await connect(nats.urls["gateway"], refused, inbox_prefix="_INBOX.gateway")
    admin = await connect(nats.url)
    await admin.jetstream().add_stream(name="LOG", subjects=["md.>", "cmd.>"])

    async def answer(message: Msg) -> None:
        await message.respond(b"r=7")

    await engine.subscribe("door.order", cb=answer)
    await engine.flush()
    assert (await gateway.request("door.order", b"buy", timeout=2)).data == b"r=7"
    await gateway.publish("cmd.account.submit", b"around the door")
    await gateway.publish("live.md.x", b"forged")
    await gateway.flush()
    await until(lambda: len(refused) == 2)
    assert (await admin.jetstream().stream_info("LOG")).state.messages == 0
    for client in (engine, gateway, admin):
        await client.close()


@pytest.mark.parametrize(
    "subject",
    [*(f"$JS.API.STREAM.{verb}.LOG" for verb in ("DELETE", "PURGE", "UPDATE")), "live.x"],
)
async def test_the_engine_appends_but_never_reshapes_or_forges(
    nats: RunningNats, subject: str
) -> None:
    refused: list[str] = []
    admin = await connect(nats.url)
    await admin.jetstream().add_stream(name="LOG", subjects=["md.>"])
    engine = await connect(nats.urls["engine"], refused)
    assert (await engine.jetstream().publish("md.trade", b"t")).seq == 1
    await engine.publish(subject, b"")
    await engine.flush()
    await until(lambda: bool(refused))
    assert subject.lower() in refused[0].lower(), refused
    assert (await admin.jetstream().stream_info("LOG")).state.messages == 1
    await engine.close()
    await admin.close()


async def test_a_wrong_password_and_no_password_are_refused(nats: RunningNats) -> None:
    port = int(nats.url.rsplit(":", 1)[1])
    for login in ({"user": "reader", "pass": "wrong"}, {}):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await reader.readline()
        writer.write(f"CONNECT {json.dumps(login)}\r\nPING\r\n".encode())
        assert b"Authorization Violation" in await reader.readline()
        writer.close()
        await writer.wait_closed()


async def test_the_probe_does_not_take_another_server_for_its_own(nats: RunningNats) -> None:
    stranger = replace(nats.server, name="someone-else")
    with pytest.raises(Unavailable, match="another server"):
        await stranger.probe()


async def test_the_probe_says_why_it_failed(nats: RunningNats) -> None:
    with pytest.raises(Unavailable, match="Authorization Violation"):
        await replace(nats.server, passwords={"admin": "wrong"}).probe()
    nats.kill()
    with pytest.raises(Unavailable, match="Connect call failed"):
        await nats.server.probe()


async def test_the_configuration_with_its_passwords_is_private(
    nats: RunningNats, tmp_path: Path
) -> None:
    assert (tmp_path / "nats" / "nats.conf").stat().st_mode & 0o077 == 0
