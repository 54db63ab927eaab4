"""The log on NATS JetStream: one stream, fenced appends and atomic batches (ADR-50).

Each append that is not one message costs three fsyncs whatever its size, one message costs one.
"""

import asyncio
import base64
import json
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from nats.aio.msg import Msg

from tidemill.schemas.errors import Fenced, Unavailable
from tidemill.streams import batch, crash_points
from tidemill.streams.filters import Matcher, distinct, within
from tidemill.streams.jetstream_connection import ApiError, Connection
from tidemill.streams.jetstream_reader import JetStreamReader
from tidemill.streams.live import LiveQueue
from tidemill.streams.log import Checkpoint, Fence, Identity, Message

UUID_KEY = "tidemill_uuid"
"""Key of the stream's identity in its metadata."""
APPEND_TIMEOUT_S = 5.0
LIVE_PREFIX = "live."
# JetStream's error codes, https://github.com/nats-io/nats-server/blob/main/server/errors.json
_NO_MESSAGE = 10037
_WRONG_LAST_SEQUENCE = (10071, 10164)  # the second: another write to the subject is in flight
_BATCH_INCOMPLETE = 10176
_FULL = (10047, 10077)  # storage resources, stream store failed
_SUBJECTS_AT_ONCE = 64

Headed = tuple[str, bytes, dict[str, str]]


class JetStreamLog:
    """One stream of JetStream; implements tidemill.streams.log.Log."""

    def __init__(self, connection: Connection, name: str, config: dict[str, Any]) -> None:
        self.name = name
        self.uuid = str(config.get("metadata", {}).get(UUID_KEY, ""))
        self._connection = connection
        self.append_only = not config.get("allow_rollup_hdrs") and not config.get("allow_msg_ttl")
        self._subjects: list[str] = config["subjects"]
        self._taken = Matcher(self._subjects)
        self._group = f"{connection.name}.batch"
        self._single = f"{connection.name}.message"

    @classmethod
    async def open(cls, connection: Connection, name: str) -> "JetStreamLog":
        """Open a stream that the migrator made. Raises Unavailable while there is none."""
        try:
            info = await connection.api(f"STREAM.INFO.{name}")
        except ApiError as error:
            raise Unavailable(f"stream {name}: {error}") from error
        return cls(connection, name, info["config"])

    async def append(self, messages: Sequence[tuple[str, bytes]], fence: Fence | None) -> int:
        """See Log.append."""
        batch.check(messages, self._taken, self.name)
        headed: list[Headed] = [(subject, payload, {}) for subject, payload in messages]
        if fence is not None:
            headed[0][2].update(_expect(fence.subject, fence.last))
        return await self._store(headed)

    async def transact(
        self, outputs: Sequence[tuple[str, bytes]], checkpoints: Sequence[Checkpoint]
    ) -> dict[str, int]:
        """See Log.transact."""
        batch.check_checkpoints(outputs, checkpoints)
        headed: list[Headed] = [(subject, payload, {}) for subject, payload in outputs]
        for one in checkpoints:
            kept = {"Nats-Rollup": "sub", "Nats-TTL": "never"}
            headed.append((one.subject, one.payload, _expect(one.subject, one.last) | kept))
        batch.check([message[:2] for message in headed], self._taken, self.name)
        start = await self._store(headed) - len(checkpoints) + 1
        return {one.subject: start + at for at, one in enumerate(checkpoints)}

    async def _store(self, messages: list[Headed]) -> int:
        """Store all or nothing; return the last message's sequence."""
        try:
            if len(messages) == 1:
                subject, payload, headers = messages[0]
                crash_points.reach(f"{self._single}.sending")
                reply = await self._connection.request(
                    subject, payload, headers or None, APPEND_TIMEOUT_S
                )
                crash_points.reach(f"{self._single}.answered")
                return _acknowledged(reply.payload)
            return await self._store_batch(messages)
        except ApiError as error:
            raise _as_ours(error) from error

    async def _store_batch(self, messages: list[Headed]) -> int:
        """Send a whole batch without waiting between; its last message commits it."""
        batch_id = uuid4().hex
        opening, opened = self._connection.expect()
        committing, committed = self._connection.expect()
        last = len(messages)
        try:
            for at, (subject, payload, headers) in enumerate(messages, 1):
                headers |= {"Nats-Batch-Id": batch_id, "Nats-Batch-Sequence": str(at)}
                if at == last:
                    headers["Nats-Batch-Commit"] = "1"
                reply = opening if at == 1 else committing if at == last else ""
                await self._connection.publish(subject, payload, headers, reply)
                if at == last // 2 and crash_points.armed(half := f"{self._group}.half"):
                    await self._connection.flush()
                    crash_points.reach(half)
            crash_points.reach(f"{self._group}.committing")
            answer = await self._connection.answer(self.name, committed, APPEND_TIMEOUT_S)
            crash_points.reach(f"{self._group}.committed")
            if opened.done() and opened.exception() is None and opened.result().payload:
                _acknowledged(opened.result().payload)  # why the batch could not begin
            return _acknowledged(answer.payload)
        finally:
            self._connection.forget(opening)
            self._connection.forget(committing)

    async def read(self, start: int, filters: Sequence[str]) -> JetStreamReader:
        """See Log.read."""
        wanted = within(filters, self._subjects, self.name)
        reader = JetStreamReader(self._connection, self, start, wanted)
        await reader.open()
        return reader

    async def last(self, subject: str) -> Message | None:
        """See Log.last; answered by the stream's leader."""
        return await self._message({"last_by_subj": subject})

    async def get(self, sequence: int) -> Message | None:
        """See Log.get."""
        return await self._message({"seq": sequence}) if sequence > 0 else None

    async def _message(self, wanted: dict[str, Any]) -> Message | None:
        try:
            answer = await self._api(f"STREAM.MSG.GET.{self.name}", wanted)
        except ApiError:
            return None
        found = answer["message"]
        return Message(found["seq"], found["subject"], base64.b64decode(found.get("data", "")))

    async def lasts(self, subject: str) -> list[Message]:
        """See Log.lasts; each subject's message is read from the leader."""
        subjects: list[str] = []
        while True:
            page = {"subjects_filter": subject, "offset": len(subjects)}
            info = await self._api(f"STREAM.INFO.{self.name}", page)
            found = info["state"].get("subjects") or {}
            subjects += found
            if not found or len(subjects) >= info.get("total", 0):
                break
        messages: list[Message | None] = []
        subjects.sort()
        for at in range(0, len(subjects), _SUBJECTS_AT_ONCE):
            some = subjects[at : at + _SUBJECTS_AT_ONCE]
            messages += await asyncio.gather(*(self.last(one) for one in some))
        return [message for message in messages if message is not None]

    async def identity(self) -> Identity:
        """See Log.identity."""
        info = await self._api(f"STREAM.INFO.{self.name}")
        state = info["state"]
        first = state["first_seq"] if state["messages"] else state["last_seq"] + 1
        uuid = str(info["config"].get("metadata", {}).get(UUID_KEY, ""))
        return Identity(uuid, first, state["last_seq"])

    async def purge(self, last: int) -> None:
        """Delete every message up to sequence `last`, for good; a right that only admin has."""
        await self._api(f"STREAM.PURGE.{self.name}", {"seq": last + 1})

    async def _api(self, verb: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask about the stream. Raises ApiError when there is no such message, else Unavailable."""
        try:
            return await self._connection.api(verb, body)
        except ApiError as error:
            if error.err_code == _NO_MESSAGE:
                raise
            raise Unavailable(f"stream {self.name}: {error}") from error

    async def live(self, filters: Sequence[str], bytes_max: int = 8 << 20) -> LiveQueue:
        """See Live.live: subscribes `live.<filter>`, which the stream republishes to."""
        return await live(self._connection, filters, bytes_max)


async def live(
    connection: Connection, filters: Sequence[str], bytes_max: int = 8 << 20
) -> LiveQueue:
    """Collect what any stream commits to `filters` from now on; needs no right but `live.>`."""
    queue = LiveQueue(Matcher(filters), bytes_max)

    async def arrived(msg: Msg) -> None:
        sequence = int((msg.headers or {}).get("Nats-Sequence", "0"))
        queue.put((Message(sequence, msg.subject.removeprefix(LIVE_PREFIX), msg.data),))

    subscriptions = [
        await connection.subscribe(LIVE_PREFIX + one, arrived) for one in distinct(filters)
    ]
    await connection.client.flush()
    queue.on_close(lambda: asyncio.gather(*map(connection.unsubscribe, subscriptions)))
    return queue


def _expect(subject: str, last: int) -> dict[str, str]:
    return {
        "Nats-Expected-Last-Subject-Sequence": str(last),
        "Nats-Expected-Last-Subject-Sequence-Subject": subject,
    }


def _acknowledged(payload: bytes) -> int:
    """Return the sequence of a PubAck. Raises ApiError."""
    answer = json.loads(payload)
    if "error" in answer:
        raise ApiError(answer["error"])
    return int(answer["seq"])


def _as_ours(error: ApiError) -> Exception:
    """Say what a refused append means for the caller."""
    if error.err_code in _WRONG_LAST_SEQUENCE:
        return Fenced(str(error))
    if error.err_code == _BATCH_INCOMPLETE or error.err_code in _FULL or error.code in (429, 503):
        return Unavailable(str(error))
    return ValueError(str(error))
