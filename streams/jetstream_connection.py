"""One connection to NATS: requests that fail at once when the server goes, and nothing dropped."""

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any, NamedTuple
from urllib.parse import unquote, urlparse

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from tidemill.schemas.errors import Unavailable

PENDING_BYTES = 32 * 1024 * 1024
"""Bytes that may wait for the socket: several flushes of 4 MB, so publishing never blocks."""
REQUEST_TIMEOUT_S = 5.0


class Reply(NamedTuple):
    """An answer: its bytes and headers."""

    payload: bytes
    headers: Mapping[str, str]


class ApiError(Exception):
    """JetStream refused: `code` is HTTP-like, `err_code` names the reason exactly."""

    def __init__(self, error: Mapping[str, Any]) -> None:
        self.code = int(error.get("code", 0))
        self.err_code = int(error.get("err_code", 0))
        self.description = str(error.get("description", ""))
        super().__init__(f"{self.description} ({self.code}, {self.err_code})")


Deliver = Callable[[str, str, bytes, Mapping[str, str] | None], Awaitable[None]]
"""Takes subject, reply subject, payload, and the headers of a status, None of a message."""


class _Client(Client):
    """nats-py with a short way for what a pull consumer delivers, which is nearly all that comes.

    Every message would else go through a queue and another task, and have headers parsed that
    nobody reads: a third of what a process with many readers did.
    """

    def __init__(self) -> None:
        super().__init__()
        self.deliver: dict[int, Deliver] = {}

    async def _process_msg(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes
    ) -> None:
        deliver = self.deliver.get(sid)
        if deliver is None:
            return await super()._process_msg(sid, subject, reply, data, headers)
        is_status = bool(headers) and headers[_STATUS_AT] == _SPACE
        told = (await self._process_headers(headers) or {}) if is_status else None
        try:
            await deliver(subject.decode(), reply.decode(), data, told)
        except Exception as error:  # as nats-py does with what a callback raises
            await self._error_cb(error)


_STATUS_AT, _SPACE = len("NATS/1.0"), ord(" ")
"""``NATS/1.0 100 Idle Heartbeat`` is a status, ``NATS/1.0`` and a line's end begin headers."""


class Connection:
    """A connection that reconnects for ever. `epoch` counts the times that it was lost."""

    def __init__(self, name: str = "tidemill") -> None:
        self.name = name
        self.epoch = 0
        self.client = _Client()
        self.error: Exception | None = None
        self._inbox = ""
        self._tokens = itertools.count(1)
        self._replies: dict[str, asyncio.Future[Reply]] = {}
        self._lost: set[Callable[[], None]] = set()
        self._connected = asyncio.Event()

    async def open(self, url: list[str], options: Mapping[str, Any], timeout_s: float) -> None:
        """Connect. Raises Unavailable when no server lets us in within `timeout_s`."""
        try:
            connecting = self.client.connect(
                url,
                error_cb=self._on_error,
                disconnected_cb=self._on_disconnect,
                reconnected_cb=self._on_connect,
                closed_cb=self._on_disconnect,
                pending_size=PENDING_BYTES,
                max_reconnect_attempts=-1,
                **options,
            )
            await _within(timeout_s, connecting)
        except (TimeoutError, OSError, nats.errors.Error) as error:
            await self.client.close()
            raise Unavailable(f"NATS: {self.error or error!r}") from error
        self._inbox = self.client.new_inbox()
        await self.subscribe(f"{self._inbox}.*", self._on_reply)
        self._connected.set()

    async def _on_error(self, error: Exception) -> None:
        self.error = error

    async def _on_connect(self) -> None:
        self._connected.set()

    async def _on_disconnect(self) -> None:
        self.epoch += 1
        self._connected.clear()
        for reply in self._replies.values():
            if not reply.done():
                reply.set_exception(Unavailable(f"connection to NATS lost: {self.error!r}"))
        for lost in tuple(self._lost):
            lost()

    async def _on_reply(self, msg: Msg) -> None:
        reply = self._replies.get(msg.subject)
        if reply is not None and not reply.done():
            reply.set_result(Reply(msg.data, msg.headers or {}))

    @property
    def connected(self) -> bool:
        """Whether the server is there, as far as is known."""
        return self.client.is_connected

    async def flush(self) -> None:
        """Return when the server has all that was sent. Raises Unavailable."""
        try:
            await self.client.flush()
        except (OSError, nats.errors.Error) as error:
            raise Unavailable(f"NATS: {error!r}") from error

    async def wait_connected(self, timeout_s: float) -> None:
        """Return when connected. Raises Unavailable after `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._connected.wait()
        except TimeoutError:
            raise Unavailable(f"NATS is away: {self.error!r}") from None

    def on_lost(self, called: Callable[[], None]) -> Callable[[], None]:
        """Have `called` run whenever the connection is lost; returns what ends that."""
        self._lost.add(called)
        return lambda: self._lost.discard(called)

    async def subscribe(self, subject: str, callback: Callable[[Msg], Any]) -> Subscription:
        """Subscribe without client-side limits, which would drop: the caller bounds what comes.

        Raises Unavailable.
        """
        try:
            return await self.client.subscribe(
                subject, cb=callback, pending_msgs_limit=0, pending_bytes_limit=0
            )
        except (OSError, nats.errors.Error) as error:
            raise Unavailable(f"NATS: {error!r}") from error

    async def subscribe_deliveries(self, subject: str, deliver: Deliver) -> Subscription:
        """Subscribe an inbox of a pull consumer; `deliver` runs while nothing else is read.

        Raises Unavailable.
        """
        subscription = await self.subscribe(subject, _ignore)
        # Nothing can have come between: the consumer does not know this inbox yet.
        self.client.deliver[subscription._id] = deliver
        return subscription

    async def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription, if the connection has not ended it already."""
        self.client.deliver.pop(subscription._id, None)
        with suppress(OSError, nats.errors.Error):
            await subscription.unsubscribe()

    def new_inbox(self) -> str:
        """Return a subject that only this connection listens to."""
        return self.client.new_inbox()

    async def publish(
        self, subject: str, payload: bytes, headers: dict[str, str] | None = None, reply: str = ""
    ) -> None:
        """Send without waiting.

        Raises Unavailable when the connection is down, ValueError for what no server takes.
        """
        if not self.client.is_connected:
            raise Unavailable(f"NATS is away: {self.error!r}")
        try:
            await self.client.publish(subject, payload, reply=reply, headers=headers)
        except (nats.errors.MaxPayloadError, nats.errors.BadSubjectError) as error:
            raise ValueError(f"{len(payload)} bytes on {subject!r}: {error!r}") from error
        except (OSError, nats.errors.Error) as error:
            raise Unavailable(f"NATS: {error!r}") from error
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError  # nats-py swallows it while it flushes

    def expect(self) -> tuple[str, asyncio.Future[Reply]]:
        """Return a reply subject and the future of what is sent to it; end it with `forget`."""
        subject = f"{self._inbox}.{next(self._tokens)}"
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._replies[subject] = future
        return subject, future

    def forget(self, subject: str) -> None:
        """Stop expecting a reply on `subject`."""
        future = self._replies.pop(subject)
        if future.done() and not future.cancelled():
            future.exception()  # seen: nobody waits for it any more
        future.cancel()

    async def request(
        self,
        subject: str,
        payload: bytes = b"",
        headers: dict[str, str] | None = None,
        timeout_s: float = REQUEST_TIMEOUT_S,
    ) -> Reply:
        """Send and return the answer. Raises Unavailable: no answer, or nobody there."""
        inbox, future = self.expect()
        try:
            await self.publish(subject, payload, headers, inbox)
            return await self.answer(subject, future, timeout_s)
        finally:
            self.forget(inbox)

    async def answer(self, subject: str, future: asyncio.Future[Reply], timeout_s: float) -> Reply:
        """Wait for the answer to a request to `subject`. Raises Unavailable."""
        try:
            async with asyncio.timeout(timeout_s):
                reply = await future
        except TimeoutError:
            raise Unavailable(f"no answer from {subject} within {timeout_s} s") from None
        if reply.headers.get("Status") == "503":
            raise Unavailable(f"nobody answers {subject}")
        return reply

    async def api(self, verb: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Ask JetStream's API. Raises ApiError when it refuses, Unavailable when it is away."""
        payload = b"" if body is None else json.dumps(body).encode()
        answer = json.loads((await self.request(f"$JS.API.{verb}", payload)).payload)
        if not isinstance(answer, dict):
            raise Unavailable(f"{verb} answered {answer!r}")
        if "error" in answer:
            error = ApiError(answer["error"])
            if error.code in (408, 503):
                raise Unavailable(f"{verb}: {error}") from error
            raise error
        return answer

    async def close(self) -> None:
        """Send what waits, and leave, also when the server went this very moment.

        nats-py then ends in the middle: with ConnectionResetError from what it still sends, so the
        rest is done by a second call; or cancelled, by the task that was reading, when all is done.
        """
        for _ in range(2):
            closing = asyncio.create_task(self.client.close())
            try:
                await asyncio.wait({closing})
            finally:
                closing.cancel()
            error = None if closing.cancelled() else closing.exception()
            if error is None:
                return
            if not isinstance(error, OSError):
                raise error
            self.client._status = Client.DISCONNECTED  # or it would take itself for closed


async def _ignore(msg: Msg) -> None:
    """Take what comes after a subscription has ended."""


async def _within(timeout_s: float, coroutine: Coroutine[Any, Any, None]) -> None:
    """Await `coroutine`. Raises TimeoutError after `timeout_s`, even if it swallows a cancellation,
    as nats-py does while it connects (and asyncio.wait_for, which it uses, in Python 3.11)."""
    task = asyncio.create_task(coroutine)
    try:
        await asyncio.wait({task}, timeout=timeout_s)
    finally:
        while not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=0.05)
    if task.cancelled():
        raise TimeoutError
    task.result()


async def connect(
    url: str,
    name: str = "tidemill",
    credentials: str | None = None,
    inbox_prefix: str = "_INBOX",
    timeout_s: float = 5.0,
) -> Connection:
    """Connect to NATS as the user in `url` or in the file `credentials`.

    `url` may be several, separated by commas: members of one cluster, all for the same user.
    `inbox_prefix` is where this user may hear answers. Raises Unavailable.
    """
    servers = url.split(",")
    for one in servers:
        if not urlparse(one).hostname:
            raise ValueError(f"{one!r} is no URL as nats://user:password@host:4222 is")
    options: dict[str, Any] = {
        "name": name,
        **_login(servers[0]),
        "inbox_prefix": inbox_prefix,
        "reconnect_time_wait": 0.1,
        "ping_interval": 5,
        "max_outstanding_pings": 2,
    }
    if credentials is not None:
        options["user_credentials"] = credentials
    connection = Connection(name)
    await connection.open(servers, options, timeout_s)
    return connection


def _login(url: str) -> dict[str, str]:
    """Return the user of a URL as options: those count at members that the cluster tells of, too,
    whose own URLs name nobody."""
    parts = urlparse(url)
    if parts.username is None or parts.password is None:
        return {}
    return {"user": unquote(parts.username), "password": unquote(parts.password)}
