"""Subject filters mean what NATS means by them."""

import pytest

from tidemill.streams.filters import Matcher, collide, covers, distinct, matches


@pytest.mark.parametrize(
    ("pattern", "subject", "taken"),
    [
        ("md.trade", "md.trade", True),
        ("md.trade", "md.trade.x", False),
        ("md.*", "md.trade", True),
        ("md.*", "md", False),
        ("md.*", "md.trade.x", False),
        ("md.*.BINANCE.*.*", "md.trade.BINANCE.BTCUSDT.07", True),
        ("md.*.BINANCE.*.*", "md.trade.OTHER.BTCUSDT.07", False),
        ("md.>", "md.trade.x.y", True),
        ("md.>", "md", False),
        (">", "time", True),
        ("*.>", "time", False),
    ],
)
def test_a_filter_takes_subjects_token_by_token(pattern: str, subject: str, taken: bool):
    assert matches(pattern, subject) is taken
    assert Matcher((pattern,)).taken(subject) is taken
    assert collide(pattern, subject) is taken


def test_a_filter_covers_another_when_it_takes_all_of_it():
    assert covers("md.>", "md.*.V.>") and covers(">", "md.>") and covers("a.*", "a.b")
    assert not covers("a.*", "a.>") and not covers("a.b", "a.*") and not covers("md.*.V", "md.>")


def test_filters_overlap_when_some_subject_is_taken_by_both():
    assert collide("md.*.V.*", "md.trade.>") and collide("*.b", "a.*") and collide("a.>", "a.b")
    assert not collide("a.*", "b.*") and not collide("a.*", "a.b.c") and not collide("a.>", "a")


def test_distinct_drops_the_covered_and_refuses_overlaps():
    assert distinct(["md.trade.>", "time", "md.>", "time"]) == ("time", "md.>")
    for wrong in ([], ["md.*.V.*", "md.trade.>"]):
        with pytest.raises(ValueError):
            distinct(wrong)
