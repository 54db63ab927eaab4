"""Composites become facts: their instrument first, and only where their members fit together."""

from typing import Any

import pytest

from tidemill.deploy.commands.composites import compose, establish
from tidemill.deploy.commands.demo import COMPOSITE
from tidemill.deploy.commands.sets import COMPOSITES, define, defined
from tidemill.schemas import events
from tidemill.schemas.events.composites import CompositeDefined, CompositeRemoved
from tidemill.schemas.events.instrument import InstrumentDefined
from tidemill.schemas.identifiers import partition
from tidemill.streams import subjects
from tidemill.streams.memory import MemoryLog
from tidemill.streams.subjects import LOG_SUBJECTS

MEMBERS = ("BTCUSDT.BINANCE", "BTC-USDT.OKX")
FIELDS: dict[str, object] = {"name": "btc", "members": MEMBERS, "bars": ("1m",), "hold_s": 5}


async def log_of(**other: Any) -> MemoryLog:
    """Two venues' BTC/USDT; `other` are fields of the second one's."""
    log = MemoryLog("LOG", LOG_SUBJECTS)
    named = {"base": "BTC", "quote": "USDT", "product": "SPOT"}
    for one in (
        {"venue": "BINANCE", "symbol": "BTCUSDT", "price_exponent": -2, "quantity_exponent": -5},
        {"venue": "OKX", "symbol": "BTC-USDT", "price_exponent": -1, "quantity_exponent": -8}
        | other,
    ):
        event = InstrumentDefined.read({**named, **one})
        place = (event.venue, event.symbol, partition(event.pair))
        await log.append([(subjects.md("instrument", *place), events.encode(event))], None)
    return log


def held(log: MemoryLog, since: int) -> list[tuple[str, Any]]:
    return [(m.subject, events.decode(m.payload)) for m in log.slice(since, log.end) if m]


async def test_a_composite_is_an_instrument_at_the_finest_exponents_and_then_a_fact() -> None:
    log = await log_of()
    assert await compose(log, FIELDS) == ["btc"]
    (subject, one), (control, event) = held(log, 3)
    assert subject == subjects.md("instrument", "COMPOSITE", "BTCUSDT", partition("BTC/USDT"))
    assert (one.pair, one.product, one.kind, one.source) == (
        "BTC/USDT", "COMPOSITE", "SPOT", "CONFIGURED",
    )  # fmt: skip
    assert (one.price_exponent, one.quantity_exponent) == (-2, -8)
    wanted = CompositeDefined.read({**FIELDS, "instrument": "BTCUSDT.COMPOSITE"})
    assert (control, event) == ("ctl.composites.btc", wanted)
    assert await compose(log, FIELDS) == []
    assert log.end == 5
    assert await compose(log, {**FIELDS, "bars": ("1m", "1h")}) == ["btc"]
    assert log.end == 6, "its instrument is the same"


async def test_composites_end_and_begin_again() -> None:
    log = await log_of()
    await compose(log, FIELDS)
    assert await define(log, COMPOSITES, [CompositeRemoved(name="btc")]) == ["btc"]
    assert await defined(log, COMPOSITES) == {}
    assert await compose(log, FIELDS) == ["btc"]


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"quote": "USDC"}, "not of one pair: BTC/USDT, BTC/USDC"),
        ({"kind": "PERPETUAL"}, "not of one kind: SPOT, PERPETUAL"),
        ({"contract_multiplier": "0.01"}, r"not of one contract_multiplier: 1, 0\.01"),
        ({"inverse": True}, r"BTC-USDT\.OKX is inverse"),
        ({"price_exponent": 0, "quantity_exponent": -17}, "together more than 18"),
    ],
)
async def test_members_that_do_not_fit_are_refused_and_nothing_is_appended(
    other: dict[str, Any], said: str
) -> None:
    log = await log_of(**other)
    with pytest.raises(ValueError, match=said):
        await compose(log, FIELDS)
    assert log.end == 3


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"members": ("BTCUSDT.BINANCE", "BTCUSDT.KRAKEN")}, r"not know BTCUSDT\.KRAKEN"),
        ({"members": ("BTCUSDT.BINANCE", "ETHUSDT.BINANCE")}, "two members are of one venue"),
        ({"members": ("BTCUSDT.BINANCE",)}, "at least 2 items"),
        ({"bars": ("2m",)}, "'1s', '1m'"),
        ({"instrument": "BTCUSDT.BINANCE"}, "instrument"),
    ],
)
async def test_what_is_no_composite_is_refused(fields: dict[str, object], said: str) -> None:
    log = await log_of()
    with pytest.raises(ValueError, match=said):
        await compose(log, FIELDS | fields)
    assert log.end == 3


async def test_two_composites_cannot_be_one_instrument() -> None:
    log = await log_of()
    await compose(log, FIELDS)
    with pytest.raises(ValueError, match=r"other: BTCUSDT\.COMPOSITE is the composite btc already"):
        await compose(log, {**FIELDS, "name": "other"})
    assert log.end == 5
    named = {**FIELDS, "name": "other", "instrument": "BTC2.COMPOSITE"}
    assert await compose(log, named) == ["other"]


async def test_the_demos_own_can_be_made() -> None:
    log = MemoryLog("LOG", LOG_SUBJECTS)
    assert await establish(log, *COMPOSITE) == ["btc"]
    assert [type(event).__name__ for _, event in held(log, 1)] == [
        "InstrumentDefined", "CompositeDefined",
    ]  # fmt: skip
