"""The envelope of answers (F-257) with the position that they hold at.

{"success": true, "data": ..., "timestamp": ms,
 "meta": {"as_of": {"r", "time", "time_iso", "version", "flags"}}}
"""

import time
from collections.abc import Awaitable, Callable, Iterable
from decimal import ROUND_HALF_EVEN, Context, Decimal
from enum import IntFlag
from typing import Any, Generic, NamedTuple, TypeVar

import orjson
from fastapi import Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from tidemill.gateway.queries.parameters import Asked
from tidemill.gateway.queries.stores import Bound, Stores

FRESH_NS = 30_000_000_000
"""A quote or price that is older than this, at the position of an answer, is STALE."""
EXACT = Context(prec=77, rounding=ROUND_HALF_EVEN)
_18_DECIMALS = Decimal("1E-18")
T = TypeVar("T")


class AsOfAnswer(BaseModel):
    """The position that an answer holds at."""

    r: int = Field(description="Everything up to this position is in the answer, nothing after it.")
    time: int | None = Field(description="When the newest trade or quote up to r came, ns UTC.")
    time_iso: str | None = Field(description="The same, ISO 8601.")
    version: int = Field(description="Version of the table that answered.")
    flags: list[str] = Field(description="What is to be known of some row: GAP, STALE, LATE, ...")


class Meta(BaseModel):
    """About an answer."""

    as_of: AsOfAnswer


class Envelope(BaseModel, Generic[T]):
    """An answer."""

    success: bool = True
    data: T
    meta: Meta
    timestamp: int = Field(description="When it was answered, ms UTC.")


class ErrorBody(BaseModel):
    """What is wrong: a code of the reference, a sentence, and details."""

    code: str
    message: str
    details: Any = None


class ErrorEnvelope(BaseModel):
    """An answer that is an error."""

    success: bool = False
    error: ErrorBody
    timestamp: int


class Answer(NamedTuple):
    """What a question found, at which position, and the flags of its rows."""

    data: Any
    bound: Bound
    flags: Iterable[str] = ()


def iso(ns: int) -> str:
    """Return ISO 8601 of ns UTC, all nine digits."""
    whole, fraction = divmod(ns, 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + f".{fraction:09d}Z"


def names(kind: type[IntFlag], value: int) -> list[str]:
    """Return the names of the bits of `value`."""
    return [flag.name for flag in kind if flag & value and flag.name is not None]


def plain(value: Decimal) -> str:
    """Write an exact number in plain digits, without zeros at the end."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def ratio(numerator: Decimal, denominator: Decimal) -> str | None:
    """Return the quotient, half to even at 18 decimals; None over zero."""
    if not denominator:
        return None
    return plain(EXACT.divide(numerator, denominator).quantize(_18_DECIMALS, context=EXACT))


def percent(share: str) -> str:
    """Return a ratio as percent, exactly."""
    return plain(EXACT.multiply(Decimal(share), Decimal(100)))


async def render(stores: Stores, answer: Answer, at_ns: int | None) -> bytes:
    """Return the body of an answer."""
    as_of = {
        "r": answer.bound.root,
        "time": at_ns,
        "time_iso": None if at_ns is None else iso(at_ns),
        "version": answer.bound.version,
        "flags": sorted(set(answer.flags)),
    }
    body = {
        "success": True,
        "data": answer.data,
        "meta": {"as_of": as_of},
        "timestamp": time.time_ns() // 1_000_000,
    }
    return orjson.dumps(body)


async def respond(
    request: Request,
    asked: Asked,
    find: Callable[[Stores], Awaitable[Answer]],
    keep_s: float = 0,
) -> Response:
    """Find an answer and send it in its envelope; keep it `keep_s` for whoever asks the same."""
    stores: Stores = request.app.state.stores
    key = f"{request.url.path}?{asked.model_dump_json(exclude={'min_seq'})}"
    body = await stores.cache.get(key, asked.min_seq or 0) if keep_s else None
    headers = {"X-Cache": "HIT"} if body is not None else {}
    if body is None:
        answer = await find(stores)
        body = await render(stores, answer, await stores.time_of(answer.bound))
        if keep_s:
            await stores.cache.put(key, answer.bound.root, body, keep_s)
    return Response(body, 200, headers, "application/json")
