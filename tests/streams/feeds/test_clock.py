"""The venue's clock: never falling, never ahead of what the venue has sent, drift followed."""

from hypothesis import given
from hypothesis import strategies as st

from tidemill.streams.feeds.clock import BUCKET_NS, BUCKETS, SKEW_NS, VenueClock

MS = 1_000_000


def test_nothing_is_known_before_the_first_message():
    assert VenueClock().venue_time(5) is None and VenueClock().skew() is None


def test_the_least_latency_gives_the_offset():
    clock = VenueClock()
    for i, latency_ms in enumerate([80, 20, 50, 300]):
        clock.observe(i * MS, 1300 * MS - latency_ms * MS)
    assert clock.offset_ns == 1280 * MS
    assert clock.venue_time(10 * MS) == 1290 * MS


def test_an_old_minimum_is_forgotten_after_a_minute():
    clock = VenueClock()
    clock.observe(0, 50 * MS)
    for bucket in range(1, BUCKETS + 1):
        clock.observe(bucket * BUCKET_NS, 10 * MS)
    assert clock.offset_ns == 10 * MS


@given(st.lists(st.tuples(st.integers(0, 10**11), st.integers(-(10**10), 10**10)), min_size=1))
def test_venue_time_never_falls(samples):
    clock = VenueClock(7)
    now, told = 0, 0
    for step, lead in samples:
        now += step
        clock.observe(now, lead)
        venue_time = clock.venue_time(now)
        assert venue_time is not None and venue_time >= max(told, 7)
        told = venue_time


def test_a_skew_is_said_once_and_again_when_it_moves():
    clock = VenueClock()
    clock.observe(0, SKEW_NS)
    assert clock.skew() is None
    clock.observe(1, 2 * SKEW_NS)
    assert clock.skew() == 2 * SKEW_NS
    assert clock.skew() is None
    clock.observe(2, 4 * SKEW_NS)
    assert clock.skew() == 4 * SKEW_NS


def test_negative_latencies_do_no_harm():
    """The venue's clock runs 1.3 s ahead of ours, and one message seems to come before it left."""
    clock = VenueClock()
    clock.observe(0, 1300 * MS)
    clock.observe(MS, 1350 * MS)  # faster than any before: the offset follows
    assert clock.offset_ns == 1350 * MS and clock.latency_ns == 0
    told = clock.venue_time(2 * MS)
    clock.observe(2 * MS, -40 * MS)  # a slow one, which alone would set time back
    later = clock.venue_time(3 * MS)
    assert told is not None and later is not None and told < later == 1353 * MS
    assert clock.latency_ns == 1390 * MS


@given(st.lists(st.integers(-(10**12), 10**12), min_size=1, max_size=50))
def test_latencies_that_are_published_are_never_negative(leads):
    clock = VenueClock()
    for i, lead in enumerate(leads):
        clock.observe(i * BUCKET_NS // 3, lead)
        assert clock.latency_ns >= 0
