"""A TCP proxy between the engine's processes and one server: slow, cut, silent, or deaf.

Each fault befalls the links that are open when it begins, or those of them that are chosen, and
counts what it did: a fault that touched nothing proves nothing.

    slow       every piece waits for a random time, in order
    cut        both ends get a reset (RST)
    silent     nothing passes, in neither direction, and nobody is told: a half-open connection
    deaf       what the server says is thrown away, acknowledgements too; then the link is cut
"""

import asyncio
import contextlib
import socket
import struct
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from random import Random

PIECE_BYTES = 1 << 16
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: on, 0 s: close sends RST


class Link:
    """One connection through the proxy: the client's end and the server's."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.client, self.server = client, server
        self.delays: Iterator[float] | None = None
        self.deaf = False
        self.passing = asyncio.Event()
        self.passing.set()

    def reset(self) -> None:
        """Cut it: both ends are told by a reset."""
        for writer in (self.client, self.server):
            held = writer.get_extra_info("socket")
            if held is not None:
                with contextlib.suppress(OSError):
                    held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()
        self.passing.set()


class Proxy:
    """Listens on `port` for one server; `upstream` says, for each new link, where it listens."""

    def __init__(self, upstream: Callable[[], int]) -> None:
        self.port = 0
        self.did: Counter[str] = Counter()
        """Links cut, pieces delayed, pieces held back, bytes thrown away."""
        self._upstream = upstream
        self._links: dict[Link, None] = {}
        self._server: asyncio.Server | None = None
        self._tasks: dict[asyncio.Task[None], None] = {}

    async def start(self) -> None:
        """Listen on a port of the kernel's choice, the same until `close`."""
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", self.port, limit=PIECE_BYTES
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening, and cut every link."""
        if self._server is not None:
            self._server.close()
        self.cut(self.links())
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def links(self) -> list[Link]:
        """The links that are open now, oldest first."""
        return list(self._links)

    # Faults

    def cut(self, links: Sequence[Link]) -> int:
        """Reset these links; return how many were open."""
        still = [link for link in links if link in self._links]
        for link in still:
            link.reset()
        self.did["cut"] += len(still)
        return len(still)

    async def slow(self, links: Sequence[Link], random: Random, most_s: float, for_s: float) -> int:
        """Delay every piece of these links, up to `most_s` each; return how many were."""
        before = self.did["delayed"]
        for link in links:
            link.delays = iter(lambda: random.uniform(0, most_s), None)
        await asyncio.sleep(for_s)
        for link in links:
            link.delays = None
        return self.did["delayed"] - before

    async def silent(self, links: Sequence[Link], for_s: float, then_cut: bool) -> int:
        """Pass nothing on these links; afterwards all of it late, or nothing and a reset.

        Returns how many pieces were held back.
        """
        before = self.did["held"]
        for link in links:
            link.passing.clear()
        await asyncio.sleep(for_s)
        held = self.did["held"] - before
        if then_cut:
            self.cut(links)
        for link in links:
            link.passing.set()
        return held

    async def deaf(self, links: Sequence[Link], for_s: float) -> int:
        """Throw away what the server says on these links, then cut them; return the bytes."""
        before = self.did["swallowed"]
        for link in links:
            link.deaf = True
        await asyncio.sleep(for_s)
        swallowed = self.did["swallowed"] - before
        self.cut(links)
        return swallowed

    # Passing on

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks[task] = None
        try:
            await self._pass(reader, writer)
        except (OSError, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            del self._tasks[task]

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, onward = await asyncio.open_connection(
                "127.0.0.1", self._upstream(), limit=PIECE_BYTES
            )
        except OSError:  # the server is away: so are we
            writer.transport.abort()
            return
        link = Link(writer, onward)
        self._links[link] = None
        ways = [
            asyncio.create_task(self._way(link, reader, onward, answers=False)),
            asyncio.create_task(self._way(link, there, writer, answers=True)),
        ]
        try:
            await asyncio.gather(*ways)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            self._links.pop(link, None)
            for end in (writer, onward):
                end.close()

    async def _way(
        self, link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answers: bool
    ) -> None:
        """Pass one direction on until it ends; what has ended for one ends for the other."""
        while data := await reader.read(PIECE_BYTES):
            if not link.passing.is_set():
                self.did["held"] += 1
                await link.passing.wait()
            if link.delays is not None:
                self.did["delayed"] += 1
                await asyncio.sleep(next(link.delays))
            if answers and link.deaf:
                self.did["swallowed"] += len(data)
                continue
            writer.write(data)
            await writer.drain()
        await link.passing.wait()
        if answers and link.deaf:
            return
        with contextlib.suppress(OSError):
            if writer.can_write_eof():
                writer.write_eof()
        if answers:
            raise ConnectionResetError("the server has closed")


def some(random: Random, links: Sequence[Link]) -> list[Link]:
    """Draw some of the links, at least one where there are any."""
    chosen = [link for link in links if random.random() < 0.5]
    return chosen or ([random.choice(links)] if links else [])
