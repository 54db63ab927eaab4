"""Commands that a connection may send in an hour, connections that an address may open."""

import random

from tidemill.streams.feeds.allowance import SPAN_S, Allowance, connections_of

HOUR_S = 3_600.0


def test_what_does_not_fit_whole_takes_nothing():
    allowance = Allowance(5)
    assert allowance.take(4, 0.0) and allowance.left(0.0) == 1
    assert not allowance.take(2, 1.0) and allowance.left(1.0) == 1
    assert allowance.take(1, 2.0) and allowance.left(2.0) == 0


def test_what_was_taken_comes_back_after_an_hour_each_at_its_own_time():
    allowance = Allowance(3)
    assert allowance.take(1, 0.0) and allowance.take(2, 100.0)
    assert not allowance.take(1, HOUR_S)  # commands are sent a little later than they are counted
    assert allowance.left(SPAN_S) == 1 and allowance.take(1, SPAN_S)
    assert not allowance.take(1, SPAN_S + 99.0) and allowance.left(SPAN_S + 100.0) == 2


def test_without_a_limit_everything_may_be_sent():
    allowance = Allowance(None)
    assert all(allowance.take(1_000, now) for now in range(100)) and allowance.left(0) > 1e9


def test_no_hour_ever_has_more_than_the_limit_and_none_is_refused_without_need():
    chance = random.Random(3)
    now, sent, allowance = 0.0, list[float](), Allowance(48)
    for _ in range(5_000):
        now += chance.expovariate(1 / 40.0)
        count = chance.choice((1, 2, 2, 2, 5))
        before = sum(at > now - SPAN_S for at in sent)
        assert allowance.take(count, now) == (before + count <= 48)
        if before + count <= 48:
            sent += [now] * count
    assert max(sum(at <= one < at + HOUR_S for one in sent) for at in sent) == 48


def test_connections_are_counted_for_a_little_longer_than_the_venue_does():
    openings = connections_of((3, 1.0))
    assert [openings.take(1, at) for at in (0.0, 0.5, 0.9, 1.1, 1.3, 1.4)] == [
        True, True, True, False, True, False,
    ]  # fmt: skip
    assert all(connections_of(None).take(1, 0.0) for _ in range(1_000))
