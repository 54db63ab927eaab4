"""A small market of contracts, row by row: funding, open interest, arbitrage, books, and feeds.

Every table is complete up to r 100; rows beyond it are there and must never be seen.
"""

from typing import Any, Literal

from tidemill.projections.clickhouse.fenced import FencedInsert
from tidemill.projections.postgres.write import write
from tidemill.projections.registry import TABLES
from tidemill.projections.rows import concatenate
from tidemill.projections.sources import rows_of
from tidemill.schemas import events, frame
from tidemill.schemas.enums import (
    BookFlag,
    BookState,
    DerivativeFlag,
    FundingSignal,
    InterestSignal,
    Legs,
    OpportunityFlag,
    OpportunityStatus,
    OrderSide,
    RecordFlag,
    Signal,
    SpreadQuality,
)
from tidemill.schemas.events import Event
from tidemill.schemas.events.feed import (
    BookGapDetected,
    BookResynced,
    ClockSkew,
    FeedConnected,
    FeedStale,
    TradeGapDetected,
)
from tidemill.schemas.events.instrument import InstrumentDefined
from tidemill.schemas.identifiers import ALL
from tidemill.schemas.kinds import KINDS
from tidemill.schemas.rows import from_rows
from tidemill.streams import subjects
from tidemill.tests.gateway.market import END, at, reach
from tidemill.tests.projections.stores import Stores

Message = tuple[int, str, bytes]
_B: dict[str, Any] = {"venue": "BINANCE"}
_SPOT: dict[str, Any] = {**_B, "symbol": "BTCUSDT"}
_PERP = {"product": "USDM", "kind": "PERPETUAL", "settle": "USDT", "funding_interval_s": 28_800}
_DEFINED: tuple[tuple[int, dict[str, Any]], ...] = (
    (1, {**_SPOT, "product": "SPOT"}),
    (2, {**_B, "symbol": "BTCUSDT-PERP", "raw_symbol": "BTCUSDT", **_PERP}),
    (3, {**_B, "symbol": "BTCUSDT_260327", **_PERP, "kind": "FUTURE", "ts_expires": at(9)}),
    (
        4,
        {
            **{"venue": "OKX", "symbol": "BTC-USDT-SWAP", **_PERP, "product": "SWAP"},
            **{"contract_multiplier": "0.01", "ts_listed": at(-9)},
        },
    ),
)
_EVENTS: tuple[tuple[int, Event], ...] = (
    (10, FeedConnected(**_B, product="SPOT", connection=1, ts_recv=at(1))),
    (11, ClockSkew(**_B, product="SPOT", offset_ns=-7, latency_ns=9, ts_recv=at(2))),
    (
        12,
        BookGapDetected(
            **_SPOT, last_update_id=5, expected_id=5, received_id=8, ts_recv=at(3), reason="GAP"
        ),
    ),
    (13, BookResynced(**_SPOT, last_update_id=9, invalid_ns=44, attempts=2, ts_recv=at(4))),
    (14, TradeGapDetected(**_SPOT, first_id=3, last_id=5, ts_recv=at(5))),
    (15, FeedConnected(venue="OKX", product="SWAP", connection=1, ts_recv=at(6))),
    (END + 1, FeedConnected(venue="OKX", product="SWAP", connection=2, ts_recv=at(7))),
)
_STATES: tuple[tuple[int, str, Literal["STALE", "FRESH"]], ...] = (
    (20, "BINANCE", "STALE"),
    (30, "BINANCE", "FRESH"),
    (70, "OKX", "STALE"),
)


def _frame(kind: str, subject: str, r: int, row: dict[str, Any], *exponents: int) -> Message:
    """One record; a derived one stands at r."""
    fields = {field.name for field in KINDS[kind].fields}
    record = {**row, **({"at_r": r} if "at_r" in fields else {})}
    records = from_rows(KINDS[kind], [record])
    return r, subject, frame.encode(KINDS[kind], records, r, *(exponents or (-2, -3)))


def _md(kind: str, venue: str, symbol: str, r: int, **row: Any) -> Message:
    return _frame(kind, subjects.md(kind, venue, symbol, 33), r, row)


def _bar(r: int, close: int, count: int) -> Message:
    """The minute that begins at 0 s, as its venue sends it."""
    prices = {"open": 6_000_000, "high": 6_200_000, "low": 5_900_000, "close": close}
    told = {"ts_event": at(60), "ts_recv": at(60.1), "ts_open": at(0), "interval_s": 60}
    counts = {"volume": 2_500, "quote_volume": 150_000_00000 * count, "trade_count": count}
    return _md("venue_bar", "BINANCE", "BTCUSDT", r, **told, **prices, **counts)


def _liquidation(r: int, seconds: float, **row: Any) -> Message:
    told = {"ts_event": at(seconds), "ts_recv": at(seconds), "price": 5_900_000, "quantity": 1_500}
    flags = {"flags": RecordFlag.LIQUIDATION, "side": OrderSide.SELL}
    return _md("liquidation", "BINANCE", "BTCUSDT-PERP", r, **{**told, **flags, **row})


def _metrics(r: int, venue: str, symbol: str, seconds: float, **row: Any) -> Message:
    subject = subjects.derived("derivatives", "1m", venue, symbol, 33)
    told = {"ts": at(seconds), "ts_event": at(seconds), "ts_recv": at(seconds), "fields": 63}
    interest = {"open_interest": 80_000_000, "last_price": 6_000_000, "volume": 1_000_000}
    funding = {"funding_interval_s": 28_800, "next_funding_time": at(28_800)}
    prices = {"mark_price": 6_000_050, "index_price": 6_000_000}
    return _frame(
        "derivative_metrics", subject, r, {**told, **interest, **funding, **prices, **row}
    )


def _opportunity(r: int, ways: tuple[str, str], status: OpportunityStatus, **row: Any) -> Message:
    subject = subjects.derived("arbitrage", "spot", "ALL", "BTC/USDT", 33)
    buy, sell = ways
    told = {
        **{"ts": at(r), "ts_opened": at(50), "opened_r": 50, "status": status, "venues": 3},
        **{"buy_venue": buy, "buy_symbol": "BTCUSDT", "sell_venue": sell, "legs": Legs.SPOT},
        **{"sell_symbol": "BTC-USDT", "buy_price": 600_000_000_000_000, "quantity": 150_000_000},
    }
    return _frame("opportunity", subject, r, {**told, **row}, -10, -8)


def _book(r: int, seconds: float, state: BookState, **row: Any) -> Message:
    subject = subjects.derived("books", "1s", "BINANCE", "BTCUSDT", 33)
    told = {"ts": at(seconds), "ts_recv": at(seconds), "last_update_id": r, "state": state}
    return _frame("book_metrics", subject, r, {**told, **row})


_EARNS = {"sell_price": 603_000_000_000_000, "spread_ratio": 5_000_000, "net_ratio": 2_000_000}
_VALID: dict[str, Any] = {
    **{"bid_price": 5_999_000, "bid_quantity": 1_000, "ask_price": 6_001_000, "ask_quantity": 500},
    **{"spread": 2_000, "spread_ratio": 333_333, "bid_depth_1": 10**12, "imbalance": 400_000_000},
    **{"ask_depth_1": 10**11, "bid_depth_5": 10**13, "ask_depth_5": 10**12, "bid_walls": 1},
    **{"bid_wall_price": 5_990_000, "bid_wall_quantity": 9_000, "confidence": 600_000_000},
    **{"liquidity_score": 61, "spread_quality": SpreadQuality.EXCELLENT, "signal": Signal.BUY},
    **{"bid_levels": 90, "ask_levels": 80},
}
_EXTREME = {"funding_signal": FundingSignal.EXTREME_LONGS, "funding_rate": 2_000_000_000}
_SQUEEZE: dict[str, Any] = {
    **{"interest_signal": InterestSignal.SHORT_SQUEEZE, "open_interest_change": -20_000_000},
    **{"open_interest_change_ratio": -200_000_000, "price_change_ratio": 45_000_000},
}
_NEW = {"flags": DerivativeFlag.PARTIAL_24H | DerivativeFlag.PARTIAL_7D}
MESSAGES: dict[str, list[Message]] = {
    "trades": [_md("trade", "BINANCE", "BTCUSDT", 5, ts_event=at(0), ts_recv=at(0), price=1)],
    "quotes": [
        _md("quote", "BINANCE", "BTCUSDT", 6, ts_recv=at(10), bid_price=1, bid_quantity=1),
        _md("quote", "BINANCE", "BTCUSDT", 80, ts_recv=at(100), bid_price=2, bid_quantity=1),
    ],
    "feed_events": [(r, "md.event.A.B.all", events.encode(event)) for r, event in _EVENTS],
    "feed_states": [
        (
            r,
            subjects.derived("feeds", "stale", venue, "SPOT", ALL),
            events.encode(
                FeedStale(
                    at_r=r, at_i=0, venue=venue, product="SPOT" if venue == "BINANCE" else "SWAP",
                    ts=at(r), silent_ns=r, state=state,
                )
            ),
        )
        for r, venue, state in _STATES
    ],
    "liquidations": [
        _liquidation(40, 30),
        _liquidation(41, 20, average_price=5_899_000, filled_quantity=1_500, side=OrderSide.BUY),
        _liquidation(END + 1, 40),
    ],
    "venue_bars": [_bar(42, 6_000_000, 4), _bar(43, 6_100_000, 5), _bar(END + 1, 1, 1)],
    "derivative_metrics": [
        _metrics(50, "BINANCE", "BTCUSDT-PERP", 20, **_NEW, funding_rate=100_000_000),
        _metrics(51, "BINANCE", "BTCUSDT_260327", 20, fields=0b100011, **_NEW),
        _metrics(52, "OKX", "BTC-USDT-SWAP", 30, funding_rate=-50_000_000, funding_24h=7, **_NEW),
        _metrics(60, "BINANCE", "BTCUSDT-PERP", 90, **_EXTREME, **_SQUEEZE, funding_7d=-3),
        _metrics(END + 1, "BINANCE", "BTCUSDT-PERP", 95),
    ],
    "opportunities": [
        _opportunity(53, ("BINANCE", "OKX"), OpportunityStatus.OPENED, **_EARNS),
        _opportunity(54, ("OKX", "BINANCE"), OpportunityStatus.OPENED, **_EARNS),
        _opportunity(
            55, ("BINANCE", "OKX"), OpportunityStatus.CHANGED, **_EARNS,
            net=3 * 10**18, buy_fee=10**18, sell_fee=2 * 10**18, changes=1,
            flags=OpportunityFlag.BOUNDED,
        ),
        _opportunity(56, ("OKX", "BINANCE"), OpportunityStatus.CLOSED),
        _opportunity(57, ("BYBIT", "OKX"), OpportunityStatus.OPENED, spread_ratio=900_000),
        _opportunity(END + 1, ("BINANCE", "OKX"), OpportunityStatus.CLOSED),
    ],
    "book_metrics": [
        _book(61, 40, BookState.VALID, **_VALID),
        _book(62, 50, BookState.INVALID, flags=BookFlag.STALE),
        _book(63, 95, BookState.VALID, **{**_VALID, "signal": Signal.NEUTRAL}),
        _book(END + 1, 99, BookState.INVALID),
    ],
}  # fmt: skip
"""By table, what it is filled from."""


async def fill(stores: Stores) -> None:
    """Insert everything, and say how far every table is."""
    for name, messages in MESSAGES.items():
        table = TABLES[name]
        await stores.clickhouse.command(
            "INSERT INTO fence SELECT {t:String}, 1", {"t": table.physical}, {"async_insert": 0}
        )
        made = [rows for message in messages if (rows := rows_of(table, [message])) is not None]
        assert len(made) == len(messages)
        insert = FencedInsert(stores.clickhouse, table, "a-log", 1)
        await insert.send(insert.body([concatenate(made)]), 1, END)
    defined = [
        (
            r,
            subjects.md("instrument", row["venue"], row["symbol"], 33),
            events.encode(InstrumentDefined(base="BTC", quote="USDT", **row)),
        )
        for r, row in _DEFINED
    ]
    rows = rows_of(TABLES["instruments"], defined)
    assert rows is not None
    async with stores.pool.acquire() as connection:
        await write(connection, TABLES["instruments"], rows)
    for name in TABLES:
        await reach(stores, name, END)
