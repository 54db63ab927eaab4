"""A graph of processors: who reads whose outputs, how deep each is, in which order they run."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

import numpy as np

from tidemill.schemas.run import Emit, Records, Run

LOG_KINDS = frozenset(
    {"trade", "quote", "status", "time", "book", "derivative", "liquidation", "event"}
)
"""Kinds that LOG brings; every other kind must be emitted by a processor."""


class Processor(Protocol):
    """What the runtime needs of a processor; `tidemill.processors.processor.Processor` is one."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def scope(self) -> Literal["pair", "account", "global"]: ...
    @property
    def reads(self) -> tuple[str, ...]: ...
    @property
    def emits(self) -> tuple[str, ...]: ...
    @property
    def state(self) -> np.dtype[np.void]: ...
    @property
    def step(self) -> Callable[[Records, Run], list[Emit]]: ...
    @property
    def key(self) -> Literal["instrument", "feed"]: ...
    @property
    def subject(self) -> Literal["instrument", "pair", "feed"]: ...
    @property
    def specs(self) -> tuple[str, ...]: ...
    @property
    def exponents(self) -> tuple[int, int] | None: ...
    @property
    def settings(self) -> tuple[str, ...]: ...
    @property
    def poison(self) -> Literal["halt", "park", "skip"]: ...
    @property
    def check(self) -> Callable[[Run], np.ndarray[Any, np.dtype[np.bool_]]] | None: ...


class Graph:
    """Processors that one process runs as one, in topological order.

    `upstream` are processors of other graphs whose outputs (on OUT) these read. `depth` is the
    longest path from LOG, over both, so that splitting a graph changes no depth. Raises ValueError
    for two of one name, two emitters of a kind, a kind that nobody emits, a cycle, or what shards
    would make differently than one process: see `_refuse`.
    """

    def __init__(
        self, name: str, processors: Sequence[Processor], upstream: Sequence[Processor] = ()
    ) -> None:
        self.name = name
        everyone = [*processors, *upstream]
        names = [processor.name for processor in everyone]
        if len(set(names)) != len(names):
            raise ValueError(f"graph {name}: two processors have one name among {sorted(names)}")
        self.emitter: dict[str, Processor] = {}
        for processor in everyone:
            for kind in processor.emits:
                if kind == "dead_letter":
                    continue
                if kind in self.emitter or kind in LOG_KINDS:
                    raise ValueError(f"graph {name}: kind {kind} has a second source")
                self.emitter[kind] = processor
        self.depth: dict[str, int] = {}
        for processor in everyone:
            self._find_depth(processor, ())
        own = {processor.name for processor in processors}
        for processor in processors:
            self._refuse(processor, own)
        self.processors = sorted(processors, key=lambda p: (self.depth[p.name], p.name))
        self.reads = frozenset(kind for p in processors for kind in p.reads)
        self.log_kinds = self.reads & LOG_KINDS
        self.upstream = frozenset(
            self.emitter[kind].name
            for kind in self.reads - LOG_KINDS
            if self.emitter[kind].name not in own
        )
        """Names of the processors of other graphs whose checkpoints gate this one."""

    def _refuse(self, processor: Processor, own: set[str]) -> None:
        """Raise ValueError for a processor whose outputs would depend on who owns what.

        A global one runs where ALL is owned, and sees what every shard sees: facts and outputs of
        whole feeds. So its keys and outputs are feeds, and in its graph no other reads them.
        """
        if processor.key != ("feed" if processor.scope == "global" else "instrument") or (
            processor.subject == "feed"
        ) != (processor.scope == "global"):
            raise ValueError(
                f"graph {self.name}: {processor.name} of scope {processor.scope} has key"
                f" {processor.key} and subject {processor.subject}; feeds are global, and only they"
            )
        for kind in processor.reads:
            emitter = self.emitter.get(kind)
            if emitter is None:
                continue
            if processor.scope == "global" and emitter.scope != "global":
                raise ValueError(
                    f"graph {self.name}: {processor.name} is global and would not see {kind},"
                    f" which {emitter.name} emits by instrument"
                )
            if processor.scope != "global" and emitter.scope == "global" and emitter.name in own:
                raise ValueError(
                    f"graph {self.name}: {processor.name} reads {kind} of {emitter.name}, which"
                    " runs in one shard only: put it in a graph of its own"
                )

    def _find_depth(self, processor: Processor, path: tuple[str, ...]) -> int:
        if processor.name in path:
            raise ValueError(f"graph {self.name}: a cycle {' -> '.join((*path, processor.name))}")
        if processor.name not in self.depth:
            below = 0
            for kind in processor.reads:
                if kind in LOG_KINDS:
                    continue
                if kind not in self.emitter:
                    raise ValueError(
                        f"graph {self.name}: {processor.name} reads {kind}, which nobody emits"
                    )
                below = max(below, self._find_depth(self.emitter[kind], (*path, processor.name)))
            self.depth[processor.name] = below + 1
        return self.depth[processor.name]
