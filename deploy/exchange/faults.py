"""Misbehaviour on request: what a test asks the exchange to do wrong (POST /sim/faults?kind=..).

Of messages, on `channel` (trade, quote, book, bar, derivative, liquidation, instrument, all; trade
if not said) of `symbol` and `product` (any if not said): the next `count` (1 if not said), to
everybody alike; or a share `rate` of them, each listener's by itself, until `clear` or for
`seconds`.

drop       is not sent (REST and the record still have it)
duplicate  is sent twice
reorder    is sent after the next one of its channel and symbol, or half a second late
delay      is sent `ms` late, so after others
malformed  is sent cut off, with a word for a number, or as null
huge       is sent with `bytes` of white space at its end
checksum   is sent with a wrong checksum (venues that send one)

Of connections: `cut` resets all of them now, or every `every` seconds; `half_open` leaves them
open and neither reads nor writes any more; `refuse` answers the next `count` handshakes with
`status` (503); `pause` sends nothing for `seconds` and then all of it late; `mute` loses what would
be sent.

Of REST: `limit` refuses the next `count` requests in the venue's words for too many (`status` 429
or 418, to come back after `seconds`); `rest` fails them with `status` (503); `slow` answers them
`seconds` late; `stale` answers the next `count` snapshots of a book (or a share `rate`; those sent
on subscribing, too) as it was `behind` updates ago (1,000).

Of markets: `halt`, `resume`, `delist` and `list`, of `symbol` and `product`. `clear` disarms all.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

MESSAGE_KINDS = ("drop", "duplicate", "reorder", "delay", "malformed", "huge", "checksum")
REQUEST_KINDS = ("refuse", "limit", "rest", "slow", "stale")
MARKET_KINDS = ("halt", "resume", "delist", "list")
KINDS = (
    *MESSAGE_KINDS,
    *REQUEST_KINDS,
    *MARKET_KINDS,
    *("cut", "half_open", "pause", "mute", "clear"),
)
CHANNELS = ("trade", "quote", "book", "bar", "derivative", "liquidation", "instrument", "all")
NUMBER = re.compile(r'"-?\d+(\.\d+)?"')
CHECKSUM = re.compile(r'"checksum":(-?\d+)')


class Topic(NamedTuple):
    """What a message is about: its stream's name at the venue, our word for its channel, and its
    instrument (ours, and the venue's word)."""

    name: str
    channel: str
    product: str
    symbol: str
    raw: str


@dataclass
class Rule:
    """One fault that is armed. `left` messages or requests, or `rate` of them."""

    kind: str
    channel: str = "all"
    symbol: str = ""
    product: str = ""
    left: int = 0
    rate: float = 0.0
    until_s: float = float("inf")
    status: int = 0
    seconds: float = 0.0
    ms: float = 0.0
    size: int = 0
    behind: int = 0

    def about(self, topic: Topic) -> bool:
        """Whether it is armed for `topic`."""
        return (
            self.channel in ("all", topic.channel)
            and self.symbol in ("", topic.symbol, topic.raw)
            and self.product in ("", topic.product)
        )


@dataclass
class Faults:
    """What is armed. `done` counts what was done wrong, by kind."""

    seed: int = 0
    messages: list[Rule] = field(default_factory=list)
    requests: list[Rule] = field(default_factory=list)
    cut_now: bool = False
    cut_every_s: float = 0.0
    half_open_now: bool = False
    paused_until_s: float = 0.0
    muted_until_s: float = 0.0
    done: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(KINDS, 0)))

    def __post_init__(self) -> None:
        self._random = Random(self.seed)

    def arm(self, asked: Mapping[str, str], now_s: float) -> None:
        """Ask for a fault of any kind but the markets'. ValueError for one that is not known."""
        kind, seconds = asked.get("kind", ""), float(asked.get("seconds", "1"))
        if kind in MESSAGE_KINDS:
            self.messages.append(_of_messages(asked, now_s))
        elif kind in REQUEST_KINDS:
            self.requests.append(_of_requests(asked))
        elif kind == "cut":
            self.cut_every_s = float(asked.get("every", "0"))
            self.cut_now = not self.cut_every_s
        elif kind == "half_open":
            self.half_open_now = True
        elif kind == "pause":
            self.paused_until_s = now_s + seconds
        elif kind == "mute":
            self.muted_until_s = now_s + seconds
        elif kind == "clear":
            self.messages.clear()
            self.requests.clear()
            self.cut_every_s = self.paused_until_s = self.muted_until_s = 0.0
        else:
            raise ValueError(f"unknown fault {kind!r}")

    def of_message(self, topic: Topic) -> Rule | None:
        """What is done to the next message of a topic, whoever it goes to."""
        for rule in self.messages:
            if rule.left and rule.about(topic):
                return self._spent(rule, self.messages)
        return None

    def of_listener(self, topic: Topic, now_s: float) -> Rule | None:
        """What is done to the copy of a message that one listener gets."""
        for rule in self.messages:
            if rule.rate and rule.about(topic) and self._random.random() < rule.rate:
                if now_s >= rule.until_s:
                    self.messages.remove(rule)
                    return None
                return rule
        return None

    def of_request(self, *kinds: str, topic: Topic | None = None) -> Rule | None:
        """What is done to the next request or snapshot."""
        for rule in self.requests:
            if rule.kind not in kinds or (topic is not None and not rule.about(topic)):
                continue
            if rule.left:
                self.done[rule.kind] += 1
                return self._spent(rule, self.requests)
            if rule.rate and self._random.random() < rule.rate:
                self.done[rule.kind] += 1
                return rule
        return None

    @staticmethod
    def _spent(rule: Rule, rules: list[Rule]) -> Rule:
        rule.left -= 1
        if not rule.left:
            rules.remove(rule)
        return rule

    def corrupted(self, rule: Rule, text: str) -> str:
        """A message as a rule of kind malformed, huge or checksum spoils it."""
        if rule.kind == "huge":
            return text + " " * rule.size
        if rule.kind == "checksum":
            return CHECKSUM.sub(lambda found: f'"checksum":{int(found[1]) ^ 1}', text)
        how = self._random.randrange(3)
        if how == 0:
            return text[: len(text) // 2]
        return NUMBER.sub('"many"', text, count=1) if how == 1 else "null"


def _of_messages(asked: Mapping[str, str], now_s: float) -> Rule:
    channel, rate = asked.get("channel", "trade"), float(asked.get("rate", "0"))
    if channel not in CHANNELS:
        raise ValueError(f"unknown channel {channel!r}")
    if not 0.0 <= rate <= 1.0:
        raise ValueError(f"no share: {rate}")
    return Rule(
        kind=asked["kind"],
        channel=channel,
        symbol=asked.get("symbol", ""),
        product=asked.get("product", ""),
        left=0 if rate else int(asked.get("count", "1")),
        rate=rate,
        until_s=now_s + float(asked.get("seconds", "inf")),
        ms=float(asked.get("ms", "200")),
        size=int(asked.get("bytes", str(8 << 20))),
    )


def _of_requests(asked: Mapping[str, str]) -> Rule:
    kind, rate = asked["kind"], float(asked.get("rate", "0"))
    return Rule(
        kind=kind,
        symbol=asked.get("symbol", ""),
        product=asked.get("product", ""),
        left=0 if rate else int(asked.get("count", "1")),
        rate=rate,
        status=int(asked.get("status", "429" if kind == "limit" else "503")),
        seconds=float(asked.get("seconds", "1")),
        behind=int(asked.get("behind", "1000")),
    )
