"""The list of all instruments of a venue, joined from the answers of one round."""

import random

import orjson
import pytest

from tidemill.streams.feeds.bybit import Bybit
from tidemill.streams.feeds.capture import rest_message
from tidemill.streams.feeds.feed import Instruments, Page
from tidemill.streams.feeds.intake import Intake
from tidemill.streams.feeds.items import Fact
from tidemill.streams.feeds.listing import Listing

PATHS = ("early", "trading", "late")
LINEAR = Bybit("LINEAR")
SYMBOLS = tuple("ABCDE")


def page(path: str, names: str = "", following: str = "") -> Page:
    return Page(path, frozenset(names), following)


def test_only_a_round_that_was_answered_whole_lists():
    listing = Listing(PATHS)
    assert listing.take(page("early", "A")) is None and listing.awaited == "trading"
    assert listing.take(page("trading", "B", "trading2")) is None and listing.awaited == "trading2"
    assert listing.take(page("trading2", "C")) is None and listing.awaited == "late"
    assert listing.take(page("late")) == frozenset("ABC") and listing.awaited == ""


def test_a_path_that_lists_all_is_a_round_of_its_own():
    listing = Listing(["all"])
    assert listing.take(page("all", "AB")) == frozenset("AB")
    assert listing.take(page("all", "B")) == frozenset("B")


@pytest.mark.parametrize("given", [("trading", "late"), ("late",), ("early", "late"), ("x",)])
def test_answers_out_of_turn_list_nothing(given):
    listing = Listing(PATHS)
    assert [listing.take(page(path, "A")) for path in given] == [None] * len(given)


def test_a_round_that_was_not_finished_is_forgotten_when_another_begins():
    listing = Listing(PATHS)
    for path in ("early", "trading"):
        listing.take(page(path, "Z"))
    assert [listing.take(page(path, path[0])) for path in PATHS][-1] == frozenset("etl")
    listing.take(page("early", "Z"))
    listing.begin()
    assert listing.awaited == "early" and listing.take(page("trading", "A")) is None


# through a feed's intake


def entry(symbol: str, status: str) -> dict[str, object]:
    return {
        "symbol": f"{symbol}USDT", "contractType": "LinearPerpetual", "status": status,
        "baseCoin": symbol, "quoteCoin": "USDT", "settleCoin": "USDT", "launchTime": "1",
        "deliveryTime": "0", "priceScale": "2", "fundingInterval": 480,
        "priceFilter": {"tickSize": "0.01"},
        "lotSizeFilter": {"qtyStep": "0.001", "minNotionalValue": "5"},
    }  # fmt: skip


def answer(path: str, entries: list[dict[str, object]], cursor: str = "") -> bytes:
    body = {"retCode": 0, "retMsg": "OK", "result": {"list": entries, "nextPageCursor": cursor}}
    return rest_message(path, orjson.dumps(body))


def refusal(path: str) -> bytes:
    return rest_message(path, b'{"retCode":10001,"retMsg":"params error","result":{}}')


def said(intake: Intake, messages: list[bytes]) -> dict[str, list[str]]:
    """Statuses of each symbol that the messages made the feed say."""
    items = intake.take([1_750_000_000_000_000_000] * len(messages), messages)
    found: dict[str, list[str]] = {}
    for item in items:
        if isinstance(item, Fact) and type(item.event).__name__ == "InstrumentDefined":
            found.setdefault(item.event.base, []).append(item.event.status)
    return found


def intake() -> Intake:
    return Intake(LINEAR, Instruments(wanted=frozenset(f"{s}USDT-LINEAR" for s in SYMBOLS)))


def whole_round(statuses: dict[str, str], page_max: int = 2) -> list[bytes]:
    """Every answer of a round, in pages, of a venue whose contracts have these statuses."""
    messages = []
    for path, status in zip(
        LINEAR.listing_paths, ("PreLaunch", "Trading", "Delivering"), strict=True
    ):
        entries = [entry(s, is_) for s, is_ in statuses.items() if is_ == status]
        pages = [entries[i : i + page_max] for i in range(0, len(entries), page_max)] or [[]]
        asked = path
        for number, some in enumerate(pages):
            cursor = f"page%3D{number + 1}" if number + 1 < len(pages) else ""
            messages.append(answer(asked, some, cursor))
            asked = f"{path}&cursor={cursor}"
    return messages


def test_a_contract_that_does_not_trade_is_halted_and_delisted_only_when_nothing_lists_it():
    feed = intake()
    trading = dict.fromkeys(SYMBOLS, "Trading")
    assert said(feed, whole_round(trading)) == {s: ["TRADING"] for s in SYMBOLS}
    assert said(feed, whole_round(trading | {"B": "Delivering"})) == {"B": ["HALTED"]}
    closed = {s: "Trading" for s in SYMBOLS if s != "B"}
    assert said(feed, whole_round(closed)) == {"B": ["DELISTED"]}


def test_an_answer_that_is_refused_or_lost_delists_nothing():
    rounds = random.Random(7)
    for _ in range(200):
        feed = intake()
        said(feed, whole_round(dict.fromkeys(SYMBOLS, "Trading")))
        gone = {s: rounds.choice(["Trading", "Delivering", "PreLaunch"]) for s in SYMBOLS[1:]}
        messages = whole_round(gone)
        at = rounds.randrange(len(messages))
        broken = [*messages[:at], *messages[at + 1 :]]
        if rounds.random() < 0.5:
            broken.insert(at, refusal(LINEAR.listing_paths[0]))
        assert not [s for each in said(feed, broken).values() for s in each if s == "DELISTED"]
        assert said(feed, messages)["A"] == ["DELISTED"]
