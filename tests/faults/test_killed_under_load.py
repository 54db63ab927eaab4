"""kill -9 of each process and server of an engine under load, at points proven to be hit.

TIDEMILL_FAULTS chooses: `brief` kills each process and server once; `rounds` does that behind
proxies, and then plays some rounds of the seeded campaign on the same engine, one of them of a
random seed, which is printed; `points`
kills at every point, all processes at once; `full` at every point, one after another, at half the
pipeline's rate. TIDEMILL_FAULTS_RATE sets another rate, TIDEMILL_FAULTS_REPORT a file for a JSON
line of each kill. The campaign itself is `python -m tidemill.tests.faults`.
"""

import asyncio
import os
import secrets
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tidemill.projections.registry import TABLES
from tidemill.streams.crash_points import Arming
from tidemill.tests.faults import kills
from tidemill.tests.faults.campaign import FLOW_S, Campaign
from tidemill.tests.faults.engine import Engine
from tidemill.tests.faults.observer import Mark, Observer, observer_on
from tidemill.tests.faults.proxy import Proxy
from tidemill.tests.faults.report import Line, Report
from tidemill.tests.faults.rounds import drawn, played
from tidemill.tests.faults.stage import Stage, proxies_of
from tidemill.tests.faults.witness import Witness

FORM = os.environ.get("TIDEMILL_FAULTS", "brief")
RATE = int(os.environ.get("TIDEMILL_FAULTS_RATE", "650000" if FORM == "full" else "20000"))
"""Synthetic trades a second; half of what the pipeline takes is about 650,000 on two cores."""
BRIEF = FORM in ("brief", "rounds")
ROWS_MIN = {"brief": 200_000, "rounds": 200_000, "points": 1_000_000, "full": 1_000_000}[FORM]
START_S = 280.0
"""The first start compiles kernels where none are cached."""

SELDOM = ("feed_states", "liquidations", "opportunities", "resampled_bars", "venue_bars")
"""Tables of what may not happen while a campaign runs."""

ALWAYS = ("zombie", "network-deaf", "network-silent", "poison")
"""Kinds of the campaign that the form `rounds` plays once each, by a fixed seed."""
SOMETIMES = (*ALWAYS, "kill-at-point", "kill-at-random", "network-cut")
"""Kinds of which it draws one by a random seed."""
FIXED_SEED = 1

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900 if BRIEF else 3_600)]


@pytest.fixture
async def proxies(tmp_path: Path) -> AsyncIterator[Mapping[str, Proxy]]:
    """Proxies to the servers; none where they would be what limits the rate."""
    async with proxies_of(tmp_path / "data") as made:
        yield made if FORM == "rounds" else {}


@pytest.fixture
async def engine(tmp_path: Path, proxies: Mapping[str, Proxy]) -> AsyncIterator[Engine]:
    made = Engine(tmp_path, RATE, {name: proxy.port for name, proxy in proxies.items()})
    watching = asyncio.create_task(made.watch())
    yield made
    watching.cancel()
    made.clean()


@pytest.fixture
def report(tmp_path: Path) -> Iterator[Report]:
    made = Report(Path(os.environ.get("TIDEMILL_FAULTS_REPORT", tmp_path / "report.jsonl")))
    yield made
    print(f"\n{made.table()}")


async def test_kill_9_of_each_process_and_server_under_load_changes_nothing(
    engine: Engine, report: Report, proxies: Mapping[str, Proxy], tmp_path: Path
) -> None:
    if not BRIEF:
        for kill in kills.SNAPSHOTS:
            engine.arm(kill.point, Arming())
    await engine.start(START_S)
    async with observer_on(engine.data_dir) as observer:
        campaign = Campaign(engine, observer, report)
        await observer.flowing(await campaign.mark(), START_S)
        began, rows = time.monotonic(), await loaded(observer)
        await (kill_each_once if BRIEF else kill_at_every_point)(campaign)
        await campaign.venue("exchange-binance")
        await campaign.venue("exchange-okx")
        await campaign.valkey()
        await campaign.queries()
        await campaign.live()
        if FORM == "rounds":
            await rounds_of_the_campaign(engine, observer, proxies, tmp_path)
        await observer.busy()
        before = await campaign.mark()
        report.load(RATE, await loaded(observer) - rows, time.monotonic() - began)
    killed = await kill_the_supervisor(engine)
    async with observer_on(engine.data_dir) as observer:
        seconds = await observer.flowing(before, FLOW_S) - killed
        report.add(Line("supervisor", kills.SUPERVISOR, True, round(seconds, 2), 0))
        await assert_that_no_trade_of_the_load_is_missing(observer)
    await engine.stop()
    await assert_that_everything_is_equal(engine, before)


async def loaded(observer: Observer) -> int:
    """How many trades of the load are in their table."""
    rows = await observer.query("SELECT count() FROM trades__v1 WHERE venue = 'LOAD'")
    return int(rows[0][0])


async def kill_each_once(campaign: Campaign) -> None:
    """The brief form."""
    for wave in kills.BRIEF:
        await campaign.at_points(wave)


async def rounds_of_the_campaign(
    engine: Engine, observer: Observer, proxies: Mapping[str, Proxy], directory: Path
) -> None:
    """Play rounds by a fixed seed and one by a random seed; nothing is lost or there twice."""
    seed = secrets.randbelow(1 << 32)
    drawing = Random(seed)
    rounds = [(kind, FIXED_SEED, Random(FIXED_SEED)) for kind in ALWAYS]
    rounds.append((drawn(drawing, SOMETIMES), seed, drawing))
    async with Witness(observer).listening() as witness:
        stage = Stage(engine, observer, witness, proxies, directory)
        try:
            for kind, seed_, random in rounds:
                found = await played(stage, seed_, kind, random)
                print(f"\nseed {seed_}: {kind}: {found.what} ({found.proof})", end="")
                assert found.held and found.witnessed and found.records, found
        finally:
            stage.end_others()


async def kill_at_every_point(campaign: Campaign) -> None:
    """The other forms; rows that are lost from the table's tail are put back meanwhile."""
    await campaign.at_points_armed_before(kills.SNAPSHOTS)
    for wave in kills.in_turn() if FORM == "full" else kills.together():
        await campaign.at_points(wave)
    await campaign.lost_rows()
    for wave in kills.SERVERS:
        await campaign.at_points(wave)
    if FORM == "full":  # with much more to keep than at the start
        await campaign.at_points(kills.SNAPSHOTS)


async def kill_the_supervisor(engine: Engine) -> float:
    """Kill it while a commit is on its way; nothing is left, and a new start goes on."""
    engine.arm(kills.SUPERVISOR, Arming(nth=3, pid=engine.pid))
    await engine.gone(FLOW_S)
    killed = time.time()
    assert engine.was_hit(kills.SUPERVISOR)
    await engine.start(START_S)
    return killed


async def assert_that_no_trade_of_the_load_is_missing(observer: Observer) -> None:
    """Whoever was killed, the ids that the load counts are there from 1 on, each once."""
    as_of = min((await observer.mark()).values())
    rows: list[Any] = await observer.query(
        "SELECT symbol, count(), min(trade_id), max(trade_id), sum(toUInt128(trade_id))"
        f" FROM trades__v1 WHERE venue = 'LOAD' AND _r <= {as_of} GROUP BY symbol"
    )
    assert len(rows) == 8
    for symbol, count, first, last, total in rows:
        assert (first, last) == (1, count), symbol
        assert total == count * (count + 1) // 2, symbol


async def assert_that_everything_is_equal(engine: Engine, before: Mark) -> None:
    """The sources stop, the tables catch up with all of LOG, and LOG gives the same again."""
    told: dict[str, Any] = await engine.command("demo", "--seconds", "5", timeout_s=FLOW_S * 3)
    assert told["ok"]
    found: dict[str, Any] = await engine.command("verify", timeout_s=1_800)
    assert found["equal"] is True
    assert set(found["tables"]) == set(TABLES)
    for name, table in found["tables"].items():
        assert table["rows"] > 0 or name in SELDOM, name
        assert table["live_sha256"] == table["recomputed_sha256"], name
        assert table["as_of"] >= max(before.values()), name
    assert found["tables"]["trades"]["rows"] >= ROWS_MIN
