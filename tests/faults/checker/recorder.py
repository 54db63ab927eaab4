"""Writes down every checkpoint as it is committed, from outside: later ones replace it in OUT."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import nats
from nats.aio.msg import Msg


@asynccontextmanager
async def recording(url: str, path: Path) -> AsyncIterator[None]:
    """Record to `path`, a JSON line each, as long as the block lasts."""
    client = await nats.connect(url, max_reconnect_attempts=-1, reconnect_time_wait=0.1)
    try:
        with path.open("a") as file:

            async def seen(msg: Msg) -> None:
                headers = dict(msg.headers or {})
                claimed = headers.get("Nats-Expected-Last-Subject-Sequence")
                line = {
                    "sequence": int(headers["Nats-Sequence"]),
                    "subject": msg.subject.removeprefix("live."),
                    "payload": msg.data.decode(),
                    "claimed": None if claimed is None else int(claimed),
                }
                file.write(json.dumps(line) + "\n")

            await client.subscribe("live.ckpt.>", cb=seen, pending_bytes_limit=0)
            await client.flush()
            yield
            await client.flush()
    finally:
        await client.close()
