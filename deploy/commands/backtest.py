"""`tidemill backtest`: a strategy over what was, searched, walked forward, checked, reported."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.progress import Progress

from tidemill.deploy.backtesting.bias import look_ahead, warm_up
from tidemill.deploy.backtesting.report import Report, result_of
from tidemill.deploy.backtesting.search import (
    OBJECTIVES,
    Given,
    Job,
    Range,
    Score,
    best,
    drawn,
    grid,
    scores,
)
from tidemill.deploy.backtesting.sources import Source, read
from tidemill.deploy.backtesting.strategies import Chosen
from tidemill.deploy.backtesting.walk_forward import parse, walk_forward
from tidemill.deploy.commands.output import Exit, answer, say
from tidemill.processors.kernels.backtest.ran import Ran
from tidemill.processors.kernels.backtest.rules import Rules

Check = Literal["look_ahead", "warm_up"]
TOP = 20
"""Runs of a search that are listed; the report has all."""


@dataclass(frozen=True)
class Options:
    """What was asked for on the command line."""

    strategy: str
    sources: tuple[Source, ...]
    rules: Rules
    given: tuple[str, ...] = ()
    sweep: tuple[str, ...] = ()
    random: int = 0
    seed: int = 0
    objective: str = "sharpe"
    walk_forward: str = ""
    processes: int = 0
    check: tuple[Check, ...] = ()
    points: int = 20
    out: Path | None = None
    json: bool = False


def sources(
    symbols: Sequence[str], files: Sequence[Path], archive: str, nats: str, interval: str, lot: str
) -> tuple[Source, ...]:
    """Return where each symbol's market is. Raises ValueError where that is not said, or twice."""
    if not symbols:
        raise ValueError("name at least one --symbol, as BTCUSDT.BINANCE")
    if bool(files) == bool(archive or nats):
        raise ValueError("say where the data is: --data FILE for each --symbol, or --archive")
    if files and len(files) != len(symbols):
        raise ValueError(f"{len(symbols)} symbols need as many --data, in the same order")
    paths: Sequence[Path | None] = files or [None] * len(symbols)
    return tuple(
        Source(symbol, path, archive, nats, interval, lot)
        for symbol, path in zip(symbols, paths, strict=True)
    )


def rules(
    money: tuple[str, str],
    ppm: tuple[int, int, int, int],
    parts: tuple[float, float, float],
    short: bool,
    fill_at: Literal["open", "close"],
    limits: Literal["touch", "through"],
) -> Rules:
    """Return the rules of (initial, quantity), (taker, maker, slippage in ppm, latency in ms) and
    (fraction of equity, stop and take in percent). Raises ValueError."""
    try:
        initial, quantity = Decimal(money[0]), Decimal(money[1]) if money[1] else None
    except InvalidOperation as error:
        raise ValueError(f"--initial and --quantity are numbers, not {money}") from error
    taker, maker, slippage, latency_ms = ppm
    fraction, stop, take = (round(part * scale) for part, scale in zip(parts, _PPM, strict=True))
    return Rules(
        initial, taker, maker, slippage, latency_ms * 1_000_000,
        fraction, quantity, short, stop, take, fill_at, limits,
    )  # fmt: skip


_PPM = (1_000_000, 10_000, 10_000)


def checks(ahead: bool, warm: bool) -> tuple[Check, ...]:
    """Return the names of the checks that were asked for."""
    asked: list[tuple[Check, bool]] = [("look_ahead", ahead), ("warm_up", warm)]
    return tuple(name for name, wanted in asked if wanted)


@contextmanager
def usage() -> Iterator[None]:
    """End with a message and status 2 where options are wrong."""
    try:
        yield
    except ValueError as error:
        say(f"ValueError: {error}")
        sys.exit(Exit.USAGE)


async def backtest(options: Options) -> Exit:
    """Run it; 0, or 1 where a check found a bias. Raises ValueError for what cannot be run."""
    markets = tuple(read(source) for source in options.sources)
    job = Job(Chosen(options.strategy), markets, options.rules, _given(options.given))
    name = job.strategy().name or options.strategy
    facts = {
        "strategy": name,
        "instruments": [one.instrument for one in markets],
        "begins": min(int(one.bars.ts_open[0]) for one in markets),
        "ends": max(int(one.bars.ts_close[-1]) for one in markets),
        "fills_against": "trades" if markets[0].ts is not None else "bars",
    }
    if options.check:
        return _check(job, options, facts)
    runs, more = _ran(job, options)
    report = Report(facts, runs, {"result": result_of(runs), **more})
    written = report.write(options.out) if options.out else []
    listed = {**more, "sweep": more["sweep"][:TOP]} if "sweep" in more else more
    paths = {"report": [str(path) for path in written]} if written else {}
    answer({**facts, "result": report.more["result"], **listed, **paths}, options.json)
    return Exit.HELD


def _given(texts: Sequence[str]) -> Given:
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        try:
            found[name] = float(value)
        except ValueError as error:
            raise ValueError(f"--set is NAME=NUMBER, not {text!r}") from error
        if not equals or not name:
            raise ValueError(f"--set is NAME=NUMBER, not {text!r}")
    return found


def _each(job: Job, options: Options) -> list[Given]:
    """Return the parameters to search, none without a search."""
    ranges = [Range.parse(text) for text in options.sweep]
    if options.objective not in OBJECTIVES:
        raise ValueError(f"--objective is one of {', '.join(OBJECTIVES)}")
    known = {parameter.name for parameter in job.chosen.load().parameters}
    if unknown := sorted({one.name for one in ranges} - known):
        raise ValueError(f"{options.strategy} has no {', '.join(unknown)}")
    if options.random:
        return drawn(job.chosen.load(), ranges, options.random, options.seed)
    return list(grid(ranges)) if ranges else []


def _ran(job: Job, options: Options) -> tuple[list[Ran], dict[str, Any]]:
    """Return the run, or the stretches, and what else came of it."""
    each = _each(job, options)
    processes = options.processes or os.cpu_count() or 1
    if options.walk_forward:
        lengths = parse(options.walk_forward)
        with _progress("walk-forward") as told:
            found = walk_forward(job, lengths, each or [{}], options.objective, processes, told)
        windows = [one.plain(options.objective) for one in found]
        return [one.ran for one in found], {"parameters": job.given, "windows": windows}
    if not each:
        return [job.run()], {"parameters": job.strategy().given}
    with _progress("search", len(each)) as told:
        numbers = scores(job, each, processes, told)
    which = best(each, numbers, options.objective)
    if which is None:
        raise ValueError(f"no parameters of the search have a {options.objective}")
    given = {**job.strategy(each[which]).given}
    return [job.run(each[which])], {
        "parameters": given,
        "objective": options.objective,
        "searched": len(each),
        "impossible": sum(one is None for one in numbers),
        "sweep": _ranked(each, numbers, options.objective),
    }


def _ranked(
    each: Sequence[Given], numbers: Sequence[Score], objective: str
) -> list[dict[str, Any]]:
    """Return the runs that have a number, best first, as they stand in the search where equal."""
    rows: list[dict[str, Any]] = []
    for given, one in zip(each, numbers, strict=True):
        if one is not None and one[objective] is not None:
            shown = {name: one[name] for name in ("total_return", "max_drawdown", "trades")}
            rows.append({**given, objective: one[objective], **shown, "final": one["final"]})
    return sorted(rows, key=lambda row: -row[objective])


def _check(job: Job, options: Options, facts: dict[str, Any]) -> Exit:
    checks = {"look_ahead": look_ahead, "warm_up": warm_up}
    found = {name: checks[name](job, options.points) for name in options.check}
    for name, one in found.items():
        if not one.held:
            say(f"{name}: decisions differ at {one.differing} of {one.points} points")
    answer({**facts, **{name: one.plain() for name, one in found.items()}}, options.json)
    return Exit.HELD if all(one.held for one in found.values()) else Exit.DID_NOT_HOLD


@contextmanager
def _progress(what: str, total: int | None = None) -> Iterator[Callable[[], None]]:
    """Show how far it is, where a terminal is there."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)
