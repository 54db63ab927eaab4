"""Why a pair's price is as it is: each venue's trades of 24 hours, its last trade and quote."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tidemill.deploy.why.deriving import Record
from tidemill.deploy.why.reading import (
    Context,
    Explained,
    Gathered,
    Used,
    check,
    events_shown,
    facts,
    gaps,
    newest,
    upto,
    used,
)
from tidemill.processors.kernels.prices import (
    BUCKETS,
    FRESH_NS,
    MINUTE_NS,
    PRICE_EXPONENT,
    QUANTITY_EXPONENT,
    TS_AHEAD_NS_MAX,
)
from tidemill.schemas.decimals import INT64_MAX
from tidemill.schemas.frame import Frame
from tidemill.streams.log import Message


@dataclass
class _Venue:
    """One instrument's part in the price at `ts`."""

    name: str
    ts: int
    trades: Gathered
    last: Gathered
    quote: Gathered
    received: int = 0
    last_ts: int = 0
    newest: int = field(default=0)

    def take(self, message: Message, frame: Frame, cause: tuple[int, int]) -> None:
        """Take the trades of a frame up to the cause."""
        keep = upto(message, frame, cause)
        if not keep.any():
            return
        records = frame.records
        self.received = max(self.received, int(records["ts_recv"][keep].max()))
        ts = records["ts_event"]
        keep &= (ts >= 0) & (ts - TS_AHEAD_NS_MAX <= records["ts_recv"])
        keep &= _exact(records["price"], frame.price_exponent - PRICE_EXPONENT)
        keep &= _exact(records["quantity"], frame.quantity_exponent - QUANTITY_EXPONENT)
        if not keep.any():
            return
        top = int(ts[keep].max())
        self.newest = max(self.newest, top // MINUTE_NS)
        if top >= self.last_ts:
            self.last_ts = top
            at = np.zeros(len(keep), np.bool_)
            at[np.flatnonzero(keep & (ts == top))[-1]] = True
            self.last.used = [used(message, frame, at)]
        keep &= ts // MINUTE_NS > self.ts // MINUTE_NS - BUCKETS
        if keep.any():
            self.trades.used.append(used(message, frame, keep))

    def settle(self) -> None:
        """Drop what had left the window by a trade that was ahead of the time."""
        minutes = np.array(self.trades.column("ts_event"), np.int64) // MINUTE_NS
        self.trades.cut(minutes > max(self.newest, self.ts // MINUTE_NS) - BUCKETS)

    @property
    def quoted(self) -> bool:
        """Whether its quote is fresh."""
        return _fresh([int(r) for r in self.quote.column("ts_recv")], self.ts)

    @property
    def counts(self) -> bool:
        """Whether its trades and last price are in the price."""
        return self.last_ts > 0 and (self.quoted or _fresh([self.received], self.ts))


def _fresh(received: list[int], ts: int) -> bool:
    return bool(received) and received[-1] > 0 and ts - received[-1] <= FRESH_NS


def _exact(mantissas: Any, shift: int) -> Any:
    """Return which mantissas, none below 0, stay exact when they are moved by 10^shift."""
    if shift < 0:
        return (mantissas >= 0) & (mantissas % 10**-shift == 0)
    return (mantissas >= 0) & (mantissas <= INT64_MAX // 10**shift)


def _scaled(one: Used, name: str) -> list[int]:
    exponent, wanted = one.frame.price_exponent, PRICE_EXPONENT
    if name.endswith("quantity"):
        exponent, wanted = one.frame.quantity_exponent, QUANTITY_EXPONENT
    shift = exponent - wanted
    values = one.records[name].tolist()
    return [v * 10**shift if shift >= 0 else v // 10**-shift for v in values]


async def explain(context: Context, record: Record) -> Explained:
    """Return what each spot venue of the pair gave to its price, and whether that adds up."""
    price = record.raw
    venues = []
    for (venue, symbol), (_, defined) in sorted(context.found.defined.items()):
        if defined.pair == record.name.symbol and defined.product == "SPOT":
            venues.append(await _venue(context, venue, symbol, price["ts"]))
    inputs = []
    for one in venues:
        if one.counts:
            volume, quote_volume = _sums(one)
            sums = {"volume": volume, "quote_volume": quote_volume}
            inputs.append(one.trades.shown(context, **sums))
            inputs.append(one.last.shown(context))
        if one.quoted:
            inputs.append(one.quote.shown(context))
        if not one.counts and not one.quoted:
            role = f"{one.name} had no part: nothing of it was received within 30 s"
            inputs.append({"role": role, "records": 0})
        symbol, _, venue = one.name.rpartition(".")
        if missing := await gaps(context, venue, symbol):
            inputs.append(events_shown(f"trades of {one.name} that are missing", missing, context))
    return Explained(inputs, _checks(price, venues))


async def _venue(context: Context, venue: str, symbol: str, ts: int) -> _Venue:
    name = f"{symbol}.{venue}"
    quote = await newest(context, f"last quote of {name}", context.subject("quote", venue, symbol))
    trades = Gathered(f"trades of {name}, 24 hours")
    found = _Venue(name, ts, trades, Gathered(f"last trade of {name}"), quote)
    async for message, frame in facts(context, [context.subject("trade", venue, symbol)]):
        if frame is not None and frame.kind.name == "trade":
            found.take(message, frame, context.cause)
    found.settle()
    return found


def _sums(one: _Venue) -> tuple[int, int]:
    volume = quote_volume = 0
    for frame in one.trades.used:
        prices, quantities = _scaled(frame, "price"), _scaled(frame, "quantity")
        volume += sum(quantities)
        quote_volume += sum(p * q for p, q in zip(prices, quantities, strict=True))
    return volume, quote_volume


def _checks(price: dict[str, Any], venues: list[_Venue]) -> list[dict[str, Any]]:
    counting = [one for one in venues if one.counts]
    sums = [_sums(one) for one in counting]
    lasts = [_scaled(one.last.used[0], "price")[0] for one in counting]
    found = {
        "volume": sum(volume for volume, _ in sums),
        "quote_volume": sum(quote for _, quote in sums),
        "last_price_sum": sum(lasts),
        "high_price": max(lasts, default=0),
        "low_price": min(lasts, default=0),
        "venues": len(counting),
        **_best(venues, "bid", 1),
        **_best(venues, "ask", -1),
    }
    return [check(name, price[name], value) for name, value in found.items()]


def _best(venues: list[_Venue], side: str, sign: int) -> dict[str, int]:
    """Return the best fresh quote of a side over the venues; of equals the first by name."""
    offers = []
    for one in venues:
        if one.quoted and _all_exact(one.quote.used[0]):
            at = one.quote.used[0]
            quantity = _scaled(at, f"{side}_quantity")[0]
            if quantity > 0:
                venue = one.name.rsplit(".", 1)[1]
                offers.append((-sign * _scaled(at, f"{side}_price")[0], venue, quantity))
    best, _, quantity = min(offers, default=(0, "", 0))
    return {f"best_{side}": -sign * best, f"best_{side}_quantity": quantity}


def _all_exact(one: Used) -> bool:
    """Return whether a quote can be written in the price's units; else it shows nothing."""
    price, quantity = (
        one.frame.price_exponent - PRICE_EXPONENT,
        one.frame.quantity_exponent - QUANTITY_EXPONENT,
    )
    return all(
        bool(_exact(one.records[f"{side}_{what}"], shift).all())
        for side in ("bid", "ask")
        for what, shift in (("price", price), ("quantity", quantity))
    )
