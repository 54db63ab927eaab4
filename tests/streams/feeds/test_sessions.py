"""Bybit's trades through the intake: reconnects, REST's newest trades, and the venue's own bars."""

from typing import Any

import orjson

from tidemill.schemas.events.feed import TradeGapSuspected
from tidemill.streams.feeds.bybit import Bybit
from tidemill.streams.feeds.connections import State, Turn, socket_message
from tidemill.streams.feeds.feed import Batch, Instruments
from tidemill.streams.feeds.intake import Intake
from tidemill.streams.feeds.items import Fact, Item

MS = 1_000_000
START = 1786310760000
"""A whole minute, in ms."""
SYMBOL = "BTCUSDT-LINEAR"
PATH = "/v5/market/recent-trade?category=linear&symbol=BTCUSDT&limit=1000"


def uuid(number: int) -> str:
    return f"00000000-0000-5000-8000-{number * 0x9E3779B9:012x}"


def trade(number: int) -> dict[str, Any]:
    """Trade k happens k seconds after START, of a quantity of 0.001."""
    return {
        "T": START + number * 1000, "s": "BTCUSDT", "S": "Buy", "v": "0.001", "p": "65114.20",
        "L": "PlusTick", "i": uuid(number), "BT": False, "RPI": False, "seq": 1_000 + number // 2,
    }  # fmt: skip


def stream(*numbers: int) -> bytes:
    trades = [trade(number) for number in numbers]
    message = {"topic": "publicTrade.BTCUSDT", "type": "snapshot", "ts": trades[-1]["T"] + 1}
    return orjson.dumps(message | {"data": trades})


def newest(*numbers: int) -> bytes:
    rows = [
        {
            "execId": uuid(number), "symbol": "BTCUSDT", "price": "65114.20", "size": "0.001",
            "side": "Buy", "time": str(START + number * 1000), "isBlockTrade": False,
            "isRPITrade": False, "seq": str(1_000 + number // 2),
        }
        for number in reversed(numbers)
    ]  # fmt: skip
    body = {"retCode": 0, "retMsg": "OK", "result": {"category": "linear", "list": rows}, "time": 1}
    return orjson.dumps({"stream": f"rest:{PATH}", "data": body})


def bar(minute: int, volume: str) -> bytes:
    opened = START + minute * 60_000
    data = {
        "start": opened, "end": opened + 59_999, "interval": "1", "open": "65114.2",
        "close": "65114.2", "high": "65114.2", "low": "65114.2", "volume": volume,
        "turnover": "1", "confirm": True, "timestamp": opened + 60_000,
    }  # fmt: skip
    message = {"topic": "kline.1.BTCUSDT", "data": [data], "type": "snapshot"}
    return orjson.dumps(message | {"ts": opened + 60_000})


def turn(connection: int, state: State) -> bytes:
    return socket_message(Turn("public", connection, state, "cut", (SYMBOL,)))


class Feed:
    """An intake, and what it said so far. Messages are received at seconds after START."""

    def __init__(self, lasts: dict[str, tuple[int, int]] | None = None) -> None:
        venue = Bybit("LINEAR")
        instruments = Instruments(infer=venue.infer)
        instruments.of("BTCUSDT")
        self.intake = Intake(venue, instruments, lasts)
        self.items: list[Item] = []

    def take(self, second: float, *raws: bytes) -> None:
        now = START * MS + int(second * 1000) * MS
        self.items += self.intake.take([now] * len(raws), raws)

    def tick(self, second: float) -> None:
        self.items += self.intake.tick(START * MS + int(second * 1000) * MS)

    @property
    def trades(self) -> list[int]:
        return [
            (int(time) // MS - START) // 1000
            for item in self.items
            if isinstance(item, Batch) and item.kind.name == "trade"
            for time in item.records["ts_event"]
        ]

    @property
    def holds(self) -> list[int]:
        subject = f"md.status.BYBIT.{SYMBOL}."
        batches = [i for i in self.items if isinstance(i, Batch) and i.subject.startswith(subject)]
        return [int(batch.records["hold"][0]) for batch in batches]

    @property
    def suspected(self) -> list[tuple[str, int, int, str, str]]:
        events = [item.event for item in self.items if isinstance(item, Fact)]
        return [
            (
                event.reason, (event.ts_from // MS - START) // 1000,
                (event.ts_to // MS - START) // 1000, event.expected, event.received,
            )
            for event in events
            if isinstance(event, TradeGapSuspected)
        ]  # fmt: skip


def test_what_a_reconnect_missed_is_filled_from_rest_and_nothing_is_suspected():
    feed = Feed()
    feed.take(1, turn(1, "OPENING"), turn(1, "UP"), stream(1), stream(2, 3))
    feed.take(4, turn(1, "DOWN"))
    assert not feed.intake.missing()
    feed.take(8, turn(2, "UP"), stream(8))
    assert feed.trades == [1, 2, 3] and feed.holds == [1]
    assert feed.intake.missing() == [(SYMBOL, 1_002, 1_002)]
    feed.take(9, newest(*range(9)))
    assert feed.trades == list(range(1, 9)) and feed.holds == [1, 0] and not feed.suspected
    assert not feed.intake.missing() and not feed.intake.holes


def test_without_rest_a_reconnect_is_suspected_between_the_trades_around_it():
    feed = Feed()
    feed.take(1, turn(1, "UP"), stream(1), turn(1, "DOWN"), turn(2, "UP"), stream(5))
    feed.tick(2.9)
    assert feed.trades == [1]
    feed.tick(3)
    assert feed.trades == [1, 5] and feed.suspected == [("RECONNECTED", 1, 5, "", "")]
    assert feed.holds == [1, 0]


def test_a_rotation_asks_what_the_old_connection_may_not_have_told():
    feed = Feed()
    feed.take(20, turn(1, "UP"), stream(*range(1, 19)))
    feed.take(20, turn(2, "OPENING"), turn(2, "UP"), stream(20))
    feed.take(22, turn(1, "CLOSED"))
    assert feed.intake.missing() and feed.trades == [*range(1, 19), 20]
    feed.take(23, stream(23))
    assert feed.trades[-1] == 20, "it waits"
    feed.take(24, newest(*range(24)))
    assert sorted(feed.trades) == list(range(1, 24)) and not feed.suspected, "19, too"


def test_the_newest_trades_of_the_log_are_where_a_restart_begins():
    feed = Feed({SYMBOL: (1_004, (START + 9_000) * MS)})
    feed.take(12, turn(1, "UP"), newest(*range(5, 12)))
    assert feed.trades == [10, 11] and feed.suspected == [("RECONNECTED", 9, 10, "", "")]


def test_a_capture_without_connections_needs_none():
    feed = Feed()
    feed.take(1, stream(1))
    feed.take(5, stream(5), stream(5, 6))
    assert feed.trades == [1, 5, 6] and not feed.holds and not feed.suspected


def test_a_bar_that_says_more_than_its_trades_is_suspected():
    feed = Feed()
    feed.take(-30, turn(1, "UP"))
    feed.take(1, stream(1), stream(2, 59))
    feed.take(60, bar(0, "0.003"))
    feed.take(61, stream(61))
    feed.take(120, bar(1, "0.0024"))
    feed.take(124.9, stream(124))
    assert not feed.suspected
    feed.take(125, stream(125))
    assert feed.suspected == [("BAR_DIFFERS", 60, 119, "0.00240000", "0.00100000")]
    bars = [
        item for item in feed.items if isinstance(item, Batch) and item.kind.name == "venue_bar"
    ]
    assert len(bars) == 2, "bars are appended, too"


def test_what_waits_in_the_end_is_appended_and_suspected():
    feed = Feed()
    feed.take(1, turn(1, "UP"), stream(1), turn(1, "DOWN"), turn(2, "UP"), stream(5))
    feed.items += feed.intake.finish((START + 6_000) * MS, "the capture ended")
    assert feed.trades == [1, 5] and feed.suspected == [("RECONNECTED", 1, 5, "", "")]


def test_the_same_messages_give_the_same_items_however_they_are_cut():
    raws = [
        (1.0, turn(1, "UP")), (1.0, stream(1)), (2.0, stream(2, 3)), (4.0, turn(1, "DOWN")),
        (8.0, turn(2, "UP")), (8.0, stream(8)), (9.0, newest(*range(9))), (9.0, stream(9)),
        (60.0, bar(0, "5")), (66.0, stream(66)), (120.0, bar(1, "5")), (126.0, stream(126)),
    ]  # fmt: skip
    one, all_at_once = Feed(), Feed()
    for second, raw in raws:
        one.take(second, raw)
    times = [START * MS + int(second * 1000) * MS for second, _ in raws]
    all_at_once.items = all_at_once.intake.take(times, [raw for _, raw in raws])
    assert one.trades == all_at_once.trades and one.holds == all_at_once.holds
    assert one.suspected == all_at_once.suspected and len(one.suspected) == 1
