"""What a rebuild needs besides the stores: the engine that derives its tables' rows."""

from collections.abc import Callable, Iterable, Sequence

from tidemill.processors.catalog import PROCESSORS
from tidemill.processors.processor import Processor
from tidemill.projections.table import Table
from tidemill.streams.log import Log
from tidemill.streams.runtime import control
from tidemill.streams.runtime.engine import Engine
from tidemill.streams.runtime.graph import Graph
from tidemill.streams.runtime.shard import EVERY

GRAPH = "rebuild"


def processors_of(tables: Sequence[Table]) -> list[Processor]:
    """Return the processors that derive the rows of `tables`, and those that these read."""
    return with_upstream(table.emitted_by for table in tables if table.emitted_by)


def with_upstream(processors: Iterable[str]) -> list[Processor]:
    """Return the processors of these names, and those whose outputs they read."""
    names = set(processors)
    emitter = {kind: one for one in PROCESSORS for kind in one.emits if kind != "dead_letter"}
    while True:
        reads = {kind for one in PROCESSORS if one.name in names for kind in one.reads}
        more = {emitter[kind].name for kind in reads if kind in emitter} - names
        if not more:
            return [one for one in PROCESSORS if one.name in names]
        names |= more


async def engine_of(tables: Sequence[Table], log: Log) -> Callable[[], Engine]:
    """Return what makes a fresh engine for `tables`. It obeys what operators had skipped."""
    graph = Graph(GRAPH, processors_of(tables))
    skips = (await control.read(log, GRAPH, (await log.identity()).last)).skips
    return lambda: Engine(graph, EVERY, skips)
