"""`tidemill rebuild`: tables made from LOG alone, in one pass, beside those that answer queries."""

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from tidemill.deploy.commands.output import Exit, answer, say
from tidemill.deploy.prepared import databases, prepared
from tidemill.deploy.rebuilding import engine_of
from tidemill.deploy.roles.connections import streams
from tidemill.deploy.settings import Missing, archive_of
from tidemill.deploy.swapping import put_in_place, standing_still
from tidemill.projections.postgres.readings import Pool
from tidemill.projections.rebuild import Progress, Rebuild, lost, planned
from tidemill.projections.registry import TABLES, VERSIONS
from tidemill.projections.table import Table
from tidemill.projections.versions import enter, present


@dataclass(frozen=True)
class Options:
    """What was asked for on the command line."""

    names: tuple[str, ...]
    everything: bool
    swap: bool
    differs: bool
    data_dir: Path
    json: bool


def declared(name: str) -> Table:
    """Return the newest version of a name, or the one of ``name__v<n>``. Raises Missing."""
    for table in VERSIONS:
        if name == table.declared:
            return table
    if name not in TABLES:
        raise Missing(f"there is no table {name}; there are {', '.join(TABLES)}")
    return TABLES[name]


async def rebuild(options: Options) -> Exit:
    """Build the named versions, or with `everything` fill again what the databases lost."""
    if bool(options.names) == options.everything:
        raise Missing("name tables to rebuild, or --all to make again whatever was lost")
    chosen = list({table.declared: table for table in map(declared, options.names)}.values())
    async with (
        prepared(options.data_dir) as urls,
        streams(urls.nats_engine, "rebuild", archive_of(options.data_dir)) as opened,
        databases(urls) as (pool, clickhouse),
    ):
        if options.everything:
            tables = lost(await present(pool, VERSIONS))
        else:
            tables = await planned(pool, chosen)
        if not tables:
            answer({"ok": True, "tables": {}}, options.json)
            return Exit.HELD
        engine = await engine_of(tables, opened.log)
        work = Rebuild(tables, opened.log, clickhouse, pool, engine)
        began, differing = time.monotonic(), list[str]()

        async def then() -> None:
            if options.swap:
                differing.extend(await put_in_place(tables, clickhouse, pool, options.differs))
            if differing or not options.swap:
                await enter(pool, tables, "serving")

        with shown() as report:
            try:
                await work.run(report, then)
            except BaseException:
                say("not finished; the same command goes on from here")
                raise
        _say_what_stands(options, tables, differing)
        still = [] if differing else await standing_still(pool, tables)
        for line in still:
            say(line)
        result = await _result(pool, tables, work, time.monotonic() - began)
        held = not differing and not still
        answer({"ok": held, **result}, options.json)
    return Exit.HELD if held else Exit.DID_NOT_HOLD


def _say_what_stands(options: Options, tables: Sequence[Table], differing: Sequence[str]) -> None:
    names = " ".join(table.physical for table in tables)
    for line in differing:
        say(f"{line}; `tidemill verify` tells which is right")
    if differing:
        say(f"nothing was swapped; to swap all the same: tidemill swap --differs {names}")
    elif not options.swap and not options.everything:
        say(f"ready, and answers nothing yet: tidemill swap {names}")


async def _result(
    pool: Pool, tables: Sequence[Table], work: Rebuild, seconds: float
) -> dict[str, object]:
    there = {version.table.physical: version for version in await present(pool, VERSIONS)}
    found = {}
    for table in tables:
        version = there[table.physical]
        found[table.name] = {
            "table": table.physical,
            "position": version.position,
            "rows": work.rows(table),
            "active": version.active,
        }
    rows = sum(work.rows(table) for table in tables)
    return {
        "seconds": round(seconds, 3),
        "rows_per_s": round(rows / seconds),
        "tables": found,
    }


def shown() -> AbstractContextManager[Callable[[Progress], None]]:
    """Return what shows progress: a bar on a terminal, else JSON lines on standard error."""
    console = Console(file=sys.stderr)
    return _Drawn(console) if console.is_terminal else nullcontext(_said)


def _said(progress: Progress) -> None:
    line = {**progress._asdict(), "rate": round(progress.rate)}
    if progress.eta_s is not None:
        line["eta_s"] = round(progress.eta_s, 1)
    say(orjson.dumps(line).decode())


class _Drawn:
    """A bar from root 0 to the end of LOG, with rows a second and the time that is left."""

    def __init__(self, console: Console) -> None:
        self._bar = Bar(
            TextColumn("rebuild"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]:,.0f} rows/s"),
            TimeRemainingColumn(),
            console=console,
        )
        self._task = self._bar.add_task("rebuild", rate=0.0)

    def __enter__(self) -> Callable[[Progress], None]:
        self._bar.start()
        return self._draw

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def _draw(self, progress: Progress) -> None:
        self._bar.update(
            self._task,
            completed=progress.position,
            total=progress.target,
            rate=progress.rate,
        )
