"""`tidemill rebuild --swap` killed at a phase, and run again to its end, under load."""

import asyncio
import time
from random import Random
from signal import SIGKILL

from tidemill.projections import registry
from tidemill.streams.crash_points import Arming
from tidemill.tests.faults.engine import COMMAND
from tidemill.tests.faults.stage import Stage, Struck

TABLES = {
    "trades": "inserting",
    "bars": "inserted",
    "times": "advancing",
    "latest_trades": "moved",
    "latest_bars": "written",
}
"""Tables that are rebuilt, and a step of their sinks that is sure to come."""
PHASES = (
    "rebuild.noted",
    "rebuild.entered",
    "version.make.forgetting",
    "version.make.made",
    "rebuild.made",
    "rebuild.filled",
    "rebuild.swapping",
    "swap.locked",
    "swap.written",
    "swap.committed",
    "rebuild.swapped",
    "rebuild.done",
)
LONGEST_S = 240.0


async def killed(stage: Stage, random: Random) -> Struck:
    """Kill a rebuild at up to two phases, finish it, and retire what it replaced."""
    table = random.choice(sorted(TABLES))
    making = registry.TABLES[table].database == "clickhouse"
    reached = [phase for phase in PHASES if making or not phase.startswith("version.make.")]
    phases = [*reached, f"rebuild.{table}.{TABLES[table]}", f"rebuild.{table}.claimed"]
    before = (await stage.observer.tables())[table]
    chosen = random.sample(phases, random.choice((1, 2)))
    hits = []
    for phase in chosen:
        stage.engine.arm(phase, Arming())
        status = await _run(stage, "rebuild", table, "--swap")
        if status == -SIGKILL:
            assert (await stage.engine.hit(phase, 1.0)).killed
            hits.append(phase)
        else:  # an earlier one had come further already: this phase is not passed again
            assert status == 0, status
            stage.engine.disarm(phase)
    ts = time.time_ns()
    assert hits, f"{chosen} were not reached"
    if (await stage.observer.tables())[table].table == before.table:
        assert await _run(stage, "rebuild", table, "--swap") == 0
    now = (await stage.observer.tables())[table]
    assert now.table != before.table
    flowed = await stage.flows()
    assert await _run(stage, "retire", before.table, "--yes") == 0
    proof = f"killed at {', '.join(hits)}; {now.table} answers in place of {before.table}"
    return Struck(f"rebuild {table} --swap killed {len(hits)} times", proof, ts, flowed)


async def _run(stage: Stage, *arguments: str) -> int:
    """Run a command on the engine to its end; return its status, negative for a signal."""
    argv = [*COMMAND, *arguments, "--data-dir", str(stage.engine.data_dir)]
    process = stage.beside(arguments[0], argv, stage.engine.environment())
    status = await asyncio.to_thread(process.wait, LONGEST_S)
    assert status in (0, -SIGKILL), stage.said_in[process.pid].read_text(errors="replace")[-2_000:]
    return status
