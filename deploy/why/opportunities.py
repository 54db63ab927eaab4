"""Why an opportunity is as it is: the two books, or quotes, that were known then, and the fees."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

from tidemill.deploy.why import books
from tidemill.deploy.why.deriving import Record
from tidemill.deploy.why.facts import Shown
from tidemill.deploy.why.reading import (
    Context,
    Explained,
    check,
    events_shown,
    newest,
    said,
)
from tidemill.schemas import rows
from tidemill.schemas.events.fees import FeesDefined
from tidemill.schemas.identifiers import partition_token


async def explain(context: Context, record: Record) -> Explained:
    """Return what was known of both legs, each down to its raw frames, and whether prices agree."""
    shown = record.shown
    inputs: list[Shown] = []
    checks: list[Shown] = []
    for side, book_side in (("buy", "ask"), ("sell", "bid")):
        venue, symbol = shown[f"{side}_venue"], shown[f"{side}_symbol"]
        leg, price = await _leg(context, side, venue, symbol, book_side)
        inputs += leg
        fee, charged = await _fees(context, side, venue, symbol)
        inputs.append(fee)
        if shown["status"] != "CLOSED":
            checks.append(check(f"{side}_fee_ppm", shown[f"{side}_fee_ppm"], charged))
            checks.append(check(f"{side}_price", Decimal(shown[f"{side}_price"]), price))
    inputs += await _others(context, record)
    if shown["status"] != "OPENED":
        opened = {"r": shown["opened_r"], "i": shown["opened_i"]}
        inputs.append({"role": "the time at which it opened", "records": 1, "first": opened})
    net = Decimal(shown["gross"]) - Decimal(shown["buy_fee"]) - Decimal(shown["sell_fee"])
    checks.append(check("net", Decimal(shown["net"]), net))
    for one in checks:
        one["event"], one["inputs"] = _plain(one["event"]), _plain(one["inputs"])
    return Explained(inputs, checks)


def _plain(value: Any) -> Any:
    return f"{value:f}" if isinstance(value, Decimal) else value


async def _leg(
    context: Context, side: str, venue: str, symbol: str, book_side: str
) -> tuple[list[Shown], Decimal | None]:
    """Return what was known of one leg, and its best price on the side that is met."""
    partition = partition_token(context.found.made.partition)
    where = f"{venue}.{symbol}.{partition}"
    metrics = context.found.latest.get(f"books.1s.{where}", [])
    levels = context.found.latest.get(f"levels.top.{where}", [])
    if not metrics:
        subject = context.subject("quote", venue, symbol)
        quote = await newest(context, f"last quote of {symbol}.{venue}, to {side}", subject)
        if not quote.used:
            return [quote.shown(context)], None
        last = quote.used[0]
        row = rows.readable(last.frame._replace(records=last.records))[0]
        return [quote.shown(context, record=row)], Decimal(row[f"{book_side}_price"])
    shown = [await _nested(context, f"book of {symbol}.{venue}, to {side}", metrics[-1])]
    price = None
    if levels:
        wanted = "BUY" if book_side == "bid" else "SELL"
        told = [one.shown for one in levels]
        best = [one for one in told if one["side"] == wanted and one["level"] == 0]
        price = Decimal(best[0]["price"]) if best else None
        role = f"best levels of {symbol}.{venue}, to {side}"
        shown.append(await _nested(context, role, levels[0], len(levels)))
    return shown, price


async def _others(context: Context, record: Record) -> list[Shown]:
    """Return the rest of the pair that could take part: `venues` counts those that were fresh."""
    shown, found = record.shown, []
    legs = {(shown[f"{side}_venue"], shown[f"{side}_symbol"]) for side in ("buy", "sell")}
    partition = partition_token(context.found.made.partition)
    for (venue, symbol), (_, defined) in sorted(context.found.defined.items()):
        if defined.pair != record.name.symbol or (venue, symbol) in legs:
            continue
        role = f"{symbol}.{venue}, which was known too"
        metrics = context.found.latest.get(f"books.1s.{venue}.{symbol}.{partition}", [])
        if metrics:
            own = replace(context, cause=metrics[-1].at[:2])
            made = await books.explain(own, metrics[-1])
            found.append(_told(role, metrics[-1], 1, made))
        else:
            quote = await newest(context, role, context.subject("quote", venue, symbol))
            found.append(quote.shown(context))
    return found


async def _nested(context: Context, role: str, record: Record, records: int = 1) -> Shown:
    """Return a derived record that was read, explained in its turn."""
    own = replace(context, cause=record.at[:2])
    return _told(role, record, records, await books.explain(own, record))


def _told(role: str, record: Record, records: int, made: Explained) -> Shown:
    return {
        "role": role,
        "records": records,
        "name": f"book:{record.at.r},{record.at.i},{record.at.n}",
        "record": record.shown,
        "inputs": made.inputs,
        "checks": made.checks,
    }


async def _fees(context: Context, side: str, venue: str, symbol: str) -> tuple[Shown, int]:
    product = context.found.defined[venue, symbol][1].product
    listed = [
        (r, event)
        for r, event in await said(context, [f"ctl.fees.{venue}.{product}"])
        if isinstance(event, FeesDefined)
    ]
    role = f"fees of {venue} {product}, to {side}"
    if not listed:
        return {"role": f"{role}: LOG says nothing of them, so 0", "records": 0}, 0
    newest_fees = listed[-1][1]
    assert isinstance(newest_fees, FeesDefined)
    return events_shown(role, listed[-1:], context), newest_fees.taker_ppm
