"""Rounds of a campaign: each draws a fault from its seed, sees it hit, all flow, nothing amiss."""

import asyncio
import shutil
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

from tidemill.deploy.embedded.servers import servers_on
from tidemill.projections.registry import TABLES
from tidemill.tests.faults.apart.registry import APART
from tidemill.tests.faults.kinds.registry import KINDS
from tidemill.tests.faults.stage import CONFIRMED, HISTORY, STEADY_S, Stage
from tidemill.tests.faults.tally import Round, Tally

VERIFY_S = 3_600.0
CATCH_UP_S = 240.0
_TRACE = "\nTraceback (most recent call last)"
"""Of a crash: at the start of a line. One within a line is told by a library that goes on."""


def drawn(random: Random, among: Sequence[str]) -> str:
    """Draw a kind of fault, each as often as it weighs."""
    return random.choices(among, [KINDS[name].weight for name in among])[0]


async def play(stage: Stage, tally: Tally, seed: int, among: Sequence[str]) -> None:
    """Play a round: of the first kind that was not played yet, then of one that the seed draws.

    A failing round is told and does not end the campaign.
    """
    random = Random(seed)
    kind = drawn(random, among)
    known = {one.kind for one in tally.rounds}
    new = [name for name in among if name not in known]
    try:
        tell(tally, await played(stage, seed, new[0] if new else kind, random))
    except (AssertionError, TimeoutError, subprocess.TimeoutExpired) as error:
        failed = Round(seed, new[0] if new else kind, "", "", None, 0.0, 0, 0, 0, 0)
        why = f"{type(error).__name__}: {str(error) or traceback.format_exc()}"
        tell(tally, replace(failed, why=(why[-2_000:],)))
        await stage.recover()
    stage.engine.check()


def tell(tally: Tally, one: Round) -> None:
    """Add a round, and say it."""
    tally.add(one)
    recovered = "" if one.recovered_s is None else f", flows after {one.recovered_s:.1f} s"
    print(
        f"seed {one.seed}: {one.kind}: {one.what} ({one.proof}){recovered}, took {one.took_s:.1f} s"
        f"{'' if one.held else f': LOST {one.lost}, TWICE {one.duplicated}: {one.why}'}",
        file=sys.stderr,
        flush=True,
    )


async def play_apart(directory: Path, tally: Tally, seed: int, among: Sequence[str]) -> None:
    """Play a round of each of these kinds, each on servers of its own."""
    for kind in among:
        own = directory / f"{kind}-{seed}"
        own.mkdir()
        async for one in APART[kind](own, seed):
            tell(tally, one)
        shutil.rmtree(own)


async def played(stage: Stage, seed: int, kind: str, random: Random) -> Round:
    """Play one round."""
    began, traces = time.monotonic(), _traces(stage)
    struck = await KINDS[kind].strike(stage, random)
    flowed = await stage.flows()
    await asyncio.sleep(STEADY_S)
    found = await stage.witness.look()
    stage.end_others()
    why = [*found.why, *_new_traces(traces, _traces(stage))]
    return Round(
        seed=seed,
        kind=kind,
        what=struck.what,
        proof=struck.proof,
        recovered_s=round((struck.flowed or flowed) - struck.ts / 1e9, 2),
        took_s=round(time.monotonic() - began, 2),
        witnessed=found.witnessed,
        records=found.records,
        lost=found.lost,
        duplicated=found.duplicated,
        why=tuple(why),
    )


def _traces(stage: Stage) -> dict[str, str]:
    """What each process has said so far, of those that have said a trace."""
    paths = sorted((stage.engine.data_dir / "logs").glob("*.log"))
    said = {path.stem: "\n" + path.read_text(errors="replace") for path in paths}
    return {name: text for name, text in said.items() if _TRACE in text}


def _new_traces(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Return the ends of traces that were not there before: a crash that nobody asked for."""
    return [
        f"{name} crashed: {text.rpartition(_TRACE)[2].strip()[-400:]}"
        for name, text in after.items()
        if text.count(_TRACE) > before.get(name, "").count(_TRACE)
    ]


async def concluded(stage: Stage, tally: Tally) -> bool:
    """Stop the sources, let the tables catch up, and hold everything against LOG once more."""
    await stage.engine.stop()
    told = await stage.engine.command("demo", "--seconds", "5", timeout_s=CATCH_UP_S)
    found = await stage.engine.command("verify", timeout_s=VERIFY_S)
    tables = found["tables"]
    assert isinstance(tables, dict)
    equal = found["equal"] is True and set(tables) == set(TABLES)
    rows = sum(table["rows"] for table in tables.values())
    tally.ends["tables caught up with LOG"] = "yes" if told["ok"] else "no"
    tally.ends["`tidemill verify`"] = (
        f"{'every table is equal to what LOG gives again' if equal else found},"
        f" {len(tables)} tables, {rows:,} rows"
    )
    return equal and bool(told["ok"]) and await checked(stage, tally)


async def checked(stage: Stage, tally: Tally) -> bool:
    """Have the checker, which shares no code with the engine, decide every invariant."""
    argv = [sys.executable, "-m", "tidemill.tests.faults.checker", "--json"]
    argv += ["--data-dir", str(stage.engine.data_dir)]
    argv += ["--confirmed", str(stage.directory / CONFIRMED)]
    argv += ["--history", str(stage.directory / HISTORY)]
    async with servers_on(stage.engine.data_dir):
        process = await asyncio.create_subprocess_exec(
            *argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        try:
            out, text = await asyncio.wait_for(process.communicate(), VERIFY_S)
        except TimeoutError:  # what the rounds found is told all the same
            process.kill()
            await process.wait()
            out, text = b"", f"it was stopped after {VERIFY_S:g} s, undecided".encode()
    print(text.decode(errors="replace"), file=sys.stderr)
    held = process.returncode == 0
    told = (
        "none of I1 to I13 is broken"
        if held
        else f"not held:\n\n```\n{text.decode()[-4_000:]}\n```"
    )
    tally.ends["the independent checker"] = told
    return held and bool(out)
