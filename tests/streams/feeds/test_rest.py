"""A venue's REST interface: budgets are kept, its word is heeded, a dead one is left alone."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Response

from tidemill.schemas.errors import Unavailable
from tidemill.streams.feeds import rest as module
from tidemill.streams.feeds.breaker import FAILURES_MAX, PAUSE_S_MAX, Breaker
from tidemill.streams.feeds.rest import Rest


class Venue:
    """Answers with what a test puts in `status` and `headers`, and remembers what was asked."""

    def __init__(self) -> None:
        self.status = 200
        self.headers: dict[str, str] = {}
        self.asked: list[str] = []
        self.delay_s = 0.0
        self.url = ""

    async def answer(self, connection: ServerConnection, request: Any) -> Response:
        self.asked.append(request.path)
        await asyncio.sleep(self.delay_s)
        fields = Headers({"Content-Length": "2", "Connection": "close", **self.headers})
        return Response(self.status, HTTPStatus(self.status).phrase, fields, b"{}")


@asynccontextmanager
async def venue() -> AsyncIterator[Venue]:
    answering = Venue()

    async def nothing(socket: ServerConnection) -> None:
        """Nobody gets past the handshake."""

    async with serve(nothing, "127.0.0.1", 0, process_request=answering.answer) as server:
        answering.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield answering


def told(headers: Mapping[str, str]) -> float | None:
    return float(headers["x-used"]) if "x-used" in headers else None


async def seconds(work: Any) -> float:
    loop = asyncio.get_running_loop()
    began = loop.time()
    await work
    return loop.time() - began


async def test_a_burst_is_free_and_then_the_rate_holds():
    async with venue() as answering, Rest(answering.url, 40.0) as rest:
        assert await seconds(rest.get("/a", 199)) < 0.5
        assert 0.2 < await seconds(rest.get("/b", 20)) < 1.5
    assert answering.asked == ["/a", "/b"]


async def test_what_would_wait_too_long_is_refused_at_once():
    async with venue() as answering, Rest(answering.url, 2.0) as rest:
        await rest.get("/a", 10)
        waiting = asyncio.create_task(rest.get("/b", 4))
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="budget"):
            await rest.get("/c", 1000)
        await waiting
    assert answering.asked == ["/a", "/b"]


async def test_what_is_urgent_has_its_turn_in_the_order_asked():
    async with venue() as answering, Rest(answering.url, 20.0, burst_s=1.0) as rest:
        await rest.get("/first", 20)
        asked = [asyncio.create_task(rest.get("/big", 20))]
        await asyncio.sleep(0)
        asked += [asyncio.create_task(rest.get(f"/small{i}", 1)) for i in range(5)]
        await asyncio.gather(*asked)
    assert answering.asked[1] == "/big"


async def test_what_is_not_urgent_leaves_half_of_the_budget(monkeypatch):
    monkeypatch.setattr(module, "PATIENT_S_MAX", 0.5)
    async with venue() as answering, Rest(answering.url, 4.0) as rest:
        await rest.get("/poll", 10, urgent=False)
        with pytest.raises(Unavailable, match="budget"):
            await rest.get("/poll", 10, urgent=False)
        await rest.get("/hole", 10)
    assert answering.asked == ["/poll", "/hole"]


@pytest.mark.parametrize("status", [403, 418, 429])
async def test_told_to_wait_nothing_is_asked_until_then(status):
    async with venue() as answering, Rest(answering.url, 100.0) as rest:
        answering.status, answering.headers = status, {"Retry-After": "1"}
        with pytest.raises(Unavailable, match=str(status)):
            await rest.get("/a")
        answering.status = 200
        assert 0.9 < await seconds(rest.get("/b")) < 3
        answering.status, answering.headers = status, {"Retry-After": "60"}
        with pytest.raises(Unavailable, match=str(status)):
            await rest.get("/c")
        with pytest.raises(Unavailable, match="budget"):
            await rest.get("/d")
    assert answering.asked == ["/a", "/b", "/c"] and rest.refusals == 2


async def test_near_the_venues_own_limit_we_slow_down_and_stay_away_before_it(monkeypatch):
    monkeypatch.setattr(module, "USED_WAIT_S", 0.3)
    async with venue() as answering, Rest(answering.url, 100.0, told) as rest:
        answering.headers = {"x-used": "0.5"}
        await rest.get("/a", 500)
        assert await seconds(rest.get("/b", 20)) < 1
        answering.headers = {"x-used": "0.9"}
        await rest.get("/c")
        slow = await seconds(rest.get("/d", 10))
        assert 0.4 < slow < 3, "a seventh of the rate"
        answering.headers = {"x-used": "0.96"}
        await rest.get("/e")
        assert await seconds(rest.get("/f")) > 0.3


async def test_a_request_that_is_wrong_is_answered_and_not_tried_again():
    async with venue() as answering, Rest(answering.url, 100.0) as rest:
        answering.status = 400
        answer = await rest.get("/a")
    assert answer == (b"{}", False)


async def test_a_venue_that_does_not_answer_is_left_alone_and_then_probed(monkeypatch):
    monkeypatch.setattr("tidemill.streams.feeds.breaker.PAUSE_S_MIN", 0.4)
    async with venue() as answering, Rest(answering.url, 100.0) as rest:
        answering.status = 503
        for _ in range(FAILURES_MAX):
            with pytest.raises(Unavailable, match="503"):
                await rest.get("/a")
        with pytest.raises(Unavailable, match="does not answer"):
            await rest.get("/a")
        assert len(answering.asked) == FAILURES_MAX
        answering.status = 200
        await asyncio.sleep(0.45)
        await rest.get("/a")
        await rest.get("/a")
        assert len(answering.asked) == FAILURES_MAX + 2


class Time:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_probe_that_fails_opens_the_breaker_for_longer_and_only_one_goes():
    clock = Time()
    breaker = Breaker(clock, failures_max=2)
    pauses = []
    for _ in range(10):
        while not breaker.open:
            assert breaker.pass_()
            breaker.failed()
        began = clock.now
        while breaker.open:
            clock.now += 0.05
        pauses.append(clock.now - began)
        assert breaker.pass_() and not breaker.pass_(), "one probe at a time"
        breaker.failed()
        breaker_open_again = breaker.open
        assert breaker_open_again
    assert pauses[0] <= 1.1 and max(pauses) <= PAUSE_S_MAX + 0.1
    assert pauses[-1] > 10


def test_a_probe_that_was_given_up_lets_the_next_one_go():
    clock = Time()
    breaker = Breaker(clock, failures_max=1)
    breaker.failed()
    clock.now = 100.0
    assert breaker.pass_() and not breaker.pass_()
    breaker.forgotten()
    assert breaker.pass_()
    breaker.succeeded()
    assert breaker.pass_() and breaker.pass_()


def test_failures_that_are_not_in_a_row_open_nothing():
    breaker = Breaker(Time(), failures_max=2)
    for _ in range(5):
        breaker.failed()
        breaker.succeeded()
    assert not breaker.open
