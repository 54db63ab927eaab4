"""One LOG, one digest: in memory and on JetStream, one shard or five, fused or split, delayed."""

from pathlib import Path
from random import Random

import pytest

from tidemill.deploy.graphs import graphs
from tidemill.deploy.replaying import fill, step
from tidemill.deploy.settings import GraphLayout
from tidemill.processors.catalog import PROCESSORS
from tidemill.streams.memory import MemoryLog
from tidemill.streams.runtime.shard import Limits
from tidemill.streams.subjects import LOG_SUBJECTS
from tidemill.tests.flow.conftest import Replayed
from tidemill.tests.flow.delays import DelayedLog
from tidemill.tests.flow.logs import append, declare, on_server, out_in_memory
from tidemill.tests.flow.outcomes import derived_outcome, outcome
from tidemill.tests.flow.sources import Source, source
from tidemill.tests.servers import RunningNats


def test_the_layouts_are_one_graph_and_one_for_each_processor() -> None:
    assert [len(graphs("fused")), len(graphs("split"))] == [1, len(PROCESSORS)]


async def test_fill_appends_exactly_the_facts_and_goes_on_where_it_was_interrupted(
    played: Source,
) -> None:
    if len(played.files) > 1:
        venue, paths = next(iter(played.files.items()))
        played = source(venue, {venue: paths}, exact=False)
    ((venue, paths),) = played.files.items()
    random = Random(3)
    for interrupted_at in (random.randrange(len(played.facts)), len(played.facts)):
        log = MemoryLog("LOG", LOG_SUBJECTS)
        if interrupted_at:
            await append(log, played.facts[:interrupted_at])
        await fill(log, paths, venue, "SPOT")
        held = [message[1:] for message in log.slice(1, log.end) if message is not None]
        assert held == played.facts


@pytest.mark.parametrize(
    ("played", "layout", "count"),
    [
        ("real", "split", 1),
        ("real", "fused", 2),
        ("real", "split", 5),
        *(("exchanged", layout, count) for layout in ("fused", "split") for count in (1, 2, 5)),
    ],
    indirect=["played"],
)
async def test_shards_layouts_and_late_readers_in_memory_give_one_digest(
    replayed: Replayed, layout: GraphLayout, count: int
) -> None:
    log, out = replayed.log, out_in_memory()
    random = Random(f"{layout} {count}")
    await step(
        DelayedLog(log, random, 0.002),
        DelayedLog(out, random, 0.002),
        count,
        layout,
        limits=Limits(batch_messages_max=random.choice([700, 2_000])),
    )
    made = await derived_outcome(log, out)
    assert made == {name: replayed.outcome[name] for name in made}


@pytest.mark.integration
async def test_jetstream_gives_the_digest_of_memory_in_every_layout(
    nats: RunningNats, played: Source, replayed: Replayed, tmp_path: Path
) -> None:
    async with on_server(nats) as opened:
        await append(opened.log, played.facts)
    layouts: tuple[tuple[int, GraphLayout], ...] = ((1, "fused"), (2, "split"), (5, "fused"))
    for count, layout in layouts:
        await declare(nats, without="OUT")
        random = Random(f"{layout} {count} on JetStream")
        async with on_server(nats) as opened:
            await step(
                DelayedLog(opened.log, random, 0.004),
                DelayedLog(opened.out, random, 0.004),
                count,
                layout,
                tmp_path / f"{layout}-{count}",
            )
            whole = (count, layout) == layouts[-1]
            made = await (outcome if whole else derived_outcome)(opened.log, opened.out)
            assert made == {name: replayed.outcome[name] for name in made}, (count, layout)
    assert made.keys() == replayed.outcome.keys()
