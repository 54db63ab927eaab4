"""The proxy does to a connection what it says, counts it, and leaves the others alone."""

import asyncio
from collections.abc import AsyncIterator
from random import Random
from typing import cast

import pytest

from tidemill.tests.faults.proxy import Link, Proxy, some


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    """A proxy before a server that answers with what it was told."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1_000):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    made = Proxy(lambda: int(server.sockets[0].getsockname()[1]))
    await made.start()
    yield made
    await made.close()
    server.close()


async def asked(proxy: Proxy) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect, and see that it answers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(b"hello")
    assert await reader.readexactly(5) == b"hello"
    return reader, writer


async def test_what_is_said_passes_and_so_does_its_end(proxy: Proxy) -> None:
    reader, writer = await asked(proxy)
    writer.write(b"x" * 1_000_000)
    writer.write_eof()
    assert await reader.read(-1) == b"x" * 1_000_000
    writer.close()
    while proxy.links():
        await asyncio.sleep(0.001)
    assert not proxy.did


async def test_a_cut_resets_both_ends_and_a_new_connection_is_made(proxy: Proxy) -> None:
    reader, writer = await asked(proxy)
    assert proxy.cut(proxy.links()) == 1
    with pytest.raises(ConnectionResetError):
        await reader.readexactly(1)
    writer.close()
    _, again = await asked(proxy)
    assert proxy.did["cut"] == 1
    again.close()


async def test_silence_holds_everything_back_until_it_is_over(proxy: Proxy) -> None:
    reader, writer = await asked(proxy)
    silence = asyncio.create_task(proxy.silent(proxy.links(), 0.2, then_cut=False))
    await asyncio.sleep(0)
    writer.write(b"late")
    _, beside = await asked(proxy)  # a new link is not silent
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.readexactly(4), 0.05)
    assert await silence == 1
    assert await reader.readexactly(4) == b"late"
    for each in (writer, beside):
        each.close()


async def test_a_silence_may_end_in_a_reset_and_what_was_held_back_never_comes(
    proxy: Proxy,
) -> None:
    reader, writer = await asked(proxy)
    silence = asyncio.create_task(proxy.silent(proxy.links(), 0.1, then_cut=True))
    await asyncio.sleep(0)
    writer.write(b"never")
    assert await silence == 1
    with pytest.raises(ConnectionResetError):
        await reader.readexactly(1)
    writer.close()


async def test_deaf_links_lose_answers_and_are_cut(proxy: Proxy) -> None:
    reader, writer = await asked(proxy)
    deafness = asyncio.create_task(proxy.deaf(proxy.links(), 0.1))
    await asyncio.sleep(0)
    writer.write(b"asked")
    assert await deafness == 5
    with pytest.raises(ConnectionResetError):
        await reader.readexactly(1)
    writer.close()


async def test_slow_links_keep_their_order(proxy: Proxy) -> None:
    reader, writer = await asked(proxy)
    slowness = asyncio.create_task(proxy.slow(proxy.links(), Random(1), 0.02, 0.3))
    await asyncio.sleep(0)
    for k in range(10):
        writer.write(bytes([k]))
        await asyncio.sleep(0.005)
    assert await reader.readexactly(10) == bytes(range(10))
    assert await slowness > 1
    writer.close()


def test_some_of_none_is_none_and_of_one_that_one() -> None:
    assert some(Random(1), []) == []
    one = cast(Link, object())
    assert some(Random(1), [one]) == [one]
