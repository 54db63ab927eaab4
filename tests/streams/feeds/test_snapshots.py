"""Asking for snapshots: jittered, four at a time, never two for one symbol, less and less often."""

import asyncio
from collections import Counter
from contextlib import asynccontextmanager

import pytest

from tidemill.streams.feeds import snapshots as module
from tidemill.streams.feeds.snapshots import CONCURRENT_MAX, Snapshots


class Books:
    """Books that want snapshots, and a venue that answers after a while, or never in time."""

    def __init__(self, symbols: list[str], by_rest: bool = True) -> None:
        self.wanting = dict.fromkeys(symbols)
        self.up: dict[str, float | None] = dict.fromkeys(symbols, -1000.0)
        self.flying: Counter[str] = Counter()
        self.asked: list[str] = []
        self.most = 0
        self.answers = True
        self.answer_s = 0.05
        self.snapshots = Snapshots(
            lambda: list(self.wanting), self.up.__getitem__, self.ask, by_rest
        )

    async def ask(self, symbol: str) -> bool:
        self.asked.append(symbol)
        self.flying[symbol] += 1
        assert self.flying[symbol] == 1, "two at once"
        self.most = max(self.most, self.flying.total())
        await asyncio.sleep(self.answer_s)
        self.flying[symbol] -= 1
        if self.answers:
            self.wanting.pop(symbol, None)
        return self.answers


@asynccontextmanager
async def asking(books: Books):
    task = asyncio.create_task(books.snapshots.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_every_book_that_wants_one_is_asked_for_once_and_few_at_a_time():
    books = Books([f"S{i}" for i in range(20)])
    async with asking(books):
        async with asyncio.timeout(10):
            while books.wanting:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
    assert sorted(books.asked) == sorted(f"S{i}" for i in range(20))
    assert books.most == CONCURRENT_MAX


async def test_one_that_stays_without_is_asked_for_again_less_and_less_often():
    books = Books(["A"])
    books.answers = False
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with asking(books):
        await asyncio.sleep(4.0)
    lasted = loop.time() - began
    assert 3 <= len(books.asked) <= 6, "after 0.3, 0.6, 1.2, 2.4 s, at least half of each"
    assert lasted < 6


async def test_one_that_got_its_snapshot_begins_anew():
    books = Books(["A"])
    async with asking(books):
        for times in range(1, 4):
            async with asyncio.timeout(3):
                while len(books.asked) < times or books.wanting:
                    await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)
            books.wanting["A"] = None
    assert len(books.asked) >= 3


async def test_without_a_connection_that_carries_the_changes_nothing_is_asked():
    books = Books(["A", "B"])
    books.up["A"] = None
    async with asking(books):
        await asyncio.sleep(0.5)
    assert books.asked == ["B"]


async def test_a_venue_that_sends_one_on_subscribing_is_given_time_to_do_so(monkeypatch):
    monkeypatch.setattr(module, "SENT_S", 0.6)
    books = Books(["A"], by_rest=False)
    loop = asyncio.get_running_loop()
    books.up["A"] = loop.time()
    began = loop.time()
    async with asking(books):
        await asyncio.sleep(0.4)
        assert books.asked == []
        while not books.asked:
            await asyncio.sleep(0.01)
    assert loop.time() - began > 0.59


async def test_a_failing_request_is_a_bug_that_ends_it():
    books = Books(["A"])

    async def broken(symbol: str) -> bool:
        raise RuntimeError(symbol)

    books.snapshots = Snapshots(lambda: ["A"], lambda _: 0.0, broken, True)
    with pytest.raises(ExceptionGroup):
        async with asyncio.timeout(5):
            await books.snapshots.run()
