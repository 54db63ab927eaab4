"""Why a derivative's metrics are as they are: what its venue said, and its trades of a day."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tidemill.deploy.why.deriving import Record
from tidemill.deploy.why.reading import (
    Context,
    Explained,
    Gathered,
    check,
    events_shown,
    facts,
    gaps,
    upto,
    used,
)
from tidemill.processors.kernels.derivative_state import (
    BUCKET_NS,
    BUCKETS_24H,
    HOUR_NS,
    HOURS_7D,
    RATE_MAX,
    TS_AHEAD_NS_MAX,
)
from tidemill.schemas.frame import Frame
from tidemill.streams.log import Message

_VALUES = (
    "mark_price",
    "index_price",
    "funding_rate",
    "next_funding_time",
    "funding_interval_s",
    "open_interest",
)
"""Bit k of `fields` says that the k-th of them is given."""


@dataclass
class _Instrument:
    """What is known of one instrument at `ts`."""

    ts: int
    said: Gathered
    trades: Gathered
    exponents: tuple[int, int] = (0, 0)
    values: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    newest: int = 0
    last: tuple[int, int] = (0, 0)

    def take(self, message: Message, frame: Frame, cause: tuple[int, int]) -> None:
        """Take a frame up to the cause; other exponents than before begin everything anew."""
        keep = upto(message, frame, cause)
        if not keep.any():
            return
        exponents = (frame.price_exponent, frame.quantity_exponent)
        if exponents != self.exponents:
            self.said.clear()
            self.trades.clear()
            self.values.clear()
            self.exponents, self.newest, self.last = exponents, 0, (0, 0)
        if frame.kind.name == "trade":
            self._count(message, frame, keep)
        else:
            self._hear(message, frame, keep)

    def _hear(self, message: Message, frame: Frame, keep: Any) -> None:
        for index in np.flatnonzero(keep).tolist():
            row = frame.records[index]
            for bit, name in enumerate(_VALUES):
                value = int(row[name])
                beyond = name == "funding_rate" and abs(value) > RATE_MAX
                if int(row["fields"]) >> bit & 1 and not beyond:
                    self.values[name] = (value, message.sequence, index)
        keep &= frame.records["ts_recv"] // HOUR_NS > self.ts // HOUR_NS - HOURS_7D
        if keep.any():
            self.said.used.append(used(message, frame, keep))

    def _count(self, message: Message, frame: Frame, keep: Any) -> None:
        records = frame.records
        ts = records["ts_event"]
        keep &= (ts >= 0) & (ts - TS_AHEAD_NS_MAX <= records["ts_recv"])
        keep &= records["quantity"] >= 0
        if not keep.any():
            return
        top = int(ts[keep].max())
        self.newest = max(self.newest, top // BUCKET_NS)
        if top >= self.last[0]:
            at = np.flatnonzero(keep & (ts == top))[-1]
            self.last = (top, int(records["price"][at]))
        keep &= ts // BUCKET_NS > self.ts // BUCKET_NS - BUCKETS_24H
        if keep.any():
            self.trades.used.append(used(message, frame, keep))

    def settle(self) -> None:
        """Drop what had left the window by a trade that was ahead of the time."""
        buckets = np.array(self.trades.column("ts_event"), np.int64) // BUCKET_NS
        self.trades.cut(buckets > max(self.newest, self.ts // BUCKET_NS) - BUCKETS_24H)


async def explain(context: Context, record: Record) -> Explained:
    """Return the records of 7 days, which of them each value is, and the trades of 24 hours."""
    metrics, name = record.raw, record.name
    said, trades = Gathered("what its venue said of it, 7 days"), Gathered("its trades, 24 hours")
    known = _Instrument(metrics["ts"], said, trades)
    subjects = [context.subject(kind, name.venue, name.symbol) for kind in ("derivative", "trade")]
    async for message, frame in facts(context, subjects):
        if frame is not None and frame.kind.name in ("derivative", "trade"):
            known.take(message, frame, context.cause)
    known.settle()
    values = {key: {"value": v, "r": r, "i": i} for key, (v, r, i) in known.values.items()}
    volume = sum(trades.column("quantity"))
    inputs = [said.shown(context, newest=values), trades.shown(context, volume=volume)]
    if missing := await gaps(context, name.venue, name.symbol):
        inputs.append(events_shown("trades that are missing", missing, context))
    checks = [check("volume", metrics["volume"], volume)]
    checks += [check(key, metrics[key], value) for key, (value, _, _) in known.values.items()]
    if known.last[0]:
        checks.append(check("last_price", metrics["last_price"], known.last[1]))
    return Explained(inputs, checks)
