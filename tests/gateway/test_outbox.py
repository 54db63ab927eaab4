"""What waits for a slow client: the latest of quotes, whole trades, and drops that are told."""

import json
from typing import Any

from tidemill.gateway.live.outbox import Outbox
from tidemill.gateway.live.protocol import Topic
from tidemill.gateway.live.session import Rate
from tidemill.gateway.live.updates import Update

TRADES = Topic("trades", "BTCUSDT", "BINANCE")
QUOTES = Topic("quotes", "BTCUSDT", "BINANCE")
BARS = Topic("bars", "BTCUSDT", "BINANCE", "1m")


def update(topic: Topic, r: int, slot: Any = None, size: int = 0) -> Update:
    return Update(topic, json.dumps({"r": r, "x": "x" * size}).encode(), slot)


async def taken(outbox: Outbox) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(await outbox.take())
    return found


async def test_of_what_may_be_conflated_only_the_latest_waits() -> None:
    outbox = Outbox(10, 10_000, lambda: 0)
    for r in range(5):
        outbox.put(update(QUOTES, r, QUOTES))
        outbox.put(update(BARS, 100 + r, (BARS, r // 3)))
    assert [one["r"] for one in await taken(outbox)] == [102, 4, 104]
    assert outbox.conflated == 7 and outbox.dropped == 0


async def test_trades_over_the_limit_are_dropped_oldest_first_and_the_gap_is_told_first() -> None:
    outbox = Outbox(3, 10_000, lambda: 77)
    for r in range(8):
        outbox.put(update(TRADES, r))
    gap, *rest = await taken(outbox)
    assert gap == {"event": "gap", "channel": "trades", "symbol": "BTCUSDT"} | {
        "venue": "BINANCE",
        "dropped": 5,
        "as_of": 77,
    }
    assert [one["r"] for one in rest] == [5, 6, 7]


async def test_bytes_are_bounded_and_too_many_bars_are_a_gap_too() -> None:
    outbox = Outbox(100, 1_000, lambda: 1)
    for r in range(50):
        outbox.put(update(BARS, r, (BARS, r), size=80))
    gap, *rest = await taken(outbox)
    assert gap["dropped"] + len(rest) == 50 and 0 < len(rest) <= 10
    assert [one["r"] for one in rest] == list(range(50 - len(rest), 50))


async def test_one_message_is_bounded_and_the_rest_follows() -> None:
    outbox = Outbox(1_000, 10 << 20, lambda: 0)
    for r in range(100):
        outbox.put(update(TRADES, r, size=10_000))
    first = await taken(outbox)
    assert 20 < len(first) < 40
    rest: list[dict[str, Any]] = []
    while len(first) + len(rest) < 100:
        rest += await taken(outbox)
    assert [one["r"] for one in first + rest] == list(range(100))


async def test_replies_are_never_dropped_but_counted() -> None:
    outbox = Outbox(1, 4_096, lambda: 0)
    for _ in range(300):
        outbox.reply(b"{}")
    assert outbox.stuck
    assert len(await taken(outbox)) == 300
    assert not outbox.stuck


def test_a_rate_lets_through_a_burst_and_then_so_many_a_second() -> None:
    now = 0.0
    rate = Rate(10, clock=lambda: now)
    assert [rate.allows() for _ in range(12)] == [True] * 10 + [False] * 2
    now += 0.2
    assert [rate.allows() for _ in range(3)] == [True, True, False]
    now += 60
    assert sum(rate.allows() for _ in range(100)) == 10
