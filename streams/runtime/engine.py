"""The engine: a graph, its states, and one pure step from facts to outputs. No clock, no I/O."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np

from tidemill.schemas.errors import Unreadable
from tidemill.schemas.events import Derived, Event
from tidemill.schemas.events.control import CodeDeployed, DeadLetterSkipped
from tidemill.schemas.events.dead_letter import DeadLetter
from tidemill.schemas.events.fees import FeesDefined
from tidemill.schemas.events.instrument import InstrumentDefined
from tidemill.schemas.identifiers import ALL
from tidemill.schemas.run import FRAMES, Emit, Records, Run
from tidemill.streams.log import Message
from tidemill.streams.runtime import order, outputs
from tidemill.streams.runtime.graph import Graph, Processor
from tidemill.streams.runtime.intake import NO_RECORDS, Column, Intake, Poison, Segment
from tidemill.streams.runtime.keys import Keys
from tidemill.streams.runtime.outputs import Letter, Output


class Pending(Protocol):
    """Records of other graphs that wait for their place among the facts."""

    def take(self, r: int, engine: "Engine") -> dict[str, Column]:
        """Return, by kind, and forget, the records whose root is at most `r`."""
        ...


SKIPS_MAX, SKIPS_WINDOW = 10, 10_000
"""More than this many dead letters of a processor and partition in so many facts of LOG halt it.

Facts are counted, not what a process was given of them, and each partition by itself: so that
batches, shards and restarts make no difference.
"""
DEAD_LETTER = 15
"""Index of dead letters among the kinds that a processor emits."""


@dataclass
class Part:
    """What one processor holds: its rows, its parked slots and its recent dead letters."""

    rows: Records
    parked: dict[int, int] = field(default_factory=dict)
    """Parked slot to the `r` that parked it: later records of it are dead letters."""
    letters_at: dict[int, list[int]] = field(default_factory=dict)
    """Partition to the `r` of its last dead letters, at most SKIPS_MAX + 1."""

    def park(self, slot: int, r: int) -> None:
        """Park a slot at its first bad record, in whatever order those of a batch are found."""
        self.parked[slot] = min(r, self.parked.get(slot, r))


class Held(NamedTuple):
    """What a section keeps of one processor: rows (S,), parked keys by index, dead letters' `r`."""

    rows: Records
    parked: dict[int, int]
    letters_at: list[int]


@dataclass(frozen=True)
class Section:
    """All that an engine holds for one partition: what a snapshot keeps.

    `parts` has, by processor, the rows (S,) of its instruments (of its feeds in ALL) in the order
    of `definitions` (`feeds`), and parked keys by index there. `fees` are those of Keys,
    `settings` the newest event by subject.
    """

    partition: int
    definitions: list[InstrumentDefined]
    feeds: list[tuple[str, str]]
    parts: dict[str, Held]
    fees: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    settings: dict[str, Event] = field(default_factory=dict)


class Engine:
    """Steps a graph over facts of LOG, and over derived records of other graphs.

    `partitions` are those whose instruments it owns; with ALL among them it also runs the global
    processors. `skips` are (processor, r) that an operator told to skip. The same facts give the
    same outputs in whatever batches they come.
    """

    def __init__(
        self,
        graph: Graph,
        partitions: Iterable[int],
        skips: Iterable[tuple[str, int]] = (),
    ) -> None:
        self.graph = graph
        self.partitions = frozenset(partitions)
        self.keys = Keys()
        self.ts = 0
        """Newest `time` stepped (ns)."""
        self.deployed = ""
        """Hash of the code that LOG says may write for this graph; empty where it says nothing."""
        self.skips = set(skips)
        self.parts = {p.name: Part(np.zeros(0, p.state)) for p in graph.processors}
        self.committed = {p.name: np.zeros(ALL + 1, np.uint64) for p in graph.processors}
        """Newest `r` of a processor's partitions whose outputs are in OUT: not made again."""
        self._settings: dict[str, Event] = {}
        """Of each subject that a processor's settings travel on the newest event."""
        self._told: dict[str, tuple[Event, ...]] = {}
        """By processor what its steps are told of them."""
        self._intake = Intake(self.keys, graph.log_kinds, self.partitions)

    @property
    def processors(self) -> list[Processor]:
        """The processors that run here: global ones only where ALL is owned."""
        return [p for p in self.graph.processors if p.scope != "global" or ALL in self.partitions]

    def step(self, messages: Sequence[Message], upstream: Pending | None = None) -> list[Output]:
        """Step facts, in order, and the records of other graphs that belong among them.

        Returns what is not `committed` yet. Raises Unreadable when a processor whose policy is
        `halt` meets a record it cannot take, or when dead letters come too often; nothing of the
        batch may then be committed.
        """
        made: list[Output] = []
        for segment in self._intake.segments(messages):
            derived = upstream.take(segment.end, self) if upstream else {}
            made += self._step_segment(segment, derived)
        return made

    def section(self, partition: int) -> Section:
        """Return a copy of all that is held for one partition, in slot order."""
        slots = np.flatnonzero(self.keys.partitions == partition)
        parts = {}
        for processor in self.processors:
            part = self.parts[processor.name]
            if processor.key == "feed":
                rows = self._rows(processor) if partition == ALL else part.rows[:0]
                parked = {slot: r for slot, r in part.parked.items() if partition == ALL}
            else:
                rows = self._rows(processor)[slots]
                parked = {k: part.parked[int(s)] for k, s in enumerate(slots) if s in part.parked}
            letters_at = list(part.letters_at.get(partition, ()))
            parts[processor.name] = Held(rows.copy(), parked, letters_at)
        definitions = [self.keys.definitions[int(slot)] for slot in slots]
        fees = dict(self.keys.fees)
        feeds, settings = list(self.keys.feeds), dict(self._settings)
        return Section(partition, definitions, feeds, parts, fees, settings)

    def adopt(self, section: Section) -> None:
        """Own a partition from here on, as `section` left it; new to this engine until now."""
        self.partitions |= {section.partition}
        self._intake.adopt([section.partition])
        for venue, product in section.feeds:
            self.keys.add_feed(venue, product)
        for (venue, product), fees in section.fees.items():
            self.keys.set_fees(venue, product, *fees)
        for subject, event in section.settings.items():
            self._set(subject, event)
        slots = np.array([self.keys.define(d) for d in section.definitions], np.int64)
        for processor in self.processors:
            held = section.parts.get(processor.name)
            if held is not None:
                self._adopt_part(processor, held, section.partition, slots)

    def _adopt_part(self, processor: Processor, held: Held, partition: int, slots: Any) -> None:
        own, part = self._rows(processor), self.parts[processor.name]
        if processor.key == "feed":
            own[: len(held.rows)] = held.rows
            part.parked.update(held.parked)
        else:
            own[slots] = held.rows
            part.parked.update({int(slots[k]): r for k, r in held.parked.items()})
        part.letters_at[partition] = list(held.letters_at)

    def _step_segment(self, segment: Segment, derived: dict[str, Column]) -> list[Output]:
        self.ts = max(self.ts, segment.ts)
        for subject, event in segment.control:
            self._control(subject, event)
        columns = {**segment.columns, **derived}
        made: list[Output] = []
        for processor in self.processors:
            letters = self._letters_of_poison(processor, segment.poison)
            emitted: dict[str, list[Emit]] = {}
            mine = {kind: columns[kind] for kind in processor.reads if kind in columns}
            if processor.key == "feed":
                mine = {kind: c for kind, column in mine.items() if (c := _of_feeds(column))}
            told = self._told.get(processor.name, ())
            for run in order.runs(mine, self.keys.instruments) if mine else ():
                run = run._replace(feeds=self.keys.feeds, settings=told)
                run = self._check(processor, run, letters)
                if len(run.frames):
                    for emit in processor.step(self._rows(processor), run):
                        emitted.setdefault(emit.kind, []).append(emit)
            letters += self._letters_of_step(emitted.pop("dead_letter", []))
            for kind, emits in emitted.items():
                column, packed = self._finish(processor, kind, emits)
                columns[kind] = column
                made += packed
            made += self._dead_letters(processor, letters)
        return made

    def _control(self, subject: str, event: Event) -> None:
        self._set(subject, event)
        if isinstance(event, CodeDeployed) and event.graph == self.graph.name:
            self.deployed = event.code_hash
        if isinstance(event, FeesDefined):
            self.keys.charge(event)
        if isinstance(event, DeadLetterSkipped) and event.processor in self.parts:
            part = self.parts[event.processor]
            part.parked = {slot: r for slot, r in part.parked.items() if r != event.r}

    def _set(self, subject: str, event: Event) -> None:
        """Take note of a setting of a processor, for all steps from here on."""
        what = subject.split(".")[1]
        for processor in self.graph.processors:
            if what in processor.settings:
                self._settings[subject] = event
                mine = (s for s in sorted(self._settings) if s.split(".")[1] in processor.settings)
                self._told[processor.name] = tuple(self._settings[s] for s in mine)

    def _rows(self, processor: Processor) -> Records:
        """Return the processor's rows, one for every key that exists, new ones zero."""
        count = len(self.keys.feeds if processor.key == "feed" else self.keys.definitions)
        part = self.parts[processor.name]
        if len(part.rows) < count:
            grown = np.zeros(max(count, 2 * len(part.rows)), processor.state)
            grown[: len(part.rows)] = part.rows
            part.rows = grown
        return part.rows[:count]

    def _check(self, processor: Processor, run: Run, letters: list[Letter]) -> Run:
        """Take frames that cannot be stepped out of a run, as dead letters."""
        part = self.parts[processor.name]
        bad = np.zeros(len(run.frames), np.bool_)
        if processor.check is not None:
            bad |= processor.check(run)
            if processor.poison == "park":
                for row in run.frames[bad & (run.frames["slot"] >= 0)]:
                    part.park(int(row["slot"]), int(row["r"]))
        for slot, r in part.parked.items():
            bad |= (run.frames["slot"] == slot) & (run.frames["r"] > r)
        for row in run.frames[bad]:
            slot, r = int(row["slot"]), int(row["r"])
            since = part.parked.get(slot, r)
            reason = f"its key is parked since r={since}" if since < r else f"no valid {run.kind}"
            partition = ALL if slot < 0 else int(self.keys.partitions[slot])
            letters.append(Letter(r, int(row["i"]), partition, reason, since == r))
        return _without(run, bad) if bad.any() else run

    def _letters_of_poison(self, processor: Processor, poison: Sequence[Poison]) -> list[Letter]:
        """Return what was refused before it became a record, where it concerns this processor."""
        mine = []
        for one in poison:
            whole = one.kind == "instrument" and processor.key == "instrument"
            if whole or one.kind in processor.reads:
                mine.append(
                    Letter(one.r, 0, one.partition, one.reason, True, one.subject, one.payload)
                )
                if processor.poison == "park" and one.slot >= 0:
                    self.parts[processor.name].park(one.slot, one.r)
        return mine

    def _letters_of_step(self, emits: list[Emit]) -> list[Letter]:
        """Return what a step itself could not take whole."""
        mine = []
        for emit in emits:
            for event, slot in zip(emit.events, emit.slots, strict=True):
                assert isinstance(event, DeadLetter)
                partition = int(self.keys.partitions[slot])
                mine.append(Letter(event.at_r, event.at_i, partition, event.reason, False))
        return mine

    def _dead_letters(self, processor: Processor, letters: list[Letter]) -> list[Output]:
        letters.sort(key=lambda letter: (letter.r, letter.i))
        for letter in letters:
            if letter.poison and (processor.name, letter.r) not in self.skips:
                self._count(processor, letter)
        if not letters:
            return []
        n = outputs.number(
            np.array([letter.r for letter in letters], np.uint64),
            np.array([letter.i for letter in letters], np.uint32),
            np.array([letter.partition for letter in letters], np.uint8),
            DEAD_LETTER,
        )
        return [
            outputs.dead_letter(processor, letter, int(number))
            for letter, number in zip(letters, n, strict=True)
            if letter.partition in self.partitions
            and letter.r > self.committed[processor.name][letter.partition]
        ]

    def _count(self, processor: Processor, letter: Letter) -> None:
        """Halt where the policy, or the number of dead letters, says so. Raises Unreadable."""
        if processor.poison == "halt":
            raise Unreadable(f"{processor.name} halts at r={letter.r}: {letter.reason}")
        if letter.partition not in self.partitions:
            return
        recent = self.parts[processor.name].letters_at.setdefault(letter.partition, [])
        recent.append(letter.r)
        del recent[: -SKIPS_MAX - 1]
        if len(recent) > SKIPS_MAX and letter.r - recent[0] < SKIPS_WINDOW:
            raise Unreadable(
                f"{processor.name} halts at r={letter.r}: over {SKIPS_MAX} dead letters in"
                f" {SKIPS_WINDOW} facts, the last: {letter.reason}"
            )

    def _finish(
        self, processor: Processor, kind: str, emits: list[Emit]
    ) -> tuple[Column, list[Output]]:
        """Number what was emitted; return it as a column for deeper processors, and packed."""
        slots = np.concatenate([emit.slots for emit in emits]).astype(np.int32)
        specs = np.concatenate([emit.specs for emit in emits])
        if processor.subject == "pair":
            first = np.array(self.keys.pair_slot, np.int32)
            slots = first[self.keys.instruments["pair"][slots]]
        whole = processor.subject == "feed"
        partitions = np.full(len(slots), ALL) if whole else self.keys.partitions[slots]
        made: list[Derived] = [event for emit in emits for event in emit.events]
        frames = np.zeros(len(slots), FRAMES)
        frames["count"], frames["start"] = 1, np.arange(len(slots))
        frames["slot"], frames["feed"] = (-1, slots) if whole else (slots, -1)
        of_specs = emits[0].names or processor.specs
        group, names, exponents = self._names(processor, slots, specs, of_specs)
        if made:
            at = np.array([(e.at_r, e.at_i) for e in made], "u8")
            frames["r"], frames["i"] = at[:, 0], at[:, 1]
        else:
            records = np.concatenate([emit.records for emit in emits])
            frames["r"], frames["i"] = records["at_r"], records["at_i"]
            for name, column in zip(
                ("price_exponent", "quantity_exponent"), np.array(exponents).T, strict=True
            ):
                frames[name] = column[group]
        index = processor.emits.index(kind)
        n = outputs.number(frames["r"], frames["i"], partitions, index)
        depth = self.graph.depth[processor.name]
        new = frames["r"] > self.committed[processor.name][partitions]
        if made:
            numbered = outputs.numbered_events(made, n)
            chosen = [(e, names[g]) for e, g, k in zip(numbered, group, new, strict=True) if k]
            packed = outputs.pack_events(kind, chosen)
            column_ = Column(NO_RECORDS, frames, numbered, n, depth, processor.name)
            return column_, list(packed)
        records["n"] = n
        packed = outputs.pack(kind, records[new], names, group[new], exponents)
        return Column(records, frames, (), n, depth, processor.name), list(packed)

    def _names(
        self, processor: Processor, slots: Any, specs: Any, of_specs: tuple[str, ...]
    ) -> tuple[Any, list[tuple[str, str, str, int]], list[tuple[int, int]]]:
        """Return (group (N,), the name of each group, the exponents of each group)."""
        width = len(of_specs)
        codes, group = np.unique(slots.astype(np.int64) * width + specs, return_inverse=True)
        names, exponents = [], []
        for code in codes:
            slot, spec = divmod(int(code), width)
            if processor.subject == "feed":
                venue, symbol = self.keys.feeds[slot]
                partition, own = ALL, (0, 0)
            else:
                definition = self.keys.definitions[slot]
                venue, symbol = definition.venue, definition.symbol
                if processor.subject == "pair":
                    venue, symbol = "ALL", definition.pair
                partition = int(self.keys.partitions[slot])
                own = (definition.price_exponent, definition.quantity_exponent)
            names.append((of_specs[spec], venue, symbol, partition))
            exponents.append(processor.exponents or own)
        return group, names, exponents


def _without(run: Run, bad: np.ndarray[Any, np.dtype[np.bool_]]) -> Run:
    events = tuple(e for e, b in zip(run.events, bad, strict=False) if not b)
    return run._replace(frames=run.frames[~bad], events=events)


def _of_feeds(column: Column) -> Column | None:
    """Return what concerns whole feeds: the same in every shard, whatever instruments it owns."""
    whole = column.frames["slot"] < 0
    if not whole.any():
        return None
    made = tuple(e for e, w in zip(column.events, whole, strict=False) if w)
    n = column.n if column.n is None else column.n[whole]
    return column._replace(frames=column.frames[whole], events=made, n=n)
