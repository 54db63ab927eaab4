"""What every JSON event is: frozen, tagged ``Name.v1``, and written the same way every time."""

from typing import ClassVar, Self

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from tidemill.schemas.errors import Unreadable

EVENT_BYTES_MAX = 256 * 1024
"""Largest JSON event that is read."""


class Event(BaseModel):
    """A low-rate event. Times are int ns UTC; prices and quantities decimal strings.

    `sequence` is the writer's own sequence, as in frames. A published event is never changed:
    a new shape is a new class with the next `version`, and the old class stays registered under
    its `title`, renamed, with an `upcast` to the new one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    version: ClassVar[int] = 1
    title: ClassVar[str] = ""
    """Name in the tag where it is not the class's name."""
    channel: ClassVar[str] = ""
    """Where it travels, by the leading tokens of its subject: ``md.event``, ``dlq``."""

    sequence: int = 0

    @classmethod
    def tag(cls) -> str:
        """Return the tag that says what the bytes are, as ``TradeGapDetected.v1``."""
        return f"{cls.title or cls.__name__}.v{cls.version}"

    @classmethod
    def read(cls, fields: dict[str, object]) -> Self:
        """Build one from decoded JSON without its tag. Raises Unreadable."""
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            raise Unreadable(f"{cls.tag()} is not valid: {error}") from error

    def upcast(self) -> "Event":
        """Return this event as the newest version of it; pure."""
        return self


class Derived(Event):
    """An event a processor made, ordered by its cause: LOG record (`at_r`, `at_i`), and `n`."""

    at_r: int
    at_i: int
    n: int = 0


def encode(event: Event) -> bytes:
    """Write ``{"event": "<tag>", ...fields in declared order}``, the same bytes always."""
    return orjson.dumps({"event": event.tag(), **event.model_dump(mode="json")})


def decode(payload: bytes, types: dict[str, type[Event]]) -> Event:
    """Read an event of `types` (by tag), up-cast to its newest version. Raises Unreadable."""
    if len(payload) > EVENT_BYTES_MAX:
        raise Unreadable(f"an event of {len(payload)} bytes is over {EVENT_BYTES_MAX}")
    try:
        fields = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise Unreadable(f"an event is not JSON: {error}") from error
    tag = fields.pop("event", None) if isinstance(fields, dict) else None
    kind = types.get(tag) if isinstance(tag, str) else None
    if kind is None:
        raise Unreadable(f"event {tag!r} is not known")
    return kind.read(fields).upcast()
