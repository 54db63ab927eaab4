"""The committer: outputs and checkpoints of a graph's partitions into OUT, each once.

One batch of outputs becomes one atomic transaction where it fits; partitions that do not fit
together, and parts of one that does not fit alone, become several, each with its own checkpoint.
Partitions without outputs need none: another's checkpoint names them (0.1 ms each, measured, ten
times a second: with 64 of them a commit took 10 ms instead of 4).
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from crc32c import crc32c

from tidemill.schemas.errors import Fenced, Unavailable
from tidemill.schemas.identifiers import ALL
from tidemill.streams import crash_points, subjects
from tidemill.streams import log as port
from tidemill.streams.log import Log, Message
from tidemill.streams.runtime import cuts
from tidemill.streams.runtime.checkpoint import Checkpoint, Within
from tidemill.streams.runtime.graph import Graph
from tidemill.streams.runtime.outputs import Output

logger = logging.getLogger(__name__)


@dataclass
class Committed:
    """What OUT holds of one partition: its checkpoint, of sequence `sequence` (0: none)."""

    done: int = 0
    tail: int = 0
    sequence: int = 0
    apart: dict[str, int] = field(default_factory=dict)
    within: Within | None = None

    @property
    def whole(self) -> int:
        """Newest root of which every processor's outputs are in OUT."""
        return min([self.done, *self.apart.values()])

    def reach(self, last: Message) -> "Committed":
        """Return what holds once the graph has committed every root up to `last`."""
        ahead = self.within is not None and self.within.r > last.sequence
        within = self.within if ahead else None
        if last.sequence < self.done:
            apart = {name: max(at, last.sequence) for name, at in self.apart.items()}
            return replace(self, apart=apart, within=within)
        return Committed(last.sequence, crc32c(last.payload), self.sequence, {}, within)


class Entry(NamedTuple):
    """One partition's share of a transaction: its outputs, and what holds with them in OUT."""

    partition: int
    outputs: Sequence[Output]
    then: Committed
    quiet: tuple[int, ...] = ()
    """Partitions without outputs that its checkpoint speaks for."""


class Committer:
    """Commits for the owner of partitions, who signs as `writer`. `bytes_max` is of the outputs of
    one transaction."""

    def __init__(
        self,
        out: Log,
        graph: Graph,
        code: str,
        writer: str,
        bytes_max: int,
        retry_s_max: float,
    ) -> None:
        self.committed: dict[int, Committed] = {}
        """By partition that is owned."""
        self.gone: dict[int, dict[str, int]] = {}
        """Processors that left the graph, and how far each partition of theirs is in OUT."""
        self.log_uuid = ""
        self.retries = 0
        """Attempts that had to be made again since start."""
        self._out, self._graph, self._code, self._writer = out, graph, code, writer
        self._bytes_max, self._retry_s_max = bytes_max, retry_s_max
        self._written: set[int] = set()  # partitions with checkpoints by us

    def recall(
        self,
        log_uuid: str,
        partitions: Iterable[int],
        checkpoints: Iterable[tuple[Message, Checkpoint]],
    ) -> dict[tuple[str, int], int]:
        """Take up what OUT holds, by the checkpoints of all graphs.

        Returns up to which root the outputs of (processor, partition) are in OUT, whichever graph
        it was in: they must not be made again. Two graphs with one processor must never run at one
        time, though: their checkpoints do not fence each other.
        """
        self.log_uuid = log_uuid
        self.committed = {partition: Committed() for partition in sorted(partitions)}
        self.gone, self._written = {}, set()
        covered: dict[tuple[str, int], int] = {}
        own: list[tuple[Message, Checkpoint]] = []
        quiet: dict[int, Checkpoint] = {}
        for message, checkpoint in checkpoints:
            for partition in (checkpoint.partition, *checkpoint.quiet):
                if partition not in self.committed:
                    continue
                for name in self.scoped(partition):
                    key = (name, partition)
                    covered[key] = max(covered.get(key, 0), checkpoint.done_of(name))
                if checkpoint.graph != self._graph.name:
                    continue
                if partition == checkpoint.partition:
                    own.append((message, checkpoint))
                elif partition not in quiet or quiet[partition].done < checkpoint.done:
                    quiet[partition] = checkpoint
        for message, checkpoint in own:
            self._recall(message.sequence, checkpoint, quiet.get(checkpoint.partition), covered)
        return covered

    def _recall(
        self,
        sequence: int,
        checkpoint: Checkpoint,
        quiet: Checkpoint | None,
        covered: Mapping[tuple[str, int], int],
    ) -> None:
        """Take up a partition from its own checkpoint, and what another said of it, if later."""
        newest = quiet if quiet is not None and quiet.done > checkpoint.done else checkpoint
        partition, done = checkpoint.partition, newest.done
        scoped = self.scoped(partition)
        apart = {name: covered[name, partition] for name in scoped}
        self.committed[partition] = Committed(
            done,
            newest.tail,
            sequence,
            {name: at for name, at in apart.items() if at < done},
            checkpoint.within,
        )
        self.gone[partition] = {
            name: checkpoint.done_of(name)
            for name in (*checkpoint.processors, *checkpoint.apart)
            if name not in scoped
        }

    def scoped(self, partition: int) -> list[str]:
        """Return the processors whose outputs a checkpoint of the partition covers.

        Global ones are in ALL alone. All others are there too: a fact of a whole feed that they
        cannot take has its dead letter there.
        """
        processors = self._graph.processors
        return [p.name for p in processors if partition == ALL or p.scope != "global"]

    def behind(self, r: int) -> set[int]:
        """Return the partitions of which OUT does not say yet that all is done up to `r`."""
        return {p for p, known in self.committed.items() if known.done < r or known.apart}

    async def commit(
        self,
        made: Sequence[Output],
        touched: Iterable[int],
        messages: Sequence[Message],
        at: int,
        every: bool = False,
    ) -> None:
        """Commit what was `made` of a batch of messages, and that all `touched` are done with it.

        `at` is the sequence of OUT as in a checkpoint. `every`: with a checkpoint of each partition
        (a snapshot is found by them), not only of those with outputs. Raises Fenced.
        """
        by_partition: dict[int, list[Output]] = {p: [] for p in sorted(touched)}
        for output in made:
            by_partition[output.partition] += self._beyond(output)
        last = messages[-1]
        quiet = [p for p, outputs in by_partition.items() if not (outputs or every)]
        quiet = [p for p in quiet if self._may_be_quiet(p, last)]
        alone = [p for p in by_partition if p not in quiet]
        speaker = next(
            (p for p in reversed(alone) if self._may_speak(p, by_partition[p], last)), None
        )
        if quiet and speaker is None:
            speaker = quiet.pop(0)
            alone.append(speaker)
        together: list[Entry] = []
        count = size = 0
        for partition in alone:
            outputs = by_partition[partition]
            if not cuts.fits(outputs, self._bytes_max):
                await self._commit_parts(partition, outputs, messages, at)
                continue
            weight = sum(len(output.payload) for output in outputs)
            full = count + len(outputs) + 1 > port.BATCH_MESSAGES_MAX
            if together and (full or size + weight > self._bytes_max):
                await self._transact(together, at)
                together, count, size = [], 0, 0
            then = self.committed[partition].reach(last)
            spoken = tuple(quiet) if partition == speaker else ()
            together.append(Entry(partition, outputs, then, spoken))
            count, size = count + len(outputs) + 1, size + weight
        if together:
            await self._transact(together, at)
        for partition in quiet:
            self.committed[partition] = self.committed[partition].reach(last)

    def _may_be_quiet(self, partition: int, last: Message) -> bool:
        """Return whether the checkpoint that stands of a partition without outputs may stay."""
        known = self.committed[partition]
        plain = known.within is None and not known.apart and known.done <= last.sequence
        return plain and partition != ALL and partition in self._written

    def _may_speak(self, partition: int, outputs: Sequence[Output], last: Message) -> bool:
        """Return whether a partition's checkpoint will say all of `last`, of every processor."""
        then = self.committed[partition].reach(last)
        whole = then.done == last.sequence and not then.apart
        return whole and cuts.fits(outputs, self._bytes_max)

    def _beyond(self, output: Output) -> list[Output]:
        within = self.committed[output.partition].within
        rest = output if within is None else cuts.beyond(output, within)
        return [] if rest is None else [rest]

    async def _commit_parts(
        self, partition: int, outputs: list[Output], messages: Sequence[Message], at: int
    ) -> None:
        """Commit one partition's outputs in several transactions, roots in order."""
        by_sequence = {message.sequence: message for message in messages}
        parts = list(cuts.cut(outputs, self._bytes_max))
        logger.info("partition %d needs %d transactions", partition, len(parts))
        for index, part in enumerate(parts):
            known = self.committed[partition]
            if part.within is not None:
                then = replace(known, within=part.within)
            elif index < len(parts) - 1:
                then = known.reach(by_sequence[part.root])
            else:
                then = known.reach(messages[-1])
            await self._transact([Entry(partition, part.outputs, then)], at)

    async def _transact(self, entries: Sequence[Entry], at: int) -> None:
        """Commit one atomic batch, whatever happens to its acknowledgement. Raises Fenced."""
        outputs = [(o.subject, o.payload) for entry in entries for o in entry.outputs]
        checkpoints = []
        for entry in entries:
            subject = subjects.checkpoint(self._graph.name, entry.partition)
            body = self._checkpoint(entry, at).write()
            checkpoints.append(port.Checkpoint(subject, body, entry.then.sequence))
        crash_points.reach("graph.commit.storing")
        sequences = await self._store(outputs, checkpoints)
        crash_points.reach("graph.commit.stored")
        for entry, checkpoint in zip(entries, checkpoints, strict=True):
            then = replace(entry.then, sequence=sequences[checkpoint.subject])
            self.committed[entry.partition] = then
            self._written.add(entry.partition)

    def _checkpoint(self, entry: Entry, at: int) -> Checkpoint:
        partition, then = entry.partition, entry.then
        return Checkpoint(
            graph=self._graph.name,
            partition=partition,
            done=then.done,
            processors=tuple(p for p in self.scoped(partition) if p not in then.apart),
            code_hash=self._code,
            log=self.log_uuid,
            tail=then.tail,
            out_from=at,
            apart=then.apart | self.gone.get(partition, {}),
            within=then.within,
            quiet=entry.quiet,
            writer=self._writer,
        )

    async def _store(
        self, outputs: list[tuple[str, bytes]], checkpoints: list[port.Checkpoint]
    ) -> Mapping[str, int]:
        """Store one batch; find out what became of an attempt whose answer was lost."""
        attempt = 0
        while True:
            try:
                return await self._out.transact(outputs, checkpoints)
            except Unavailable as error:
                attempt += 1
                logger.warning("commit of graph %s is uncertain: %s", self._graph.name, error)
            except Fenced as error:
                if attempt == 0:  # otherwise it may be one of ours that landed late
                    raise await self._replaced(checkpoints) from error
            crash_points.reach("graph.commit.asking")
            await self.back_off(attempt)
            try:
                found = await self._landed(checkpoints)
            except Unavailable:
                continue
            crash_points.reach("graph.commit.told")
            if found is not None:
                return found

    async def _landed(self, checkpoints: list[port.Checkpoint]) -> dict[str, int] | None:
        """Return the sequences of a batch that landed, None if it did not (yet). Raises Fenced.

        It is whole or not there: once the first checkpoint is ours, all others must be. One read
        before it landed may still be the old one.
        """
        sequences: dict[str, int] = {}
        waiting = False
        for wanted in checkpoints:
            found = await self._out.last(wanted.subject)
            if found is not None and found.payload == wanted.payload:
                sequences[wanted.subject] = found.sequence
            elif (found.sequence if found else 0) != wanted.last or sequences:
                raise _replaced_at(wanted.subject, found)
            else:
                waiting = True
        return None if waiting else sequences

    async def _replaced(self, checkpoints: list[port.Checkpoint]) -> Fenced:
        """Return what says which checkpoint is another owner's, and whose, if that can be told."""
        with contextlib.suppress(Unavailable):
            for ours in checkpoints:
                found = await self._out.last(ours.subject)
                if (found.sequence if found else 0) != ours.last:
                    return _replaced_at(ours.subject, found)
        return Fenced(f"another owner commits for graph {self._graph.name}")

    async def back_off(self, attempt: int) -> None:
        """Sleep before another attempt, longer each time, up to a limit."""
        self.retries += 1
        limit = min(self._retry_s_max, 0.05 * 2**attempt)
        await asyncio.sleep(random.uniform(limit / 2, limit))


def _replaced_at(subject: str, found: Message | None) -> Fenced:
    if found is None:
        return Fenced(f"{subject} is gone from OUT")
    writer = Checkpoint.read(found.payload).writer or "another owner"
    return Fenced(f"{writer} committed {subject}: it owns the shard now, this process ends")
