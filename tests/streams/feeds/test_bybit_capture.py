"""The real capture of Bybit linear (2026-08-09), converted, through the intake.

What is appended is read as any reader of the log does; the truth is kept by hand from raw JSON.
"""

import gzip
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest

from tidemill.schemas.enums import RecordFlag
from tidemill.streams.feeds.bybit import Bybit
from tidemill.streams.feeds.convert import converted
from tidemill.streams.feeds.feed import Batch, Instruments
from tidemill.streams.feeds.intake import Intake
from tidemill.streams.feeds.items import Fact, Item

CAPTURES = Path(os.environ.get("TIDEMILL_DATA", "../shared/data")) / "captures_cryptofeed"
NAME = "BYBIT_v5_linear_20260809.jsonl.gz"
RAWS = ("BTCUSDT", "DOGEUSDT", "ETHUSDT", "SOLUSDT")
SNAPSHOT, LAST = int(RecordFlag.SNAPSHOT), int(RecordFlag.LAST)
Levels = dict[Decimal, Decimal]


def lines() -> list[tuple[int, bytes]]:
    if not (CAPTURES / NAME).exists():
        pytest.skip(f"no captures at {CAPTURES}: set TIDEMILL_DATA")
    with gzip.open(CAPTURES / NAME) as file:
        return list(converted(NAME, file))


def played(cut: int = 1) -> tuple[list[Item], Intake]:
    """Play the capture, `cut` lines at a time."""
    venue = Bybit("LINEAR")
    wanted = frozenset(f"{raw}-LINEAR" for raw in RAWS)
    intake, items = Intake(venue, Instruments(wanted=wanted)), []
    each = lines()
    for start in range(0, len(each), cut):
        received, raws = zip(*each[start : start + cut], strict=True)
        items += intake.take(received, raws)
    return items, intake


def messages() -> list[dict[str, Any]]:
    return [m for _, raw in lines() if "topic" in (m := orjson.loads(raw))]


def batches(items: list[Item], kind: str, raw: str) -> list[Batch]:
    subject = f".{raw}-LINEAR."
    found = [i for i in items if isinstance(i, Batch) and i.kind.name == kind]
    return [batch for batch in found if subject in batch.subject]


def exact(mantissa: Any, exponent: int) -> Decimal:
    return Decimal(int(mantissa)).scaleb(exponent)


def true_books(raw: str) -> dict[int, tuple[Levels, Levels]]:
    """The book after each update id, by hand."""
    sides: tuple[Levels, Levels] = ({}, {})
    found = {}
    for message in messages():
        if message["topic"] != f"orderbook.200.{raw}":
            continue
        if message["type"] == "snapshot":
            sides = ({}, {})
        for side, name in zip(sides, ("b", "a"), strict=True):
            for price, quantity in message["data"][name]:
                side.pop(Decimal(price), None)
                if Decimal(quantity):
                    side[Decimal(price)] = Decimal(quantity)
        found[message["data"]["u"]] = (dict(sides[0]), dict(sides[1]))
    return found


@pytest.mark.parametrize("raw", RAWS)
def test_the_book_of_the_log_is_bybits_after_every_message(raw: str):
    truth = true_books(raw)
    items, _ = played()
    sides: tuple[Levels, Levels] = ({}, {})
    compared = 0
    for batch in batches(items, "book", raw):
        for row in batch.records:
            if row["flags"] & SNAPSHOT and compared:
                pytest.fail("there is one snapshot only, at the beginning")
            price = exact(row["price"], batch.price_exponent)
            quantity = exact(row["quantity"], batch.quantity_exponent)
            side = sides[0] if row["side"] == 1 else sides[1]
            side.pop(price, None)
            if quantity:
                side[price] = quantity
            if row["flags"] & LAST:
                assert sides == truth[int(row["last_update_id"])]
                compared += 1
    empty = sum(
        not message["data"]["b"] + message["data"]["a"]
        for message in messages()
        if message["topic"] == f"orderbook.200.{raw}"
    )
    assert compared == len(truth) - empty > 375


@pytest.mark.parametrize("raw", RAWS)
def test_trades_and_values_of_the_log_are_those_of_the_capture(raw: str):
    items, _ = played(cut=7)
    told = [
        (exact(row["price"], batch.price_exponent), exact(row["quantity"], batch.quantity_exponent),
         int(row["ts_event"]) // 1_000_000, int(row["aggressor_side"]), int(row["trade_id"]))
        for batch in batches(items, "trade", raw)
        for row in batch.records
    ]  # fmt: skip
    assert told == [
        (Decimal(t["p"]), Decimal(t["v"]), t["T"], 1 if t["S"] == "Buy" else 2, t["seq"])
        for message in messages()
        if message["topic"] == f"publicTrade.{raw}"
        for t in message["data"]
    ]
    marks = [
        exact(row["mark_price"], batch.price_exponent)
        for batch in batches(items, "derivative", raw)
        for row in batch.records
        if row["fields"] & 1
    ]
    assert marks == [
        Decimal(message["data"]["markPrice"])
        for message in messages()
        if message["topic"] == f"tickers.{raw}" and "markPrice" in message["data"]
    ]


def test_nothing_of_the_capture_is_suspected_lost_or_unread():
    items, intake = played()
    names = {type(item.event).__name__ for item in items if isinstance(item, Fact)}
    assert names == {"InstrumentDefined", "FeedConnected"}
    counts = intake.counts
    assert (counts["trades"], counts["book_updates"], counts["malformed"]) == (327, 1594, 0)
    assert counts["venue_bars"] == 4 and counts["derivatives"] == 156
