"""Subjects: where an event travels, and what its subject says of it.

    md.<kind>.<VENUE>.<SYMBOL>.<pp>        facts of one instrument: trade, quote, book, derivative,
                                           liquidation, status (a hold), instrument, event
    md.<kind>.<VENUE>.<PRODUCT>.all        facts of a feed: status, event
    time                                   the clock
    cmd.<account>.<verb>  ctl.<what>.<graph>   commands; configuration
    bars.<spec>.<VENUE>.<SYMBOL>.<pp>      derived frames, and so for the other plurals below
    activity_bars.<aggregation>.<VENUE>.<SYMBOL>.<pp>    bars that close by what was traded
    resampled_bars.<spec>.<VENUE>.<SYMBOL>.<pp>    bars of longer intervals, made of bars
    composite_bars.<spec>.COMPOSITE.<SYMBOL>.<pp>    bars over venues, made of their bars
    indicators.<spec>.<VENUE>.<SYMBOL>.<pp>    of bars of that spec
    signals.<screen>.<VENUE>.<SYMBOL>.<pp>     of the screen of that name
    anomalies.<set>.<VENUE>.<SYMBOL>.<pp>    of the detectors of that name
    prices.<spec>.ALL.<BASE/QUOTE>.<pp>    over venues; and so arbitrage.<spec>
    feeds.<what>.<VENUE>.<PRODUCT>.all     derived events of a feed
    dlq.<processor>.<pp>   ckpt.<graph>.<pp>

Venue before symbol serves prefix subscriptions; the partition last serves shards.
"""

from functools import lru_cache
from typing import NamedTuple

from tidemill.schemas.identifiers import ALL, PARTITIONS, partition_token, token

LOG_SUBJECTS = ("md.>", "cmd.>", "ctl.>", "ctx.>", "exec.>", "time")
"""Subjects of the stream LOG: facts from outside."""
OUT_SUBJECTS = (
    "bars.>",
    "activity_bars.>",
    "resampled_bars.>",
    "composite_bars.>",
    "indicators.>",
    "signals.>",
    "anomalies.>",
    "prices.>",
    "books.>",
    "levels.>",
    "snapshots.>",
    "derivatives.>",
    "arbitrage.>",
    "feeds.>",
    "dlq.>",
    "ckpt.>",
)
"""Subjects of the stream OUT: what processors derived, with their checkpoints."""
DERIVED = {
    "bars": "bar",
    "activity_bars": "activity_bar",
    "resampled_bars": "resampled_bar",
    "composite_bars": "composite_bar",
    "indicators": "indicator",
    "signals": "signal",
    "anomalies": "anomaly",
    "prices": "price",
    "books": "book_metrics",
    "levels": "book_level",
    "snapshots": "book_snapshot",
    "derivatives": "derivative_metrics",
    "arbitrage": "opportunity",
    "feeds": "feed",
    "dlq": "dead_letter",
}
"""First token of a derived subject to the kind of its records."""


class Subject(NamedTuple):
    """A parsed subject. `partition` is 0 to 63, or ALL; `venue`, `symbol`, `spec` may be empty."""

    kind: str
    spec: str
    venue: str
    symbol: str
    partition: int


@lru_cache(maxsize=65_536)
def parse(text: str) -> Subject:
    """Parse a subject of LOG or OUT. Raises ValueError for one that is not Tidemill's."""
    tokens = text.split(".")
    match tokens:
        case ["time"]:
            return Subject("time", "", "", "", ALL)
        case ["md", kind, venue, symbol, last]:
            return Subject(kind, "", venue, symbol, _partition(last))
        case ["cmd" | "exec" | "ctx" | "ctl" as kind, spec, *rest]:
            return Subject(kind, spec, "", ".".join(rest), ALL)
        case ["dlq" | "ckpt" as root, name, last]:
            return Subject(DERIVED.get(root, root), name, "", "", _partition(last))
        case [root, spec, venue, symbol, last] if root in DERIVED:
            return Subject(DERIVED[root], spec, venue, symbol, _partition(last))
    raise ValueError(f"{text!r} is no subject of Tidemill")


def _partition(text: str) -> int:
    if text == "all":
        return ALL
    if len(text) == 2 and text.isdecimal() and int(text) < PARTITIONS:
        return int(text)
    raise ValueError(f"{text!r} is no partition: 00 to {PARTITIONS - 1}, or all")


def md(kind: str, venue: str, symbol: str, partition: int) -> str:
    """Subject of a fact of one instrument, or of a feed where `partition` is ALL."""
    return f"md.{kind}.{token(venue)}.{token(symbol)}.{partition_token(partition)}"


def derived(root: str, spec: str, venue: str, symbol: str, partition: int) -> str:
    """Subject of derived records: `root` is a key of DERIVED."""
    return f"{root}.{spec}.{token(venue)}.{token(symbol)}.{partition_token(partition)}"


def checkpoint(graph: str, partition: int) -> str:
    """Subject of a graph's checkpoint of one partition."""
    return f"ckpt.{graph}.{partition_token(partition)}"
