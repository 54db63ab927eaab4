"""All simulated venues in this process, and an engine of real processes that lives with them.

The feeds and the projections are roles as a user runs them, on embedded servers; what came of it is
read from ClickHouse alone, as plain rows. The exchanges' memory is the truth.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from tidemill.deploy.children import environment, role
from tidemill.deploy.embedded.servers import EmbeddedServers, ServerUrls
from tidemill.deploy.exchange.exchange import Exchange, Opening
from tidemill.deploy.exchange.market import Market
from tidemill.deploy.exchange.server import listen
from tidemill.deploy.exchange.venues import exchange_of
from tidemill.deploy.prepared import prepare
from tidemill.deploy.roles.connections import streams
from tidemill.deploy.settings import FeedSettings
from tidemill.projections.clickhouse.client import ClickHouse
from tidemill.projections.registry import TABLES
from tidemill.schemas import kinds
from tidemill.schemas.enums import RecordFlag

SNAPSHOT, LAST = int(RecordFlag.SNAPSHOT), int(RecordFlag.LAST)
NAME = "BTCUSDT"
COMPARED = ("trades", "book_levels", "feed_events")
"""Tables that are compared with LOG, position by position."""
KINDS = {"trade": "trades", "book": "book_levels", "event": "feed_events"}
POLL_S = 0.5

Sides = dict[str, dict[int, int]]
"""Lots by price in ticks, by side."""


class Instrument(NamedTuple):
    """One that is traded: the feed's words for it, and the exchange's market."""

    venue: str
    product: str
    symbol: str
    market: Market

    def __repr__(self) -> str:
        return f"{self.symbol}.{self.venue}"


class Trade(NamedTuple):
    """A row of the table trades, or what it should be."""

    trade_id: int
    price: Decimal
    quantity: Decimal
    ts_event: int
    side: str


class Said(NamedTuple):
    """A row of feed_events of one instrument; `ts_from` and `ts_to` in ns, 0 where it has none."""

    r: int
    event: str
    reason: str
    first_id: int
    last_id: int
    ts_from: int
    ts_to: int


class Shown(NamedTuple):
    """What the tables say of a book from one root on: None is invalid."""

    r: int
    last_id: int
    sides: Sides | None


@asynccontextmanager
async def exchanges(
    traded: dict[str, dict[str, str]], rate: float
) -> AsyncIterator[tuple[list[Exchange], list[FeedSettings], list[Instrument]]]:
    """Every venue of `traded` (symbol by product by venue) on a port of its own, until the end of
    the block."""
    opened, feeds, instruments = [], [], []
    opening = Opening(seed=3, rate=rate, liquidation_share=0.002, trades_kept=1_000_000)
    async with AsyncExitStack() as stack:
        for venue, products in traded.items():
            exchange = exchange_of(
                venue, list(products), [NAME], lambda: time.time_ns() // 1_000, opening
            )
            server = await stack.enter_async_context(await listen(exchange, "127.0.0.1", 0))
            address = f"127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
            running = asyncio.create_task(exchange.run())
            stack.push_async_callback(_ended, running)
            opened.append(exchange)
            for product, symbol in products.items():
                instruments.append(
                    Instrument(venue, product, symbol, exchange.market(product, NAME))
                )
                feeds.append(
                    FeedSettings(
                        venue=venue,
                        product=product,
                        symbols=(symbol,),
                        websocket=f"ws://{address}",
                        rest=f"http://{address}",
                    )
                )
        yield opened, feeds, instruments


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def engine(directory: Path, feeds: Sequence[FeedSettings]) -> AsyncIterator[ServerUrls]:
    """Servers, the role feeds and the projections of what is compared, until the block ends."""
    async with EmbeddedServers(directory) as servers:
        await prepare(servers.urls)
        env = environment(servers.urls, directory, feeds, live_port=1)
        await servers.supervisor.start(
            role("feeds", ["feeds"], env),
            role("projections", ["projections", *COMPARED], env),
        )
        yield servers.urls


class Tables:
    """What ClickHouse holds up to root `last`, by instrument, in the order of the log."""

    def __init__(self, clickhouse: ClickHouse, last: int = 1 << 62) -> None:
        self._clickhouse = clickhouse
        self._last = last

    async def trades(self, one: Instrument) -> list[Trade]:
        """Every row, in order."""
        rows = await self._rows(
            "trades",
            "trade_id, price, quantity, toUnixTimestamp64Nano(ts_event), aggressor_side",
            one,
        )
        return [Trade(*row) for row in rows]

    async def said(self, one: Instrument) -> list[Said]:
        """What the feed said of it."""
        rows = await self._rows(
            "feed_events",
            "_r, event, reason, first_id, last_id, "
            "ifNull(toUnixTimestamp64Nano(ts_from), 0), ifNull(toUnixTimestamp64Nano(ts_to), 0)",
            one,
        )
        return [Said(*row) for row in rows]

    async def books(self, one: Instrument) -> Iterator[Shown]:
        """The book after every change and every gap, levels applied one by one."""
        tick, lot = 10**one.market.symbol.price_places, 10**one.market.symbol.qty_places
        levels = await self._rows(
            "book_levels",
            f"_r, _i, last_update_id, side, toInt64(price * {tick}), toInt64(quantity * {lot}), "
            f"flags, price * {tick} = toInt64(price * {tick}) "
            f"AND quantity * {lot} = toInt64(quantity * {lot})",
            one,
        )
        assert all(row[-1] for row in levels), "no price or quantity lies between ticks or lots"
        gaps = [gap.r for gap in await self.said(one) if gap.event == "BookGapDetected"]
        return _books(levels, gaps)

    async def valid_again(self, one: Instrument, since_ns: int) -> bool:
        """Whether trades and changes of a valid book came in that happened after `since_ns`."""
        gaps = [gap.r for gap in await self.said(one) if gap.event == "BookGapDetected"]
        rows = await self._rows(
            "book_levels",
            f"maxIf(_r, bitAnd(flags, {SNAPSHOT}) != 0), max(toUnixTimestamp64Nano(ts_event))",
            one,
            order="",
        )
        snapshot, changed = rows[0]
        traded = await self._rows("trades", "max(toUnixTimestamp64Nano(ts_event))", one, order="")
        return snapshot > max(gaps, default=0) and min(changed, traded[0][0]) > since_ns

    async def positions(self, table: str) -> list[tuple[int, int]]:
        """(root, index) of every row, in order."""
        return await self._clickhouse.query(
            f"SELECT _r, _i FROM {TABLES[table].physical} WHERE _r <= {self._last} "
            "ORDER BY _r, _i, _n"
        )

    async def _rows(
        self, table: str, columns: str, one: Instrument, order: str = "ORDER BY _r, _i, _n"
    ) -> list[Any]:
        return await self._clickhouse.query(
            f"SELECT {columns} FROM {TABLES[table].physical} WHERE _r <= {self._last} "
            f"AND symbol = '{one.symbol}' AND venue = '{one.venue}' {order}"
        )


def _books(levels: Sequence[Any], gaps: Sequence[int]) -> Iterator[Shown]:
    """Apply levels as schemas say: cleared where a snapshot begins, valid after its last level,
    until a gap."""
    waiting = list(gaps)
    sides: Sides = {"BUY": {}, "SELL": {}}
    valid = ended = in_snapshot = False
    last = -1
    for r, _, last_id, side, price, lots, flags, _ in levels:
        while waiting and waiting[0] <= r:
            yield Shown(waiting.pop(0), last, None)
            valid = False
        snapshot = bool(flags & SNAPSHOT)
        if snapshot and (ended or not in_snapshot or last_id != last):
            sides, valid = {"BUY": {}, "SELL": {}}, False
        if side != "NO_ORDER_SIDE" and lots:
            sides[side][price] = lots
        elif side != "NO_ORDER_SIDE":
            sides[side].pop(price, None)
        in_snapshot, last, ended = snapshot, last_id, bool(flags & LAST)
        valid = valid or (ended and snapshot)
        if ended and valid:
            yield Shown(r, last_id, sides)
    for r in waiting:
        yield Shown(r, last, None)


async def logged(urls: ServerUrls) -> tuple[int, dict[str, list[tuple[int, int]]]]:
    """The last root in JetStream, and (root, index) of every record that a table is made of."""
    found: dict[str, list[tuple[int, int]]] = {table: [] for table in COMPARED}
    last = 0
    async with streams(urls.nats_engine, "reader") as opened:
        reader = await opened.log.read(1, [f"md.{kind}.*.*.*" for kind in KINDS])
        end = (await opened.log.identity()).last
        while last < end and (pulled := await reader.pull(1_000, 1 << 24, 2.0)):
            for message in pulled:
                if message.sequence > end:
                    break
                count = 1 if message.payload.startswith(b"{") else _count(message.payload)
                table = KINDS[message.subject.split(".")[1]]
                last = message.sequence
                found[table] += [(last, index) for index in range(count)]
            if pulled[-1].sequence >= end:
                break
        await reader.close()
    return last, found


def _count(payload: bytes) -> int:
    return len(kinds.decode(payload).records)


def single_trades(market: Market) -> list[Trade]:
    """Every trade by its own id."""
    rows = market.history.trades(1, market.history.last_id).tolist()
    assert len(rows) == market.history.last_id, "the exchange still has all of its trades"
    return [_trade(market, row[0], row, row[2]) for row in rows]


def aggregated_trades(market: Market) -> list[Trade]:
    """Every aggregate (one taker, one price) by its id."""
    rows = market.history.trades(1, market.history.last_id).tolist()
    assert len(rows) == market.history.last_id, "the exchange still has all of its trades"
    groups = [list(group) for _, group in groupby(rows, key=lambda row: row[4])]
    return [_trade(market, g[0][4], g[0], sum(row[2] for row in g)) for g in groups]


def sequenced_trades(market: Market, base: int) -> list[Trade]:
    """Every trade by the number of its order's part, from `base` on, that several may share."""
    rows = market.history.trades(1, market.history.last_id).tolist()
    assert len(rows) == market.history.last_id, "the exchange still has all of its trades"
    return [_trade(market, base + row[4], row, row[2]) for row in rows]


def _trade(market: Market, trade_id: int, row: Sequence[Any], lots: int) -> Trade:
    return Trade(
        trade_id,
        Decimal(row[1]).scaleb(-market.symbol.price_places),
        Decimal(lots).scaleb(-market.symbol.qty_places),
        row[3] // 1_000 * 1_000_000,
        "SELLER" if row[5] else "BUYER",
    )
