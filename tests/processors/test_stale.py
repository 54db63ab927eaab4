"""Feeds that fall silent and return, told by `time` alone."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.processors.stale import STALE
from tidemill.schemas.events.feed import FeedStale
from tidemill.tests.processors.runs import (
    MIDNIGHT,
    SECOND,
    Log,
    assert_any_cut_is_the_same,
    drive,
    instruments,
    of_kind,
)

T = MIDNIGHT
FEEDS = (("OKX", "SPOT"), ("BINANCE", "USDM"), ("BINANCE", "SPOT"))
SEEDS = st.integers(0, 2**32)


def told(log: Log) -> list[FeedStale]:
    return of_kind(drive(STALE, log, rows=len(FEEDS), feeds=FEEDS)[1], "feed")


def restless_log(seed: int) -> Log:
    chance = random.Random(seed)
    log, now = Log(instruments({})), T
    for _ in range(80):
        now += chance.choice((0, 10**8, SECOND, 3 * SECOND, 6 * SECOND))
        if chance.random() < 0.5:
            log.time(now)
        elif chance.random() < 0.9:
            behind = chance.choice((0, 10**8, 20 * SECOND))
            log.status(now, feed=chance.randrange(3), ts_recv=now - behind)
        else:
            log.status(now, 1, slot=0)
    return log


def oracle(log: Log) -> list[tuple[int, str, str, str, int]]:
    heard: dict[int, int] = {}
    stale: set[int] = set()
    made = []
    for r, fact in enumerate(log.facts, 1):
        record = fact.records[0]
        if fact.kind == "status" and fact.slot < 0:
            heard[fact.feed] = max(heard.get(fact.feed, 0), int(record["ts_recv"]))
        elif fact.kind == "time":
            for venue, product, feed in sorted((*FEEDS[f], f) for f in heard):
                silent = int(record["ts"]) - heard[feed]
                if (silent > 5 * SECOND) != (feed in stale):
                    stale ^= {feed}
                    state = "STALE" if feed in stale else "FRESH"
                    made.append((r, venue, product, state, max(0, silent)))
    return made


@settings(max_examples=150, deadline=None)
@given(SEEDS)
def test_what_is_told_is_what_the_oracle_tells(seed: int) -> None:
    log = restless_log(seed)
    assert [(e.at_r, e.venue, e.product, e.state, e.silent_ns) for e in told(log)] == oracle(log)


@settings(max_examples=50, deadline=None)
@given(SEEDS, st.floats(0.02, 0.9))
def test_any_cut_of_the_input_tells_the_same(seed: int, often: float) -> None:
    log = restless_log(seed)
    assert_any_cut_is_the_same(STALE, log, seed, often, rows=3, feeds=FEEDS)


def test_a_replay_tells_the_same() -> None:
    first, second = told(restless_log(5)), told(restless_log(5))
    assert len(first) > 3
    assert first == second


def test_a_feed_is_stale_once_after_more_than_five_seconds_and_fresh_once_when_it_returns() -> None:
    log = Log(instruments({}))
    log.status(T)
    for second in (4, 5, 6, 7):
        log.time(T + second * SECOND)
    log.status(T + 8 * SECOND)
    log.time(T + 8 * SECOND + 1)
    log.time(T + 9 * SECOND)
    stale, fresh = told(log)
    assert (stale.state, stale.at_r, stale.ts, stale.silent_ns) == (
        "STALE", 4, T + 6 * SECOND, 6 * SECOND,
    )  # fmt: skip
    assert (fresh.state, fresh.at_r, fresh.silent_ns) == ("FRESH", 7, 1)
    assert (stale.venue, stale.product) == FEEDS[0]


def test_a_feed_that_never_spoke_is_not_stale() -> None:
    log = Log(instruments({}))
    log.time(T)
    assert told(log) == []


@pytest.mark.parametrize("feeds", [FEEDS, FEEDS[::-1]])
def test_feeds_that_fall_silent_together_are_told_by_name(
    feeds: tuple[tuple[str, str], ...],
) -> None:
    log = Log(instruments({}))
    for feed in range(3):
        log.status(T, feed=feed)
    log.time(T + 6 * SECOND)
    outputs = drive(STALE, log, rows=3, feeds=feeds)[1]
    assert [(o[4].venue, o[4].product) for o in outputs] == sorted(feeds)
    assert [feeds[o[2]] for o in outputs] == sorted(feeds)
