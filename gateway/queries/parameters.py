"""Parameters of questions, every one of them bounded; an unknown one is refused."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any, NamedTuple

from fastapi import Path
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from tidemill.schemas.identifiers import VENUE_CHARS_MAX

ROOT_MAX = 2**63 - 1
NS_FROM = 10**17
"""Whole numbers from here on are times in ns (1973), those below are positions."""
_ISO = re.compile(
    r"(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2}(?::\d{2})?)(?:\.(\d{1,9}))?)?(Z|[+\- ]\d{2}:\d{2})?"
)
_DIGITS = re.compile(r"[0-9]{1,19}")

Symbol = Annotated[
    str,
    Path(
        pattern=r"^[A-Z0-9_\-/:]{1,48}$",
        description="A venue's symbol (BTCUSDT) or a pair (BTC-USDT, BTC/USDT).",
        examples=["BTCUSDT", "BTC-USDT"],
    ),
]
Venue = Annotated[
    str,
    Field(
        pattern=rf"^[A-Z0-9][A-Z0-9_\-]{{0,{VENUE_CHARS_MAX - 1}}}$",
        description="A venue.",
        examples=["BINANCE"],
    ),
]


def moment_ns(text: Any) -> int:
    """Return ns UTC of ISO 8601 text (UTC where it names no zone) or of a whole number of ns.

    Raises ValueError.
    """
    if isinstance(text, int):
        return text
    if _DIGITS.fullmatch(str(text)) and int(text) >= NS_FROM:
        return _within(int(text))
    match = _ISO.fullmatch(str(text))
    if match is None:
        raise ValueError("a time is ISO 8601, as 2024-08-08T12:00:00.5Z is, or whole ns UTC")
    day, clock, fraction, zone = match.groups(default="")
    # A plus sign in a query is a blank unless it was written as %2B.
    offset = zone.replace(" ", "+").replace("Z", "+00:00") or "+00:00"
    at = datetime.fromisoformat(f"{day}T{clock or '00:00'}{offset}").astimezone(UTC)
    whole_s = (at - datetime(1970, 1, 1, tzinfo=UTC)) // _SECOND
    return _within(whole_s * 1_000_000_000 + int(fraction.ljust(9, "0") or 0))


_SECOND = datetime(1970, 1, 2, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)
_SECOND /= 86_400


def _within(ns: int) -> int:
    if not NS_FROM <= ns <= ROOT_MAX:
        raise ValueError("a time is between 1973 and 2262")
    return ns


class AsOf(NamedTuple):
    """What an answer is to be of: a position `root`, or a time `ns`; one of them is None."""

    root: int | None
    ns: int | None


def as_of(text: str) -> AsOf:
    """Read ``as_of``. Raises ValueError."""
    if _DIGITS.fullmatch(text) and int(text) < NS_FROM:
        return AsOf(int(text), None)
    return AsOf(None, moment_ns(text))


def _known(text: str) -> str:
    as_of(text)
    return text


Moment = Annotated[
    int,
    BeforeValidator(moment_ns),
    WithJsonSchema({"type": "string", "maxLength": 40, "examples": ["2024-08-08T12:00:00Z"]}),
]


class Asked(BaseModel):
    """What every question takes: the position that it is about."""

    model_config = ConfigDict(extra="forbid")

    as_of: Annotated[str, Field(max_length=40), AfterValidator(_known)] | None = Field(
        None,
        examples=["4711", "2024-08-08T12:00:00Z"],
        description="Ask the past: a position r, or a time (ISO 8601 or ns UTC), which means the"
        " newest r at which the log itself had a time up to then. A position that is not reached"
        " yet is waited for, as by min_seq.",
    )
    min_seq: int | None = Field(
        None,
        ge=0,
        le=ROOT_MAX,
        description="Answer only when complete up to this position; 503 TIMEOUT if it takes long.",
    )

    @property
    def past(self) -> AsOf | None:
        """What ``as_of`` says."""
        return None if self.as_of is None else as_of(self.as_of)
