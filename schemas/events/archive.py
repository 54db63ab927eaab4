"""Facts about the archive: which ranges of LOG are sealed, and what LOG will soon lack."""

from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from tidemill.schemas.events.event import Event

Sha256 = Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{64})?$")]
"""A SHA-256 in hex, or nothing."""
Sequence = Annotated[int, Field(ge=1)]


class RangeSealed(Event):
    """LOG's messages `r0` to `r1` stand in the archive as `file`: durable, read again and equal.

    `chain` is LOG's digest chain at `r1`. `previous` is the SHA-256 of the bytes of the RangeSealed
    before this one, empty for the first, so that the newest attests them all. `ts` is the newest
    `time` up to `r1` (ns, 0 for none).
    """

    channel: ClassVar[str] = "ctl"
    log: str
    r0: Sequence
    r1: Sequence
    messages: Sequence
    ts: int
    file: str
    file_bytes: int
    file_sha256: Sha256
    chain: Sha256
    previous: Sha256


class TrimAnnounced(Event):
    """Soon LOG may lack every message up to `r1`; readers find them in the archive."""

    channel: ClassVar[str] = "ctl"
    log: str
    r1: Sequence
