"""Which instruments are defined, and how, at a position."""

from decimal import Decimal
from typing import Annotated, Any, Literal

import asyncpg
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from tidemill.gateway.queries.answer import Answer, Envelope, plain, respond
from tidemill.gateway.queries.parameters import Asked, Venue
from tidemill.gateway.queries.stores import Stores

ROUTES = APIRouter()
PAGE_SIZE, PAGE_SIZE_MAX, PAGE_MAX = 20, 100, 100_000


class InstrumentsAsked(Asked):
    """Which instruments; a page of them."""

    venue: Venue | None = None
    symbol: Annotated[str, Field(pattern=r"^[A-Z0-9_\-/:]{1,48}$")] | None = None
    pair: Annotated[str, Field(pattern=r"^[A-Z0-9]{1,24}[/\-][A-Z0-9]{1,24}$")] | None = None
    status: Literal["TRADING", "HALTED", "DELISTED"] | None = None
    product: Annotated[str, Field(pattern=r"^[A-Z0-9][A-Z0-9_\-/:]{0,15}$")] | None = None
    page: int = Field(1, ge=1, le=PAGE_MAX)
    limit: int = Field(PAGE_SIZE, ge=1, le=PAGE_SIZE_MAX)


class Instrument(BaseModel):
    """A definition. Exact numbers are text; 0 where the venue gave none."""

    id: str = Field(examples=["BTCUSDT.BINANCE"])
    symbol: str
    venue: str
    product: str
    kind: Literal["SPOT", "PERPETUAL", "FUTURE"]
    raw_symbol: str = Field(description="The venue's own name.")
    pair: str = Field(examples=["BTC/USDT"])
    base: str
    quote: str
    settle: str | None = Field(description="What a contract settles in; null for spot.")
    inverse: bool
    status: Literal["TRADING", "HALTED", "DELISTED"]
    tick_size: str
    lot_size: str
    min_notional: str
    price_exponent: int
    quantity_exponent: int
    contract_multiplier: str = Field(
        description="Units of base (of quote where inverse) of a quantity of 1."
    )
    funding_interval_s: int | None
    ts_listed: int | None = Field(description="ns UTC; null where it is not known.")
    ts_expires: int | None = Field(description="ns UTC; null for what does not expire.")
    source: str
    ts_event: int = Field(description="ns UTC")
    r: int = Field(description="Position of this definition.")


class InstrumentsPage(BaseModel):
    """A page of instruments, by symbol and venue."""

    items: list[Instrument]
    total: int
    page: int
    pageSize: int
    hasNext: bool


@ROUTES.get("/api/market-data/instruments", response_model=Envelope[InstrumentsPage])
async def instruments(request: Request, asked: Annotated[InstrumentsAsked, Query()]) -> Response:
    """Instrument definitions as they were at a position."""

    async def find(stores: Stores) -> Answer:
        bound = await stores.bind(asked, "instruments")
        pair = asked.pair.replace("-", "/") if asked.pair else None
        skipped = (asked.page - 1) * asked.limit
        rows = await stores.records(
            "instruments",
            bound,
            *(bound.root, asked.venue, asked.symbol, pair, asked.status),
            *(asked.limit, skipped, asked.product),
        )
        total = rows[0]["total"]
        items = [_item(row) for row in rows if row["symbol"] is not None]
        page = {
            "items": items,
            "total": total,
            "page": asked.page,
            "pageSize": asked.limit,
            "hasNext": skipped + len(items) < total and bool(items),
        }
        return Answer(page, bound)

    return await respond(request, asked, find)


def _item(row: asyncpg.Record) -> dict[str, Any]:
    same = ("symbol", "venue", "product", "base", "quote", "status", "source", "ts_event")
    exact = ("tick_size", "lot_size", "min_notional")
    return {
        "id": f"{row['symbol']}.{row['venue']}",
        "pair": f"{row['base']}/{row['quote']}",
        **{name: row[name] for name in same},
        **{name: plain(row[name]) for name in exact},
        "price_exponent": row["price_exponent"],
        "quantity_exponent": row["quantity_exponent"],
        **_of_contract(row),
        "r": row["_r"],
    }


def _of_contract(row: asyncpg.Record) -> dict[str, Any]:
    """Return what version 2 of the table has; in version 1 everything is spot."""
    return {
        "kind": row.get("kind", "SPOT"),
        "raw_symbol": row.get("raw_symbol") or row["symbol"],
        "settle": row.get("settle") or None,
        "inverse": bool(row.get("inverse", 0)),
        "contract_multiplier": plain(row.get("contract_multiplier", Decimal(1))),
        "funding_interval_s": row.get("funding_interval_s") or None,
        "ts_listed": row.get("ts_listed") or None,
        "ts_expires": row.get("ts_expires") or None,
    }
