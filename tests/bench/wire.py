"""`bench wire`: raw messages of the venues, decoded, normalised and proven, beside cryptofeed.

A round gives every message of a capture to a fresh feed of ours (decoders, trade ids, books, frames
as they would be appended, `--batch` messages at a time, as a busy socket hands them over) and to a
fresh one of cryptofeed's (its handler, its books, callbacks that count) in its own environment;
both alternate. Seconds are the processor's: neither waits for anything, and what else runs on the
machine is no part of it. The captures are cryptofeed's own recordings.
"""

import argparse
import gzip
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from tests.bench.parts.beside import Beside
from tests.bench.rounds import answer, say, summary
from tidemill.streams.feeds import convert
from tidemill.streams.feeds.connections import PREFIX
from tidemill.streams.feeds.feed import Instruments
from tidemill.streams.feeds.frames import cut_flush
from tidemill.streams.feeds.intake import Intake
from tidemill.streams.feeds.registry import venue_of

CRYPTOFEED = "cryptofeed==2.4.1"
"""The newest with a wheel for Python 3.11."""
CHANNELS = "trades,l2_book,candles,ticker"
CAPTURES = Path(os.environ.get("TIDEMILL_DATA", "../shared/data")) / "captures_cryptofeed"


class Capture(NamedTuple):
    """One recording: our venue and product, cryptofeed's name of it, its symbols, its files."""

    venue: str
    product: str
    theirs: str
    symbols: str
    files: tuple[str, ...]


RECORDED = (
    Capture(
        "BINANCE",
        "SPOT",
        "BINANCE",
        "NKN-USDT,BLZ-ETH,LRC-BTC,RUNE-EUR",
        ("BINANCE.0", "BINANCE.http.0.0", "BINANCE.ws.1.0"),
    ),
    Capture(
        "BINANCE",
        "USDM",
        "BINANCE_FUTURES",
        "SUSHI-USDT-PERP,AKRO-USDT-PERP,KEEP-USDT-PERP,CTK-USDT-PERP",
        ("BINANCE_FUTURES.0", "BINANCE_FUTURES.http.0.0", "BINANCE_FUTURES.ws.1.0"),
    ),
)


def lines(name: str) -> list[bytes]:
    """Return the lines of a recorded file."""
    with gzip.open(CAPTURES / f"{name}.gz") as file:
        return list(file)


def ours(capture: Capture) -> list[convert.Line]:
    """Return the capture's lines as we record them."""
    return list(convert.merged((name, lines(name)) for name in capture.files))


def theirs(capture: Capture, folder: Path) -> int:
    """Write what cryptofeed_run.py reads; return how many messages there are."""
    symbols: list[Any] = []
    for line in lines(capture.files[0]):
        head, _, body = line.decode().strip().partition(": ")
        if body and head != "configuration":
            symbols.append(json.loads(body))
    rest: dict[str, list[str]] = {}
    for line in lines(capture.files[1]):
        url, arrow, told = line.decode().strip().partition(" -> ")
        if arrow:
            rest.setdefault(url, []).append(told.split(": ", 1)[1].split(" header: ")[0])
    messages = [
        line.decode().strip().replace(": ", " ", 1)
        for line in lines(capture.files[2])
        if line[:1].isdigit()
    ]
    (folder / "symbols.json").write_text(json.dumps(symbols))
    (folder / "rest.json").write_text(json.dumps(rest))
    (folder / "messages.jsonl").write_text("\n".join(messages) + "\n")
    return len(messages)


def once(capture: Capture, told: list[convert.Line], batch: int) -> dict[str, Any]:
    """Give all of a capture to a fresh feed; only the socket's messages are timed."""
    venue = venue_of(capture.venue, capture.product)
    intake = Intake(venue, Instruments(infer=venue.infer))
    seconds, sequence, messages = 0.0, 1, 0
    queue: list[convert.Line] = []

    def flush() -> None:
        nonlocal seconds, sequence, messages
        if not queue:
            return
        received, raws = zip(*queue, strict=True)
        began = time.process_time()
        sequence += len(cut_flush(intake.take(received, raws), sequence))
        seconds += time.process_time() - began
        messages += len(raws)
        queue.clear()

    for line in told:
        if line[1].startswith((PREFIX, b'{"stream":"rest:')):
            flush()
            intake.take([line[0]], [line[1]])
            continue
        queue.append(line)
        if len(queue) == batch:
            flush()
    flush()
    books = [track.state.name for track in intake.books.tracks.values()]
    return {
        "seconds": seconds,
        "messages": messages,
        "counts": dict(intake.counts),
        "events": dict(intake.events),
        "books": books,
    }


def alternate(capture: Capture, rounds: int, batch: int) -> dict[str, Any]:
    """Warm up, then alternate; return medians, spread, and the ratio round by round."""
    told = ours(capture)
    mine, other, found = [], [], {}
    with tempfile.TemporaryDirectory() as name:
        count = theirs(capture, Path(name))
        arguments = [capture.theirs, CHANNELS, capture.symbols, name]
        beside = Beside(CRYPTOFEED, "cryptofeed_run.py", arguments, Path(name))
        try:
            for number in range(rounds + 1):
                found = once(capture, told, batch)
                assert found["messages"] == count, "the two do not read the same messages"
                reply = beside.round()
                if number:
                    mine.append(count / found["seconds"])
                if number and reply is not None:
                    other.append(count / reply["cpu_seconds"])
        finally:
            beside.close()
    say(f"{capture.venue} {capture.product}: {found}; cryptofeed called back {reply}")
    ratios = [a / b for a, b in zip(mine, other, strict=bool(other))]
    return {
        "messages": count,
        "messages_per_s": summary(mine),
        "cryptofeed_messages_per_s": summary(other) if other else None,
        "ratio": summary(ratios, 2) if ratios else None,
        **({"why": beside.why} if beside.why else {}),
    }


def bench(options: argparse.Namespace) -> None:
    """Run every capture and print the result."""
    found = {
        f"{c.venue} {c.product}": alternate(c, options.rounds, options.batch) for c in RECORDED
    }
    ratios = [one["ratio"]["median"] for one in found.values() if one["ratio"]]
    answer(
        {
            "vs_cryptofeed": min(ratios, default=None),
            "batch": options.batch,
            "rounds": options.rounds,
            "version": CRYPTOFEED,
            "captures": found,
            "load_average": round(os.getloadavg()[0], 2),
        }
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="tidemill bench wire", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--batch", type=int, default=512, help="messages at a time")
    parser.add_argument("--json", action="store_true", help="accepted; the result always is")
    bench(parser.parse_args())


if __name__ == "__main__":
    main()
