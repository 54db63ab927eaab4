"""Defects that the simulation does not come by, each with the test that notices it."""

import asyncio
import inspect
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tidemill.schemas.errors import Fenced, Regressed, Unavailable
from tidemill.tests.faults.defects.mutation import Mutation
from tidemill.tests.projections import test_sources
from tidemill.tests.streams import test_writer
from tidemill.tests.streams.runtime import (
    test_gate,
    test_resuming,
    test_snapshot,
)


@dataclass(frozen=True)
class Named:
    """A defect and the existing test, called with `given`, that fails with it."""

    name: str
    breaks: str
    mutations: tuple[Mutation, ...]
    test: Callable[..., Any]
    given: Mapping[str, Any] = field(default_factory=dict)
    raises: tuple[type[Exception], ...] = (Fenced, Regressed, Unavailable, TimeoutError)

    def run(self, folder: Path, damaged: bool) -> None:
        """Call the test, with or without the defect."""
        folder.mkdir()
        given = dict(self.given)
        if "tmp_path" in inspect.signature(self.test).parameters:
            given["tmp_path"] = folder
        with ExitStack() as stack:
            for mutation in self.mutations if damaged else ():
                stack.enter_context(mutation.applied())
            result = self.test(**given)
            if inspect.iscoroutine(result):
                asyncio.run(asyncio.wait_for(result, 4 if damaged else 60))


def _one(
    name: str, breaks: str, place: str, change: tuple[str, str], test: Any, **given: Any
) -> Named:
    return Named(name, breaks, (Mutation(place, *change),), test, given)


SHARD = "streams.runtime.shard:Shard"
PROOF = "streams.proof:prove_one"
NAMED: tuple[Named, ...] = (
    _one(
        "a log of another identity is accepted",
        "I12",
        PROOF,
        ("if checkpoint.log != identity.uuid:", "if False:"),
        test_resuming.test_a_log_that_is_not_the_checkpoints_log_stops_a_shard_before_any_effect,
    ),
    _one(
        "a log with another past is accepted",
        "I12",
        PROOF,
        ("if message is not None and crc32c(message.payload) != checkpoint.tail:", "if False:"),
        test_resuming.test_a_log_that_is_not_the_checkpoints_log_stops_a_shard_before_any_effect,
    ),
    _one(
        "a log that is shorter than what was stepped is accepted",
        "I12",
        PROOF,
        (
            "if done > identity.last:\n        raise",
            "if False:\n        raise",
        ),
        test_resuming.test_a_log_that_is_not_the_checkpoints_log_stops_a_shard_before_any_effect,
    ),
    _one(
        "a checkpoint of another log opens the gate",
        "I12",
        "streams.runtime.gate:Gate.tell",
        ("if log_uuid != self._log_uuid:", "if False:"),
        test_gate.test_a_checkpoint_of_another_log_or_without_sense_is_refused,
    ),
    _one(
        "code that was replaced goes on writing",
        "one version writes",
        f"{SHARD}._advance",
        ('self.engine.deployed not in ("", self._code)', "False"),
        test_resuming.test_code_that_is_replaced_while_it_runs_writes_nothing_after_that_place,
    ),
    _one(
        "a snapshot past what is committed is used",
        "I3",
        "streams.runtime.snapshot:Snapshots.newest",
        ("if saved.r <= done[partition]:", "if True:"),
        test_snapshot.test_a_snapshot_past_what_is_committed_is_not_used,
    ),
    _one(
        "a damaged snapshot is used",
        "I3",
        "streams.runtime.snapshot:Snapshots._files",
        ("if match and hashlib.sha256(body).hexdigest()[:16] == match[2]:", "if match:"),
        test_snapshot.test_a_damaged_file_is_passed_over_for_the_one_before_it,
        damage="cut",
    ),
    _one(
        "what a snapshot has of another graph is stepped again",
        "I3",
        "streams.runtime.upstream:Upstream.adopt",
        ("self._adopted.update(dict.fromkeys([*partitions, ALL], r))", "pass"),
        test_resuming.test_what_a_snapshot_has_of_another_graph_is_not_stepped_again_after_it,
        seed=0,
    ),
    _one(
        "losses are not declared",
        "I2",
        "streams.writer:Writer._take",
        ("taken += self._source.declare()", "pass"),
        test_writer.test_what_waits_too_long_is_given_up_and_declared_first,
    ),
    _one(
        "rows are released while a partition has no checkpoint",
        "I7",
        "streams.runtime.gate:Gate.root",
        ("min(self._done.values())", "max(self._done.values())"),
        test_sources.test_nothing_is_released_while_a_partition_has_no_checkpoint,
    ),
)
