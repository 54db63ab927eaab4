"""Graphs: depths that splitting does not change, and what is refused at start."""

import dataclasses
from collections.abc import Sequence

import pytest

from tidemill.processors.processor import Processor
from tidemill.streams.runtime.graph import Graph
from tidemill.tests.streams.runtime.graphs import BEAT, COUNT, FOLLOW

DEEP = dataclasses.replace(COUNT, name="deep", reads=("price", "trade"), emits=("deep",))


def test_splitting_a_graph_changes_no_depth_and_no_order() -> None:
    fused = Graph("main", [DEEP, FOLLOW, BEAT, COUNT])
    assert [p.name for p in fused.processors] == ["beat", "count", "follow", "deep"]
    split = Graph("deep", [DEEP], upstream=[FOLLOW, COUNT])
    assert split.depth["deep"] == fused.depth["deep"] == 3
    assert split.upstream == {"follow"} and split.log_kinds == {"trade"}


ONE = dataclasses.replace(COUNT, name="one", reads=("two",), emits=("one",))
TWO = dataclasses.replace(COUNT, name="two", reads=("one",), emits=("two",))
FEEDS = dataclasses.replace(FOLLOW, reads=("trade", "feed"))


@pytest.mark.parametrize(
    ("processors", "why"),
    [
        ([COUNT, COUNT], "two processors have one name"),
        ([COUNT, dataclasses.replace(COUNT, name="other")], "kind bar has a second source"),
        ([dataclasses.replace(COUNT, emits=("trade",))], "kind trade has a second source"),
        ([FOLLOW], "reads bar, which nobody emits"),
        ([ONE, TWO], "a cycle one -> two -> one"),
        ([dataclasses.replace(COUNT, scope="global")], "feeds are global, and only they"),
        ([dataclasses.replace(BEAT, scope="pair")], "feeds are global, and only they"),
        ([dataclasses.replace(COUNT, subject="feed")], "feeds are global, and only they"),
        ([COUNT, dataclasses.replace(BEAT, reads=("bar",))], "would not see bar"),
        ([COUNT, BEAT, FEEDS], "runs in one shard only"),
    ],
)
def test_a_graph_that_could_not_hold_its_promises_is_refused(
    processors: Sequence[Processor], why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        Graph("main", processors)


def test_outputs_of_a_global_processor_of_another_graph_may_be_read() -> None:
    assert Graph("two", [FEEDS], upstream=[BEAT]).upstream == {"beat"}
