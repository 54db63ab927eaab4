"""kill -9 of a rebuild, at its crash points and at random: it goes on to the same digests."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tidemill.projections.registry import TABLES, VERSIONS
from tidemill.projections.versions import active, present
from tidemill.streams.crash_points import VARIABLE, Arming
from tidemill.tests.projections.rebuilder import NAMES
from tidemill.tests.projections.rebuilding import digests, facts_of_market, market, ordinary
from tidemill.tests.projections.stores import Stores

pytestmark = pytest.mark.integration
POINTS = [
    ["noted", "made", "trades.claimed", "bars.fenced", "instruments.written"],
    ["trades.inserting 4", "trades.inserted 3", "bars.inserting 2", "latest_bars.written 2"],
    ["latest_bars.moved 3", "latest_bars.committed 4", "trades.advanced 3", "bars.inserted"],
    ["bars.drained", "filled", "swapping", "swapped"],
]
"""Points of ``rebuild``, one after another, and how often each is passed until it kills."""
TIMEOUT_S = 60


class Rebuilds:
    """Rebuilds in processes, one after another, over the databases of a test."""

    def __init__(self, stores: Stores, folder: Path) -> None:
        self._folder = folder
        self._arguments = (stores.clickhouse_server.url, stores.postgres_server.dsn)

    def killed_at(self, point: str) -> None:
        """Run one that is killed at a point."""
        name, _, nth = point.partition(" ")
        path = self._folder / f"rebuild.{name}.armed"
        path.write_text(Arming(nth=int(nth or 1)).model_dump_json())
        assert self.run() is None and path.with_suffix(".hit").exists(), point

    def run(self, kill_after_s: float | None = None) -> str | None:
        """Run one; return what it said that it rebuilt, None where it was killed."""
        process = subprocess.Popen(
            [sys.executable, "-m", "tidemill.tests.projections.rebuilder", *self._arguments],
            env={**os.environ, VARIABLE: str(self._folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        if kill_after_s is not None:
            time.sleep(kill_after_s)
            process.kill()
        said, complaints = process.communicate(timeout=TIMEOUT_S)
        assert process.returncode in (0, -9), complaints[-4_000:]
        return said.strip() if process.returncode == 0 else None


async def assert_rebuilt(stores: Stores, said: str | None) -> None:
    """The tables that were rebuilt answer, nothing else was left behind, and nothing is wrong."""
    assert said is not None
    now = await active(stores.pool, VERSIONS)
    assert said.split() == [now[name].physical for name in NAMES]
    log = await facts_of_market()
    end = (await log.identity()).last
    made = await digests(stores, [now[name] for name in NAMES], end)
    assert made == await digests(stores, [TABLES[name] for name in NAMES], end)
    assert {v.state for v in await present(stores.pool, VERSIONS)} == {"serving"}


@pytest.mark.parametrize("points", POINTS, ids=lambda points: points[0])
async def test_a_rebuild_killed_at_its_crash_points_goes_on_to_the_same_digests(
    stores: Stores, tmp_path: Path, points: list[str]
) -> None:
    await ordinary(stores, *await market())
    rebuilds = Rebuilds(stores, tmp_path)
    for point in points:
        rebuilds.killed_at(point)
    now = await active(stores.pool, VERSIONS)
    if points[-1] == "swapped":  # the work was done
        await assert_rebuilt(stores, " ".join(now[name].physical for name in NAMES))
    else:
        assert now == TABLES
        await assert_rebuilt(stores, rebuilds.run())
    now = await active(stores.pool, VERSIONS)
    assert {now[name].instance for name in NAMES} == {2}


async def test_a_rebuild_killed_at_random_goes_on_to_the_same_digests(
    stores: Stores, tmp_path: Path
) -> None:
    await ordinary(stores, *await market())
    rebuilds = Rebuilds(stores, tmp_path)
    chance = random.Random(3)
    began = time.monotonic()
    assert rebuilds.run() is not None
    whole_s = time.monotonic() - began
    killed = 0
    while killed < 6:
        killed += rebuilds.run(chance.uniform(0.4, 1.0) * whole_s) is None
    await assert_rebuilt(stores, rebuilds.run())
