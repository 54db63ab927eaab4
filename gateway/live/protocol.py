"""What clients and the live server say to each other.

A client sends JSON objects, at most ten a second:

    {"op": "subscribe", "channel": "trades", "symbol": "BTCUSDT", "venue": "BINANCE"}
    {"op": "subscribe", "channel": "bars", "symbol": "*", "venue": "*", "interval": "1m"}
    {"op": "subscribe", "channel": "signals", "symbol": "*", "venue": "*", "screen": "oversold"}
    {"op": "unsubscribe", ...the same...}
    {"op": "ping"}

``*`` means every symbol, venue, or screen. Channels are trades, quotes, bars, their indicators,
signals and anomalies. Bars and indicators have an interval: ``1m``, or, of bars that close by what
was traded, ``tick``, ``renko``, ...; signals a screen. A number of a signal that is not known yet
is null, and so is what of an anomaly is another detector's.
The server sends JSON arrays of one or more objects, in order. Some are events:

    {"event": "connected", "as_of": r}
    {"event": "subscribed", "channel", "symbol", "venue", "interval", "as_of": r}
    {"event": "unsubscribed", ...}     {"event": "pong", "as_of": r}
    {"event": "error", "code": ..., "message": ...}
    {"event": "gap", "channel", "symbol", "venue", "dropped": n, "as_of": r}

all others are updates, with the position `r` that they are of and exact numbers as text:

    {"channel": "trades", "symbol", "venue", "r": 4711, "data": [{"i": 0, "price": "61837.63"}]}

Times are ns UTC, and `time` ms. `r` is the newest position of the update's records; each record has
its own `r` and `i` (what is derived `n` too, bars by what was traded their `sequence`). Of quotes
only the last of a frame is sent.

**Snapshot, then updates.** Subscribe first, and keep what comes. Ask queries over HTTP with
``min_seq=<as_of of "subscribed">``; the answer holds at ``meta.as_of.r``, called R. Then of the
updates apply exactly the records with ``r > R``: nothing is missing, nothing is there twice. For
whatever was committed before the subscription is of a position <= `as_of` <= R.

**Slow clients.** Queues are bounded. Of quotes, and of revisions of one bar, signal or anomaly, the
latest waits and the others are gone. Of trades, and where there are too many bars, the oldest are
dropped, and a `gap` says how many updates (null: not known) of which channel, symbol and venue
(null: any). After a gap: a new snapshot with its `as_of`.

**Close codes.** 1001 no pong within 5 s of a ping (every 30 s), or the server stops; 1008 too many
messages; 1009 a message over 4 KB. HTTP 503 before the handshake: too many clients.
"""

from typing import Annotated, Any, Literal, NamedTuple, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from tidemill.schemas.bar_type import ACTIVITY_SPECS, SPECS

ANY = "*"
Channel = Literal["trades", "quotes", "bars", "indicators", "signals", "anomalies"]
OF_BARS = ("bars", "indicators")
Code = Literal["INVALID_INPUT", "RATE_LIMITED", "TOO_MANY_SUBSCRIPTIONS"]


class Topic(NamedTuple):
    """What is subscribed to. `interval` is empty but for bars and their indicators, `screen` but
    for signals."""

    channel: str
    symbol: str
    venue: str
    interval: str = ""
    screen: str = ""

    def fields(self) -> dict[str, Any]:
        """The topic as events and updates name it."""
        named = {"channel": self.channel, "symbol": self.symbol, "venue": self.venue}
        more = {"interval": self.interval, "screen": self.screen}
        return named | {name: value for name, value in more.items() if value}


class Request(BaseModel):
    """Subscribe to a topic, or not any more."""

    model_config = ConfigDict(extra="forbid")

    op: Literal["subscribe", "unsubscribe"]
    channel: Channel
    symbol: Annotated[str, Field(pattern=r"^([A-Z0-9][A-Z0-9_\-/:]{0,47}|\*)$")]
    venue: Annotated[str, Field(pattern=r"^([A-Z0-9][A-Z0-9_\-/:]{0,15}|\*)$")]
    interval: str = ""
    screen: Annotated[str, Field(pattern=r"^([a-z0-9][a-z0-9_-]{0,31}|\*)?$")] = ""

    @model_validator(mode="after")
    def _bars_have_an_interval(self) -> Self:
        specs = (*SPECS, *ACTIVITY_SPECS)
        if self.channel in OF_BARS and self.interval not in specs:
            raise ValueError(f"interval of {self.channel} is one of {', '.join(specs)}")
        if self.channel not in OF_BARS and self.interval:
            raise ValueError(f"{self.channel} have no interval")
        if (self.channel == "signals") != bool(self.screen):
            raise ValueError("signals, and nothing else, have a screen: its name, or *")
        return self

    @property
    def topic(self) -> Topic:
        """What it is about."""
        return Topic(self.channel, self.symbol, self.venue, self.interval, self.screen)


class Ping(BaseModel):
    """Are you there, and how far?"""

    model_config = ConfigDict(extra="forbid")

    op: Literal["ping"]


_REQUESTS: TypeAdapter[Request | Ping] = TypeAdapter(
    Annotated[Request | Ping, Field(discriminator="op")]
)


def read(text: str | bytes) -> Request | Ping:
    """Read what a client sent. Raises ValueError, whose text may be shown to it."""
    try:
        return _REQUESTS.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{where}: {first['msg']}" if where else first["msg"]) from None


def event(name: str, **fields: Any) -> bytes:
    """Write an event."""
    return orjson.dumps({"event": name, **fields})


def refusal(code: Code, message: str) -> bytes:
    """Write an error."""
    return event("error", code=code, message=message)
