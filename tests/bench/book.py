"""`bench book`: the book at random positions of the past, over millions of level records.

LOG (in memory) holds `--levels` synthetic records of books of 8 instruments, 1,000 levels a side;
the engine derives from it, ordinary sinks fill the tables. Then each round asks the route of the
order book for `--places` random records of the past, one after the other, uncached, 100 levels a
side; beside it the book of now. The answers are compared with a dictionary that was kept while LOG
was made.
"""

import argparse
import asyncio
import itertools
import random
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx2

from tests.bench.parts.books import PRICE_EXPONENT, QUANTITY_EXPONENT, Books
from tests.bench.rounds import answer, say, summary
from tidemill.deploy.embedded.servers import ServerUrls
from tidemill.deploy.prepared import databases, prepared
from tidemill.deploy.replaying import step
from tidemill.deploy.tables import fill
from tidemill.gateway.queries.app import create_app
from tidemill.gateway.queries.settings import QueriesSettings
from tidemill.projections.clickhouse.client import ClickHouse
from tidemill.projections.registry import TABLES
from tidemill.schemas import kinds
from tidemill.schemas.decimals import text_of
from tidemill.schemas.enums import OrderSide
from tidemill.streams.memory import MemoryLog
from tidemill.streams.subjects import LOG_SUBJECTS, OUT_SUBJECTS

SYMBOLS = tuple(f"{base}USDT" for base in ("BTC", "ETH", "SOL", "BNB", "XRP", "ADA", "LTC", "DOT"))
DEPTH, CHANGES, LIMIT, KEPT_MAX = 1_000, 60, 100, 200
Sides = tuple[list[list[str]], list[list[str]]]
Place = tuple[str, int]


class Kept:
    """Books as a dictionary of levels, and what stood at places drawn while LOG was made."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.levels: dict[str, dict[tuple[int, int], int]] = {symbol: {} for symbol in SYMBOLS}
        self.stood: dict[Place, Sides] = {}

    def take(self, r: int, subject: str, payload: bytes, share: float) -> None:
        """Take a message of LOG; note with probability `share` what stands after it."""
        if not subject.startswith("md.book."):
            return
        symbol = subject.split(".")[3]
        levels = self.levels[symbol]
        records = kinds.decode(payload).records
        for side, price, quantity in records[["side", "price", "quantity"]].tolist():
            if quantity:
                levels[side, price] = quantity
            else:
                levels.pop((side, price), None)
        if len(self.stood) < KEPT_MAX and self.random.random() < share:
            self.stood[symbol, r] = self._sides(levels)

    def _sides(self, levels: dict[tuple[int, int], int]) -> Sides:
        sides = []
        for of, down in ((OrderSide.BUY, True), (OrderSide.SELL, False)):
            best = sorted((p for s, p in levels if s == of), reverse=down)[:LIMIT]
            sides.append(
                [
                    [_plain(p, PRICE_EXPONENT), _plain(levels[of, p], QUANTITY_EXPONENT)]
                    for p in best
                ]
            )
        return sides[0], sides[1]


def _plain(mantissa: int, exponent: int) -> str:
    return text_of(mantissa, exponent).rstrip("0").rstrip(".")


async def logs(levels: int, kept: Kept) -> tuple[MemoryLog, MemoryLog]:
    """LOG with the books, and OUT with what the graph makes of it."""
    log, out = MemoryLog("LOG", LOG_SUBJECTS), MemoryLog("OUT", OUT_SUBJECTS)
    books, r = Books(SYMBOLS, DEPTH, CHANGES), 0
    share = 1.2 * KEPT_MAX * CHANGES / levels
    for batch in itertools.chain([books.opening()], books.facts(levels)):
        await log.append(batch, None)
        for subject, payload in batch:
            r += 1
            kept.take(r, subject, payload, share if r > levels // CHANGES // 50 else 0)
    await step(log, out)
    return log, out


async def asked(client: httpx2.AsyncClient, symbol: str, **parameters: Any) -> tuple[float, Any]:
    """Ask for a book; return how long it took in ms, and what it is."""
    began = time.perf_counter()
    answered = await client.get(f"/api/market-data/orderbook/{symbol}", params=parameters)
    took = (time.perf_counter() - began) * 1e3
    body = answered.json()
    assert answered.status_code == 200, body
    return took, body["data"]


async def rounds_of(urls: ServerUrls, kept: Kept, places: int, rounds: int) -> dict[str, Any]:
    """Ask in rounds; return times in ms over all of them, the first round left out."""
    settings = QueriesSettings(
        clickhouse_reader=urls.clickhouse_reader, postgres_reader=urls.postgres_reader
    )
    app = create_app(settings)
    past: list[float] = []
    now: list[float] = []
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://q") as client,
    ):
        for number in range(rounds + 1):
            drawn = kept.random.sample(sorted(kept.stood), min(places, len(kept.stood)))
            times = []
            for symbol, r in drawn:
                took, book = await asked(client, symbol, as_of=str(r), limit=LIMIT)
                assert (book["bids"], book["asks"]) == kept.stood[symbol, r], (symbol, r)
                times.append(took)
            newest = [(await asked(client, symbol, limit=LIMIT))[0] for symbol in SYMBOLS]
            say(f"round {number}: {summary(times, 1)}" + (" (warm-up)" if not number else ""))
            if number:
                past += times
                now += newest
    past.sort()
    return {
        "past_ms": summary(past, 1),
        "past_p99_ms": round(past[int(0.99 * (len(past) - 1))], 1),
        "now_ms": summary(now, 1),
        "positions": len(past),
    }


async def sizes(clickhouse: ClickHouse) -> dict[str, dict[str, float]]:
    """Rows of the tables of books, and bytes on disk of each of them."""
    names = [TABLES[n].physical for n in ("book_levels", "book_snapshots", "book_metrics")]
    names.append(TABLES["top_levels"].physical)
    for name in names:
        await clickhouse.command(f"OPTIMIZE TABLE {name} FINAL")
    rows = await clickhouse.query(
        "SELECT name, total_rows, total_bytes FROM system.tables"
        " WHERE name IN {names:Array(String)}",
        {"names": names},
    )
    return {
        name: {"rows": count, "bytes_per_row": round(size / count, 2)} for name, count, size in rows
    }


async def bench(levels: int, places: int, rounds: int) -> None:
    """Run it all and print the result."""
    kept = Kept(7)
    began = time.perf_counter()
    log, out = await logs(levels, kept)
    say(f"LOG and OUT: {time.perf_counter() - began:.0f} s")
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        urls = await stack.enter_async_context(prepared(folder))
        pool, clickhouse = await stack.enter_async_context(databases(urls))
        began = time.perf_counter()
        await fill(pool, clickhouse, log, out)
        say(f"tables: {time.perf_counter() - began:.0f} s")
        found = await rounds_of(urls, kept, places, rounds)
        tables = await sizes(clickhouse)
        answer({**found, "rounds": rounds, "levels_a_side": DEPTH, "tables": tables})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--levels", type=int, default=5_000_000)
    parser.add_argument("--places", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="accepted; the result is always JSON")
    options = parser.parse_args()
    asyncio.run(bench(options.levels, options.places, options.rounds))


if __name__ == "__main__":
    main()
