"""Times of LOG: which root was the newest then, and how far behind a position is."""

import asyncio
from bisect import bisect_right

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.schemas.frame import encode
from tidemill.schemas.kinds.time import TIME
from tidemill.streams import moments
from tidemill.streams.memory import MemoryLog
from tidemill.streams.moments import Recent, behind_s, now_ns, root_at
from tidemill.streams.subjects import LOG_SUBJECTS

SECOND_NS = 1_000_000_000


def time(ns: int) -> tuple[str, bytes]:
    record = TIME.empty(1)
    record["ts"] = ns
    return "time", encode(TIME, record, 1)


async def log_of(steps: list[int]) -> tuple[MemoryLog, list[tuple[int, int]]]:
    """A log with a time record for each step (ns since the last), others for negative ones."""
    log, ns, times = MemoryLog("LOG", LOG_SUBJECTS), SECOND_NS, []
    for step in steps:
        if step < 0:
            await log.append([("ctl.x", b"{}")], None)
            continue
        ns += step
        times.append((await log.append([time(ns)], None), ns))
    return log, times


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(-2, 3), max_size=40), st.integers(-2, 60))
def test_a_time_is_found_by_halving_as_by_looking_at_every_record(
    steps: list[int], offset: int
) -> None:
    async def check() -> None:
        log, times = await log_of(steps)
        at = bisect_right([ns for _, ns in times], SECOND_NS + offset)
        assert await root_at(log, SECOND_NS + offset) == (times[at - 1][0] if at else 0)
        assert await now_ns(log) == (times[-1][1] if times else None)

    asyncio.run(check())


async def test_what_is_behind_is_told_by_the_logs_own_time() -> None:
    log, times = await log_of([0, -1, SECOND_NS, -1, -1, 2 * SECOND_NS])
    assert [r for r, _ in times] == [1, 3, 6]
    told = [await behind_s(log, root) for root in (0, 1, 2, 3, 4, 6, 9)]
    assert told == [3.0, 3.0, 2.0, 2.0, 0.0, 0.0, 0.0]
    assert await behind_s((await log_of([-1]))[0], 0) == 0.0


async def test_recent_times_are_followed_and_tell_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moments, "FOLLOW_S", 0.01)
    log, _ = await log_of([0, -1])
    recent = Recent(log)
    assert recent.behind_s(0) == 0.0
    following = asyncio.create_task(recent.run())
    try:
        await log.append([time(5 * SECOND_NS)], None)
        await log.append([("ctl.x", b"{}")], None)
        await log.append([time(7 * SECOND_NS), ("ctl.x", b"{}")], None)
        async with asyncio.timeout(5):
            while recent.newest < 6:
                await asyncio.sleep(0.01)
        assert [recent.behind_s(root) for root in (3, 4, 5, 6)] == [2.0, 0.0, 0.0, 0.0]
        assert recent.behind_s(1) == 2.0  # at least so much: what was before it began is not known
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
