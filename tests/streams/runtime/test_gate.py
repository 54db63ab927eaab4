"""The gate of readers of OUT: least over partitions, best over graphs, one log."""

import orjson
import pytest

from tidemill.schemas.errors import Regressed, Unreadable
from tidemill.schemas.identifiers import ALL, PARTITIONS
from tidemill.streams.runtime.gate import Gate, needs


def checkpoint(**changed: object) -> bytes:
    fields = {"graph": "g", "done": 5, "processors": ["bars"], "log": "a-log", **changed}
    return orjson.dumps(fields)


def test_a_gate_is_the_least_over_partitions_and_the_best_over_graphs() -> None:
    gate = Gate(needs("bars", "pair"), "a-log")
    for number in range(PARTITIONS):
        gate.tell(f"ckpt.old.{number:02d}", checkpoint(done=3))
    assert gate.root == 3
    for number in range(PARTITIONS):
        gate.tell(f"ckpt.new.{number:02d}", checkpoint(done=9 if number else 8))
    gate.tell("ckpt.new.all", checkpoint(done=1))
    gate.tell("ckpt.other.00", checkpoint(done=99, processors=["price"]))
    assert gate.root == 8


def test_a_gate_of_a_global_processor_looks_at_its_own_checkpoint_only() -> None:
    gate = Gate(needs("stale", "global"), "a-log")
    gate.tell("ckpt.g.all", checkpoint(processors=["stale"], done=6))
    assert gate.root == 6


def test_a_gate_of_a_shard_waits_for_its_own_partitions_of_every_processor() -> None:
    gate = Gate([*needs("bars", "pair", [3, ALL]), *needs("stale", "global", [3, ALL])], "a-log")
    gate.tell("ckpt.g.03", checkpoint(done=7))
    assert gate.root == 0
    gate.tell("ckpt.g.all", checkpoint(done=4, processors=["stale", "bars"]))
    assert gate.root == 4


def test_a_processor_apart_from_its_graph_has_come_as_far_as_is_said_of_it() -> None:
    gate = Gate(needs("new", "pair", [3]), "a-log")
    gate.tell("ckpt.g.03", checkpoint(done=700, apart={"new": 12}))
    assert gate.root == 12


def test_a_checkpoint_speaks_for_the_partitions_that_it_calls_quiet() -> None:
    gate = Gate(needs("bars", "pair", [3, 4, 5]), "a-log")
    for number in (3, 4, 5):
        gate.tell(f"ckpt.g.{number:02d}", checkpoint(done=2))
    gate.tell("ckpt.g.all", checkpoint(done=9, processors=["stale", "bars"], quiet=[3, 4]))
    assert gate.root == 2
    gate.tell("ckpt.g.05", checkpoint(done=8))
    assert gate.root == 8
    gate.tell("ckpt.g.all", checkpoint(done=10, processors=["stale"], quiet=[3, 4, 5]))
    assert gate.root == 8, "of bars it says nothing"


def test_a_checkpoint_of_another_log_or_without_sense_is_refused() -> None:
    gate = Gate(needs("bars", "pair"), "a-log")
    with pytest.raises(Regressed):
        gate.tell("ckpt.g.00", checkpoint(log="another"))
    for payload in (
        b"{",
        b"[]",
        b'{"done": 1}',
        checkpoint(done="x"),
        checkpoint(apart=3),
        checkpoint(quiet=3),
    ):
        with pytest.raises(Unreadable):
            gate.tell("ckpt.g.00", payload)
