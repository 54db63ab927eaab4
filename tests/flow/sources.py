"""What the acceptance tests replay, and what its files say when read without our decoders."""

import gzip
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from tidemill.schemas import events, frame, kinds
from tidemill.schemas.events.activity_bars import ActivityBarsDefined
from tidemill.schemas.events.indicators import IndicatorSetDefined
from tidemill.schemas.kinds.time import TIME
from tidemill.streams.feeds.registry import venue_of
from tidemill.streams.feeds.replay import Replay

DATA = Path(
    os.environ.get("TIDEMILL_DATA", Path(__file__).resolve().parents[3] / "shared" / "data")
)
REAL = tuple(
    DATA / "binance_captures_hftbacktest" / "spot" / f"btcusdt_{day}.gz"
    for day in ("20240808", "20240809")
)

Facts = list[tuple[str, bytes]]

_EVERYWHERE = {"name": "some", "instruments": ("*",)}
SETS: Facts = [
    (f"ctl.{what}.some", events.encode(one))
    for what, one in {
        "activity_bars": ActivityBarsDefined(**_EVERYWHERE, bars=("20-TICK", "RENKO", "RANGE")),
        "indicators": IndicatorSetDefined(
            **_EVERYWHERE, bars=("1s", "tick"), indicators=("sma(2)", "obv")
        ),
    }.items()
]
"""What LOG is told to make of captures, whose venues do not say it."""


class Told(NamedTuple):
    """What the lines of one instrument say, in their order; decimals are at 18 places."""

    trades: list[dict[str, Any]]
    quotes: list[dict[str, Any]]


@dataclass(frozen=True)
class Source:
    """Captures by venue; `facts` are what LOG must hold, `exact` that the files have no faults."""

    name: str
    files: Mapping[str, tuple[Path, ...]]
    facts: Facts
    exact: bool

    @cached_property
    def told(self) -> dict[tuple[str, str], Told]:
        """What the files say of each (venue, symbol)."""
        return told(self.files)


def source(name: str, files: Mapping[str, tuple[Path, ...]], exact: bool) -> Source:
    """Play the captures once, each venue by its own feed, and merge the feeds in time."""
    played = [
        [m for batch in Replay(paths, venue_of(venue, "SPOT")).batches() for m in batch]
        for venue, paths in files.items()
    ]
    return Source(name, files, played[0] if len(played) == 1 else merged(played), exact)


def merged(feeds: list[Facts]) -> Facts:
    """Interleave feeds by the 100 ms of their `time` records, and keep one record of each time."""
    cells: dict[int, Facts] = {}
    for facts in feeds:
        now = 0
        for subject, payload in facts:
            if subject == "time":
                now = int(kinds.decode(payload).records["ts"][0])
                cells.setdefault(now, [])
            else:
                cells[now].append((subject, payload))
    whole: Facts = []
    for sequence, now in enumerate(sorted(cells), 1):
        record = TIME.empty(1)
        record["ts"] = now
        whole += [("time", frame.encode(TIME, record, sequence)), *cells[now]]
    return whole


def told(files: Mapping[str, tuple[Path, ...]]) -> dict[tuple[str, str], Told]:
    """Read captures with the standard library alone: (venue, symbol) to its trades and quotes."""
    found: dict[tuple[str, str], Told] = {}
    for venue, paths in files.items():
        for line in chain.from_iterable(map(_lines, paths)):
            received, text = line.split(" ", 1)
            message = json.loads(text)
            data = message.get("data", {})
            if message.get("stream", "").startswith("rest:") or "s" not in data:
                continue
            one = found.setdefault((venue, data["s"]), Told([], []))
            where = {"venue": venue, "symbol": data["s"], "ts_recv": int(received)}
            if data.get("e") == "trade":
                one.trades.append(where | _trade(data))
            elif "B" in data:
                one.quotes.append(where | _quote(data))
    return found


def _lines(path: Path) -> list[str]:
    content = path.read_bytes()
    return (gzip.decompress(content) if path.suffix == ".gz" else content).decode().splitlines()


def at_18(text: str) -> int:
    """A decimal's integer at 18 places."""
    scaled = Decimal(text).scaleb(18)
    assert scaled == int(scaled)
    return int(scaled)


def _trade(data: dict[str, Any]) -> dict[str, Any]:
    return {
        "ts_event": data["T"] * 1_000_000,
        "trade_id": data["t"],
        "price": at_18(data["p"]),
        "quantity": at_18(data["q"]),
        "aggressor_side": 2 if data["m"] else 1,  # the buyer is the maker, so the seller took
        "flags": 0,
    }


def _quote(data: dict[str, Any]) -> dict[str, Any]:
    return {
        "ts_event": None,
        "update_id": data["u"],
        "bid_price": at_18(data["b"]),
        "bid_quantity": at_18(data["B"]),
        "ask_price": at_18(data["a"]),
        "ask_quantity": at_18(data["A"]),
        "flags": 0,
    }
