"""cryptofeed's decoders and books on raw messages: a program for an environment of its own.

    python cryptofeed_run.py VENUE CHANNELS SYMBOLS FOLDER

FOLDER has ``symbols.json`` (the venue's answers about its instruments, a list), ``rest.json``
(answers of its snapshots, by URL, lists) and ``messages.jsonl`` (``<receive time in s> <JSON>``).
CHANNELS are its names (l2_book,trades), SYMBOLS its own (BTC-USDT). For each line on standard input
it makes a new feed and gives it every message once, with callbacks that only count; the answer is
one line of JSON: seconds and CPU seconds of the handler alone, messages, and what was called back.
Made for 2.4.1, the newest for Python 3.11.
"""

import asyncio
import json
import sys
import time
from collections import Counter, defaultdict
from functools import partial
from pathlib import Path
from typing import Any

from cryptofeed.connection import HTTPAsyncConn, HTTPSync
from cryptofeed.exchanges import EXCHANGE_MAP
from cryptofeed.symbols import Symbols


class Connection:
    """Stands for the socket: what is subscribed, and REST's answers."""

    conn_type = "wss"
    uuid = "1"

    def __init__(self, answers: dict[str, list[str]]) -> None:
        self.answers = {url: list(bodies) for url, bodies in answers.items()}
        self.cache: dict[str, list[Any]] = defaultdict(list)
        self.subscription: dict[str, list[str]] = {}

    async def write(self, *_: Any, **__: Any) -> None:
        """Subscribing asks nothing here."""

    async def read(self, url: str, **_: Any) -> str:
        """Return the next answer of `url`."""
        return self.answers[url].pop(0)


async def once(
    venue: str, channels: list[str], symbols: list[str], folder: Path, messages: list[Any]
) -> dict[str, Any]:
    """Run a new feed over all messages."""
    listed = json.loads((folder / "symbols.json").read_text())
    connection = Connection(json.loads((folder / "rest.json").read_text()))
    HTTPAsyncConn.read = connection.read
    HTTPSync.read = lambda *_, **__: listed.pop(0)
    Symbols.data = {}
    counted: Counter[str] = Counter()

    async def called(*_: Any, channel: str) -> None:
        counted[channel] += 1

    feed = EXCHANGE_MAP[venue](
        candle_closed_only=True,
        subscription={channel: symbols for channel in channels},
        callbacks={channel: partial(called, channel=channel) for channel in channels},
    )
    connection.subscription = {
        feed.std_channel_to_exchange(channel): [
            feed.std_symbol_to_exchange_symbol(symbol) for symbol in symbols
        ]
        for channel in channels
    }
    for _, subscribe, read, _ in feed.connect():
        handler = read
        await subscribe(connection)
    began, cpu = time.perf_counter(), time.process_time()
    for received, message in messages:
        await handler(message, connection, received)
    seconds, used = time.perf_counter() - began, time.process_time() - cpu
    feed.stop()
    await feed.shutdown()
    return {
        "seconds": seconds,
        "cpu_seconds": used,
        "messages": len(messages),
        "called": dict(counted),
    }


def main() -> None:
    """Answer every line of standard input with one run."""
    venue, channels, symbols, folder = sys.argv[1:]
    with (Path(folder) / "messages.jsonl").open() as lines:
        parted = (line.rstrip("\n").split(" ", 1) for line in lines)
        messages = [(float(received), message) for received, message in parted]
    names = channels.split(","), symbols.split(",")
    for _ in sys.stdin:
        print(json.dumps(asyncio.run(once(venue, *names, Path(folder), messages))), flush=True)


main()
