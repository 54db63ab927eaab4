"""The command line: `tidemill COMMAND`. Commands load what they need when they run."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from tidemill.deploy.kernels import keep_kernels

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Event-sourced streaming engine for crypto markets on NATS JetStream.",
)

DataDir = Annotated[Path, typer.Option("--data-dir", help="Where a run keeps everything.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")]
AsOf = Annotated[
    str, typer.Option("--as-of", help="A position, or a time (ISO 8601 or ns UTC); else now.")
]
DATA_DIR = Path(".tidemill")


@app.command()
def demo(
    seconds: Annotated[float, typer.Option(min=1, help="How long to run.")] = 30.0,
    data_dir: DataDir = DATA_DIR,
    live: Annotated[bool, typer.Option("--live", help="The real venues, not simulated.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Run until stopped.")] = False,
    load: Annotated[int, typer.Option(min=0, help="Synthetic trades a second besides.")] = 0,
    json: Json = False,
) -> None:
    """Run everything on this machine and show what flows."""
    from tidemill.deploy.commands import demo as command
    from tidemill.deploy.commands.output import run

    options = command.Options(None if keep else seconds, data_dir, live, load, json)
    run(command.demo(options))


@app.command()
def up(data_dir: DataDir = DATA_DIR) -> None:
    """Run what the configuration names (TIDEMILL_FEEDS) until stopped."""
    from tidemill.deploy.commands import up as command
    from tidemill.deploy.commands.output import run

    run(command.up(data_dir))


@app.command("run")
def run_role(
    role: Annotated[
        str, typer.Argument(help="feeds, time, graph, projections, queries, live, archive")
    ],
    names: Annotated[list[str] | None, typer.Argument(help="Which of them.")] = None,
    shard: Annotated[str, typer.Option(help="This shard of how many, as 0/2.")] = "0/1",
    host: Annotated[str, typer.Option(help="Where queries and live listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535)] = 0,
) -> None:
    """Run one role; where the servers are comes from the environment."""
    from tidemill.deploy.commands import role as command
    from tidemill.deploy.commands.output import run

    run(command.role(role, tuple(names or ()), shard, host, port))


@app.command()
def migrate(
    apply: Annotated[bool, typer.Option("--apply", help="Make it so.")] = False,
    data_dir: DataDir = DATA_DIR,
    json: Json = False,
) -> None:
    """Show how streams and tables differ from what this version declares; change when told."""
    from tidemill.deploy.commands import migrate as command
    from tidemill.deploy.commands.output import run

    run(command.migrate(data_dir, apply, json))


@app.command()
def replay(
    files: Annotated[list[Path], typer.Argument(help="Captures, in order.")],
    venue: Annotated[str, typer.Option()] = "BINANCE",
    product: Annotated[str, typer.Option()] = "SPOT",
    speed: Annotated[Literal["max"], typer.Option(help="Time comes from the capture.")] = "max",
    memory: Annotated[bool, typer.Option("--memory", help="No servers at all.")] = False,
    shards: Annotated[int, typer.Option(min=1, max=64)] = 1,
    graphs: Annotated[Literal["fused", "split"], typer.Option()] = "fused",
    data_dir: DataDir = DATA_DIR,
    json: Json = False,
) -> None:
    """Play captures through the engine; print counts, gaps and digests."""
    from tidemill.deploy.commands import replay as command
    from tidemill.deploy.commands.output import run

    options = command.Options(tuple(files), venue, product, memory, shards, graphs, data_dir, json)
    run(command.replay(options))


@app.command()
def record(
    directory: Annotated[Path, typer.Argument(help="Where captures go.")],
    venue: Annotated[str, typer.Option()] = "BINANCE",
    product: Annotated[str, typer.Option()] = "SPOT",
    symbols: Annotated[str, typer.Option(help="Separated by commas.")] = "BTCUSDT",
    websocket: Annotated[str, typer.Option(help="Default: the venue's own.")] = "",
    rest: Annotated[str, typer.Option(help="Default: the venue's own.")] = "",
    seconds: Annotated[float | None, typer.Option(min=1)] = None,
    connections: Annotated[
        int, typer.Option(min=1, max=4, help="How many carry every symbol at once.")
    ] = 1,
    json: Json = False,
) -> None:
    """Write what a venue sends to captures."""
    from tidemill.deploy.commands import record as command
    from tidemill.deploy.commands.output import run

    wanted = tuple(symbols.split(","))
    options = command.Options(
        directory, venue, product, wanted, websocket, rest, seconds, connections, json
    )
    run(command.record(options))


@app.command()
def convert(
    files: Annotated[list[Path], typer.Argument(help="Captures as cryptofeed writes them.")],
    out: Annotated[Path, typer.Option("--out", help="The directory that captures are written to.")],
    json: Json = False,
) -> None:
    """Make captures of cryptofeed's: one for all files whose names begin alike."""
    from tidemill.deploy.commands import convert as command
    from tidemill.deploy.commands.output import run

    run(command.convert(command.Options(tuple(files), out, json)))


@app.command()
def tail(
    subject: Annotated[str, typer.Argument(help="As 'bars.1m.>' or 'md.trade.*.BTCUSDT.*'.")],
    last: Annotated[int, typer.Option(min=0, help="Begin so many messages back.")] = 0,
    count: Annotated[int, typer.Option(min=0, help="End after so many; 0: go on.")] = 0,
    data_dir: DataDir = DATA_DIR,
) -> None:
    """Show frames and events as JSON lines."""
    from tidemill.deploy.commands import tail as command
    from tidemill.deploy.commands.output import run

    run(command.tail(subject, last, count, data_dir))


@app.command()
def why(
    event: Annotated[str, typer.Argument(help="bars:123456,0,7 (_r,_i,_n), OUT:99 or LOG:99.")],
    frames: Annotated[int, typer.Option(min=2, help="Frames listed of one input.")] = 20,
    data_dir: DataDir = DATA_DIR,
    json: Json = False,
) -> None:
    """Say why a row or event is as it is: what made it, of what, down to the raw frames."""
    from tidemill.deploy.commands import why as command
    from tidemill.deploy.commands.output import run

    run(command.why(event, frames, data_dir, json))


@app.command("hash")
def hash_(
    tables: Annotated[list[str] | None, typer.Argument(help="Names, or as bars__v2.")] = None,
    as_of: AsOf = "",
    data_dir: DataDir = DATA_DIR,
    json: Json = False,
) -> None:
    """Print the digest of tables as the databases hold them."""
    from tidemill.deploy.commands import verify as command
    from tidemill.deploy.commands.output import run

    options = command.Options(tuple(tables or ()), as_of, data_dir, json)
    run(command.hash_tables(options))


@app.command()
def verify(
    tables: Annotated[list[str] | None, typer.Argument(help="Names, or as bars__v2.")] = None,
    as_of: AsOf = "",
    data_dir: DataDir = DATA_DIR,
    json: Json = False,
) -> None:
    """Recompute tables from the log and compare them with the databases; say where they differ."""
    from tidemill.deploy.commands import verify as command
    from tidemill.deploy.commands.output import run

    options = command.Options(tuple(tables or ()), as_of, data_dir, json)
    run(command.verify(options))


@app.command()
def rebuild(
    tables: Annotated[
        list[str] | None, typer.Argument(help="Names (their newest version), or as bars__v2.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Fill again, in place, whatever the databases lost.")
    ] = False,
    swap: Annotated[
        bool, typer.Option("--swap", help="When caught up and equal, let them answer.")
    ] = False,
    differs: Annotated[
        bool, typer.Option("--differs", help="Swap without comparing: a formula has changed.")
    ] = False,
    data_dir: DataDir = DATA_DIR,
    json: Json = False,
) -> None:
    """Make tables from the log alone, beside those that answer queries; Ctrl-C and go on later."""
    from tidemill.deploy.commands import rebuild as command
    from tidemill.deploy.commands.output import run

    names = tuple(tables or ())
    run(command.rebuild(command.Options(names, everything, swap, differs, data_dir, json)))


@app.command()
def versions(data_dir: DataDir = DATA_DIR, json: Json = False) -> None:
    """List the physical tables: which answer queries, how far they are, how many rows."""
    from tidemill.deploy.commands import versions as command
    from tidemill.deploy.commands.output import run

    run(command.versions(data_dir, json))


@app.command()
def swap(
    tables: Annotated[list[str], typer.Argument(help="As bars__v2 latest_bars__v2.")],
    back: Annotated[
        bool, typer.Option("--back", help="Of these names, what answered before.")
    ] = False,
    differs: Annotated[
        bool, typer.Option("--differs", help="Without comparing: a formula has changed.")
    ] = False,
    data_dir: DataDir = DATA_DIR,
    json: Json = False,
) -> None:
    """Let physical tables answer queries, of both databases, all at once; or go back."""
    from tidemill.deploy.commands import versions as command
    from tidemill.deploy.commands.output import run

    run(command.swap_tables(tuple(tables), back, differs, data_dir, json))


@app.command()
def retire(
    tables: Annotated[
        list[str], typer.Argument(help="As bars__v1; of a name, all that do not answer.")
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    data_dir: DataDir = DATA_DIR,
    json: Json = False,
) -> None:
    """Drop physical tables that do not answer queries."""
    from tidemill.deploy.commands import retire as command
    from tidemill.deploy.commands.output import run

    run(command.retire(tuple(tables), yes, data_dir, json))


@app.command()
def dlq(
    action: Annotated[Literal["ls", "show", "drop", "retry"], typer.Argument()],
    processor: Annotated[str, typer.Argument(help="Whose dead letters.")] = "",
    r: Annotated[int, typer.Argument(help="Which record.")] = 0,
    reason: Annotated[str, typer.Option(help="Why it is dropped or tried again.")] = "",
    data_dir: DataDir = DATA_DIR,
    json: Json = False,
) -> None:
    """List and show dead letters; drop one, or let its parked key go on."""
    from tidemill.deploy.commands import dlq as command
    from tidemill.deploy.commands.output import run

    run(command.dlq(action, processor, r, reason, data_dir, json))


@app.command()
def trim(
    keep: Annotated[str, typer.Option(help="What stays: 7d, 12h, 30m, or a number of records.")],
    seal: Annotated[bool, typer.Option("--seal", help="Seal what may go first.")] = False,
    data_dir: DataDir = DATA_DIR,
    json: Json = False,
) -> None:
    """Delete from LOG what the archive holds and every reader is past; reading goes on as ever."""
    from tidemill.deploy.commands import trim as command
    from tidemill.deploy.commands.output import run

    run(command.trim(keep, seal, data_dir, json))


@app.command()
def repair(
    yes: Annotated[
        bool, typer.Option("--yes", help="Do it; else only say what is lacking.")
    ] = False,
    data_dir: DataDir = DATA_DIR,
    json: Json = False,
) -> None:
    """Feed LOG again from its archive, where LOG lost what was sealed; stop all roles before."""
    from tidemill.deploy.commands import repair as command
    from tidemill.deploy.commands.output import run

    run(command.repair(yes, data_dir, json))


@app.command()
def deploy(data_dir: DataDir = DATA_DIR, json: Json = False) -> None:
    """Append the fact that this code is the one that may write from here on."""
    from tidemill.deploy.commands import deployment as command
    from tidemill.deploy.commands.output import run

    run(command.deploy(data_dir, json))


@app.command()
def fees(
    venue: str,
    product: str,
    taker_ppm: Annotated[int, typer.Argument(help="Millionths of the notional; 1000 is 0.1 %.")],
    maker_ppm: Annotated[int, typer.Argument(help="The same for a maker; below 0 for a rebate.")],
    data_dir: DataDir = DATA_DIR,
    json: Json = False,
) -> None:
    """Append the fact of what a venue's product costs from here on."""
    from tidemill.deploy.commands import fees as command
    from tidemill.deploy.commands.output import run
    from tidemill.schemas.errors import Unreadable
    from tidemill.schemas.events.fees import FeesDefined

    said = {"venue": venue, "product": product, "taker_ppm": taker_ppm, "maker_ppm": maker_ppm}
    try:
        event = FeesDefined.read(said)
    except Unreadable as error:
        raise typer.BadParameter(str(error)) from error
    run(command.fees(event, data_dir, json))


@app.command()
def backtest(
    strategy: Annotated[
        str, typer.Argument(help="rsi, macd, bollinger, ema_cross, sma_cross, or a FILE.py.")
    ],
    symbol: Annotated[list[str] | None, typer.Option(help="As BTCUSDT.BINANCE; repeat.")] = None,
    data: Annotated[
        list[Path] | None, typer.Option(help="Bars or trades, CSV, JSON, Parquet; one a symbol.")
    ] = None,
    archive: Annotated[str, typer.Option(help="Trades of LOG's archive, here or s3://.")] = "",
    nats: Annotated[str, typer.Option(help="Trades of LOG itself, not sealed yet.")] = "",
    interval: Annotated[str, typer.Option(help="Of the bars that trades make.")] = "1m",
    lot: Annotated[str, typer.Option(help="Smallest quantity.")] = "0.00001",
    set_: Annotated[list[str] | None, typer.Option("--set", help="period=14; repeat.")] = None,
    sweep: Annotated[list[str] | None, typer.Option(help="period=5:50:5; repeat.")] = None,
    random: Annotated[int, typer.Option(min=0, help="So many draws, not the whole grid.")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Of the draws.")] = 0,
    objective: Annotated[str, typer.Option(help="What a search is for.")] = "sharpe",
    walk_forward: Annotated[
        str, typer.Option(help="train:test in bars: choose on one stretch, use on the next.")
    ] = "",
    processes: Annotated[int, typer.Option(min=0, help="0: one a processor.")] = 0,
    initial: Annotated[str, typer.Option(help="Money to begin with.")] = "10000",
    taker_ppm: Annotated[int, typer.Option(help="Millionths; 1000 is 0.1 %.")] = 1_000,
    maker_ppm: Annotated[int, typer.Option(help="The same; below 0 for a rebate.")] = 1_000,
    slippage_ppm: Annotated[int, typer.Option(help="Against whoever takes.")] = 500,
    latency_ms: Annotated[int, typer.Option(min=0, help="Until a venue has an order.")] = 0,
    fraction: Annotated[float, typer.Option(help="Of equity in a full position.")] = 1.0,
    quantity: Annotated[str, typer.Option(help="Of a full position, instead.")] = "",
    short: Annotated[bool, typer.Option("--short", help="Sell short too.")] = False,
    stop_loss: Annotated[float, typer.Option(min=0, help="Percent below the entry.")] = 0.0,
    take_profit: Annotated[float, typer.Option(min=0, help="Percent above it.")] = 0.0,
    fill_at: Annotated[Literal["open", "close"], typer.Option(help="Market orders.")] = "open",
    limits: Annotated[Literal["touch", "through"], typer.Option(help="When they fill.")] = "touch",
    look_ahead: Annotated[bool, typer.Option("--look-ahead", help="Check it instead.")] = False,
    warm_up: Annotated[bool, typer.Option("--warm-up", help="Check it instead.")] = False,
    points: Annotated[int, typer.Option(min=1, help="Places that a check looks at.")] = 20,
    out: Annotated[Path | None, typer.Option(help="Folder of the report.")] = None,
    json: Json = False,
) -> None:
    """Run a strategy over what was: searched, walked forward, checked for bias, reported."""
    from tidemill.deploy.commands import backtest as command
    from tidemill.deploy.commands.output import run

    with command.usage():
        rules = command.rules(
            (initial, quantity),
            (taker_ppm, maker_ppm, slippage_ppm, latency_ms),
            (fraction, stop_loss, take_profit),
            short=short,
            fill_at=fill_at,
            limits=limits,
        )
        where = command.sources(symbol or [], data or [], archive, nats, interval, lot)
    checks = command.checks(look_ahead, warm_up)
    search = tuple(set_ or ()), tuple(sweep or ()), random, seed, objective, walk_forward
    options = command.Options(strategy, where, rules, *search, processes, checks, points, out, json)
    run(command.backtest(options))


@app.command()
def indicators(
    name: Annotated[str, typer.Argument(help="Name of the set; without one, list all.")] = "",
    asked: Annotated[
        list[str] | None, typer.Argument(help="As sma(20) 'macd(12,26,9)' obv.")
    ] = None,
    on: Annotated[str, typer.Option(help="BTCUSDT.BINANCE, *.BINANCE or *, with commas.")] = "*",
    bars: Annotated[str, typer.Option(help="1m, 1h, tick, ..., with commas.")] = "1m",
    remove: Annotated[bool, typer.Option("--remove", help="End the set.")] = False,
    data_dir: DataDir = DATA_DIR,
    json: Json = False,
) -> None:
    """Append the fact of a set of indicators that runs from here on; or list the sets."""
    from tidemill.deploy.commands import sets
    from tidemill.deploy.commands.output import run

    fields = {"instruments": on.split(","), "bars": bars.split(","), "indicators": asked}
    run(sets.change(sets.INDICATORS, name, fields if asked else None, remove, data_dir, json))


@app.command()
def activity_bars(
    name: Annotated[str, typer.Argument(help="Name of the set; without one, list all.")] = "",
    asked: Annotated[
        list[str] | None, typer.Argument(help="As 1000-TICK 0.5-RENKO VALUE_RUNS.")
    ] = None,
    on: Annotated[str, typer.Option(help="BTCUSDT.BINANCE, *.BINANCE or *, with commas.")] = "*",
    remove: Annotated[bool, typer.Option("--remove", help="End the set.")] = False,
    data_dir: DataDir = DATA_DIR,
    json: Json = False,
) -> None:
    """Append the fact of bars by what was traded, made from here on; or list the sets."""
    from tidemill.deploy.commands import sets
    from tidemill.deploy.commands.output import run

    fields = {"instruments": on.split(","), "bars": asked}
    run(sets.change(sets.ACTIVITY_BARS, name, fields if asked else None, remove, data_dir, json))


@app.command()
def composites(
    name: Annotated[str, typer.Argument(help="Name of the composite; without one, list all.")] = "",
    members: Annotated[
        list[str] | None,
        typer.Argument(help="As BTCUSDT.BINANCE BTC-USDT.OKX: open and close are the first one's."),
    ] = None,
    bars: Annotated[str, typer.Option(help="1s, 1m, 5m, 15m, 1h, 4h, 1d, with commas.")] = "1m",
    instrument: Annotated[
        str, typer.Option("--as", help="BTCUSDT.COMPOSITE; the pair's name where it is not given.")
    ] = "",
    hold: Annotated[
        int, typer.Option(help="Seconds after a bar's end that a late member is waited for.")
    ] = 5,
    remove: Annotated[bool, typer.Option("--remove", help="End the composite.")] = False,
    data_dir: DataDir = DATA_DIR,
    json: Json = False,
) -> None:
    """Append the fact of bars of one pair over venues, made from here on; or list them."""
    from tidemill.deploy.commands import composites as command
    from tidemill.deploy.commands.output import run

    fields = {
        "instrument": instrument,
        "members": members,
        "bars": bars.split(","),
        "hold_s": hold,
    }
    run(command.change(name, fields if members else None, remove, data_dir, json))


@app.command()
def screens(
    name: Annotated[str, typer.Argument(help="Name of the screen; without one, list all.")] = "",
    condition: Annotated[
        str, typer.Argument(help="As 'rsi(14) < 30 and close > sma(200)', or a strategy's name.")
    ] = "",
    on: Annotated[str, typer.Option(help="BTCUSDT.BINANCE, *.BINANCE or *, with commas.")] = "*",
    bars: Annotated[str, typer.Option(help="1m, 15m, tick, ...; 1m, or the strategy's.")] = "",
    score: Annotated[bool, typer.Option("--score", help="Say the score of every bar.")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="End the screen.")] = False,
    data_dir: DataDir = DATA_DIR,
    json: Json = False,
) -> None:
    """Append the fact of a screen that runs from here on; or list screens and strategies."""
    from tidemill.deploy.commands import sets
    from tidemill.deploy.commands.output import run

    strategy = sets.SCREENS.known.get(condition, {"condition": condition, "bars": ""})
    fields = {
        "instruments": on.split(","),
        "bars": bars or strategy["bars"] or "1m",
        "condition": strategy["condition"],
    }
    wanted = fields if bool(condition) != score else None
    run(sets.change(sets.SCREENS, name, wanted, remove, data_dir, json))


@app.command()
def anomalies(
    name: Annotated[str, typer.Argument(help="Name of the set; without one, list all.")] = "",
    detectors: Annotated[
        list[str] | None,
        typer.Argument(
            help="As 'return_z(60)' volume_z range_z pump_and_dump half_space_trees flash_crash."
        ),
    ] = None,
    on: Annotated[str, typer.Option(help="BTCUSDT.BINANCE, *.BINANCE or *, with commas.")] = "*",
    bars: Annotated[str, typer.Option(help="1m, 15m, tick, ...")] = "1m",
    remove: Annotated[bool, typer.Option("--remove", help="End the set.")] = False,
    data_dir: DataDir = DATA_DIR,
    json: Json = False,
) -> None:
    """Append the fact of detectors of anomalies that run from here on; or list them."""
    from tidemill.deploy.commands import sets
    from tidemill.deploy.commands.output import run

    fields = {"instruments": on.split(","), "bars": bars, "detectors": detectors}
    wanted = fields if detectors else None
    run(sets.change(sets.ANOMALIES, name, wanted, remove, data_dir, json))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def bench(context: typer.Context, name: str) -> None:
    """Run a benchmark: pipeline, rebuild, replay, backtest, latency, verify, growth, and more."""
    from tidemill.deploy.commands import bench as command

    command.bench(name, context.args)


@app.command()
def backup(
    directory: Annotated[Path, typer.Argument(help="Where the backup goes, or is made current.")],
    data_dir: DataDir = DATA_DIR,
    json: Json = False,
) -> None:
    """Write all of LOG and the ledger of versions to a directory; everything else is made again."""
    from tidemill.deploy.commands import backup as command
    from tidemill.deploy.commands.output import run

    run(command.backup(directory, data_dir, json))


@app.command()
def restore(
    directory: Annotated[Path, typer.Argument(help="A backup.")],
    data_dir: DataDir = DATA_DIR,
    json: Json = False,
) -> None:
    """Make a run on an empty data directory from a backup: LOG as it was, then every table."""
    from tidemill.deploy.commands import backup as command
    from tidemill.deploy.commands.output import run

    run(command.restore(directory, data_dir, json))


@app.command()
def status(data_dir: DataDir = DATA_DIR, json: Json = False) -> None:
    """Show every stream, reader and table: how far each is, how fast, how large."""
    from tidemill.deploy.commands import status as command
    from tidemill.deploy.commands.output import run

    run(command.status(data_dir, json))


@app.command()
def urls(data_dir: DataDir = DATA_DIR, json: Json = False) -> None:
    """Print where the servers of a run listen, as URLs to log in by."""
    from tidemill.deploy.commands import urls as command
    from tidemill.deploy.commands.output import run

    run(command.urls(data_dir, json))


@app.command()
def doctor(data_dir: DataDir = DATA_DIR, json: Json = False) -> None:
    """Say what is wrong on this machine and what to do."""
    from tidemill.deploy.commands import doctor as command
    from tidemill.deploy.commands.output import run

    run(command.doctor(data_dir, json))


def main() -> None:
    """Run the command line."""
    keep_kernels()
    app()


if __name__ == "__main__":
    main()
