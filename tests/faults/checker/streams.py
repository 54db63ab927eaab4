"""Streams read with plain nats-py: direct gets in batches, each message once and in order."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg

from tidemill.tests.faults.checker.appended import Identity
from tidemill.tests.faults.checker.messages import Message

BATCH, BATCH_BYTES = 1_000, 4 << 20
TIMEOUT_S = 30.0
NO_MESSAGE = 10037


class Stream:
    """One stream, read and never written."""

    def __init__(self, client: Client, name: str) -> None:
        self._client, self.name = client, name

    async def identity(self) -> Identity:
        """Which one it is, and what it holds."""
        info = await self._api(f"STREAM.INFO.{self.name}")
        state = info["state"]
        first = state["first_seq"] if state["messages"] else state["last_seq"] + 1
        uuid = str((info["config"].get("metadata") or {}).get("tidemill_uuid", ""))
        return Identity(uuid, first, state["last_seq"])

    async def get(self, sequence: int) -> Message | None:
        """One message, from the leader; None where there is none."""
        answer = await self._api(f"STREAM.MSG.GET.{self.name}", {"seq": sequence})
        if "error" in answer:
            assert answer["error"]["err_code"] == NO_MESSAGE, answer
            return None
        found = answer["message"]
        return Message(found["seq"], found["subject"], base64.b64decode(found.get("data", "")))

    async def messages(
        self, start: int, end: int, subject: str = ">"
    ) -> AsyncIterator[list[Message]]:
        """Messages on `subject` with sequences from `start` to `end`, some at a time."""
        while start <= end:
            batch = await self._batch(start, subject)
            if not batch:
                return
            yield [message for message in batch if message.sequence <= end]
            start = batch[-1].sequence + 1

    async def _batch(self, start: int, subject: str) -> list[Message]:
        """What the server gives from `start` on. It says after each message which one was before:
        one that this client lost would be noticed."""
        inbox, arrived = self._client.new_inbox(), asyncio.Queue[Msg]()
        subscription = await self._client.subscribe(
            inbox, cb=arrived.put, pending_msgs_limit=0, pending_bytes_limit=0
        )
        body = {"seq": start, "batch": BATCH, "max_bytes": BATCH_BYTES, "next_by_subj": subject}
        await self._client.publish(
            f"$JS.API.DIRECT.GET.{self.name}", json.dumps(body).encode(), reply=inbox
        )
        found: list[Message] = []
        try:
            while True:
                msg = await asyncio.wait_for(arrived.get(), TIMEOUT_S)
                headers = dict(msg.headers or {})
                if headers.get("Status") in ("204", "404"):
                    return found
                assert "Status" not in headers, headers
                last = int(headers["Nats-Last-Sequence"])
                assert not found or last == found[-1].sequence, (last, found[-1].sequence)
                sequence = int(headers["Nats-Sequence"])
                found.append(Message(sequence, headers["Nats-Subject"], msg.data, headers))
        finally:
            await subscription.unsubscribe()

    async def _api(self, verb: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        payload = json.dumps(body).encode() if body is not None else b""
        reply = await self._client.request(f"$JS.API.{verb}", payload, timeout=TIMEOUT_S)
        answer: dict[str, Any] = json.loads(reply.data)
        return answer
