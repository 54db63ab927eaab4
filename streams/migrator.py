"""Makes the server's streams what the declarations say: shows first, changes only when told.

It creates what is missing, never deletes, and refuses what JetStream cannot change in place.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from tidemill.streams.declarations import Stream
from tidemill.streams.jetstream import UUID_KEY
from tidemill.streams.jetstream_connection import ApiError, Connection

_NO_STREAM = 10059
_UNCHANGEABLE = ("storage", "retention", "max_consumers")
_ONLY_ON = ("allow_msg_ttl",)


class Refused(Exception):
    """A stream differs in what JetStream cannot change: make another one and copy, by hand."""


@dataclass(frozen=True)
class Difference:
    """One thing that is not as declared; `key` is empty for a stream that is missing."""

    stream: str
    key: str
    found: Any
    declared: Any

    @property
    def changeable(self) -> bool:
        """Whether JetStream can change it in place."""
        switched_off = self.key in _ONLY_ON and not self.declared
        return self.key not in _UNCHANGEABLE and not switched_off

    def __str__(self) -> str:
        if not self.key:
            return f"{self.stream}: missing"
        end = "" if self.changeable else "  (cannot be changed)"
        return f"{self.stream}: {self.key} is {self.found!r}, declared {self.declared!r}{end}"


async def migrate(
    connection: Connection, declared: Sequence[Stream], apply: bool = False
) -> list[Difference]:
    """Return what differs; with `apply`, create and change it first.

    Raises Refused, before anything is changed, for what cannot be; Unavailable.
    """
    found = {stream.name: await _config(connection, stream.name) for stream in declared}
    differences = [one for stream in declared for one in _differences(stream, found[stream.name])]
    if not apply:
        return differences
    if stuck := [str(one) for one in differences if not one.changeable]:
        raise Refused("; ".join(stuck))
    differing = {one.stream for one in differences}
    for stream in declared:
        if stream.name in differing:
            await _put(connection, stream, found[stream.name])
    return differences


async def _put(connection: Connection, stream: Stream, found: dict[str, Any] | None) -> None:
    """Create a stream under a new identity, or change it and keep all that we do not declare."""
    if found is None:
        config = stream.config() | {"metadata": {UUID_KEY: uuid4().hex}}
        await connection.api(f"STREAM.CREATE.{stream.name}", config)
        return
    metadata = found.get("metadata", {})
    config = found | stream.config() | {"metadata": {UUID_KEY: uuid4().hex} | metadata}
    if not stream.live:
        config.pop("republish", None)
    await connection.api(f"STREAM.UPDATE.{stream.name}", config)


def _differences(stream: Stream, found: dict[str, Any] | None) -> list[Difference]:
    if found is None:
        return [Difference(stream.name, "", None, None)]
    declared = {"republish": None, "placement": None} | stream.config()
    differences = []
    for key, value in declared.items():
        there = _comparable(found.get(key))
        if there != _comparable(value):
            differences.append(Difference(stream.name, key, there, _comparable(value)))
    if not found.get("metadata", {}).get(UUID_KEY):
        differences.append(Difference(stream.name, UUID_KEY, None, "a new UUID"))
    return differences


def _comparable(value: Any) -> Any:
    """Absent, false, zero and empty are one; the order of subjects means nothing."""
    if isinstance(value, list):
        return sorted(value)
    return value or None


async def _config(connection: Connection, name: str) -> dict[str, Any] | None:
    try:
        info = await connection.api(f"STREAM.INFO.{name}")
    except ApiError as error:
        if error.err_code == _NO_STREAM:
            return None
        raise
    config: dict[str, Any] = info["config"]
    return config
