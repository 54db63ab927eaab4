"""Frames into rows, rows into ClickHouse's bytes and back, and the cutting of blocks."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.deploy.load import Load
from tidemill.projections.clickhouse import native
from tidemill.projections.collected import cuts
from tidemill.projections.limits import Limits
from tidemill.projections.postgres.records import from_records, to_records
from tidemill.projections.registry import TABLES
from tidemill.projections.rows import Rows, Text, concatenate, grouped, newest
from tidemill.projections.sources import rows_of
from tidemill.projections.table import Table
from tidemill.projections.tail import Tail, missing
from tidemill.schemas import exact, kinds
from tidemill.schemas.errors import Regressed, Unreadable
from tidemill.schemas.frame import encode
from tidemill.schemas.kinds.trade import TRADE
from tidemill.tests.projections import facts

TRADES, QUOTES, BARS, PRICES = (TABLES[n] for n in ("trades", "quotes", "bars", "prices"))
SAMPLES = {
    "trades": [(k, *facts.trades(k)) for k in range(1, 9)],
    "quotes": [(k, *facts.quotes(k)) for k in range(1, 9)],
    "bars": [(1, *facts.bar(5)), (2, *facts.bar(5, n=1, instrument=1)), (3, *facts.bar(9))],
    "prices": [(1, *facts.price(4)), (2, *facts.price(7))],
    "instruments": [(3, *facts.instrument(0)), (4, *facts.instrument(1, "0.25"))],
}


def rows(table: Table) -> Rows:
    made = rows_of(table, SAMPLES[table.name.removeprefix("latest_")])
    assert made is not None
    return made


def plain(some: Rows) -> dict[str, list[Any]]:
    """Columns as Python values, names resolved."""
    return {
        name: [c.values[k] for k in c.codes.tolist()] if isinstance(c, Text) else c.tolist()
        for name, c in some.columns.items()
    }


def test_a_trade_keeps_its_position_and_its_exact_values() -> None:
    made = rows(TRADES)
    at = 0
    for sequence, subject, payload in SAMPLES["trades"]:
        frame = kinds.decode(payload)
        for index, record in enumerate(frame.records):
            row = {name: values[at] for name, values in plain(made).items()}
            assert (row["_r"], row["_i"], row["_n"]) == (sequence, index, 0)
            assert f"{row['symbol'].decode()}" == subject.split(".")[3]
            price = exact.to_ints(made.array("price")[at : at + 1])[0]
            assert price == int(record["price"]) * 10 ** (18 + frame.price_exponent)
            assert row["trade_id"] == record["trade_id"]
            at += 1
    assert at == made.count


def test_a_derived_row_stands_where_its_cause_stood() -> None:
    made = rows(BARS)
    assert made.array("_r").tolist() == [5, 5, 9]
    assert made.array("_n").tolist() == [
        kinds.decode(payload).records["n"][0] for _, _, payload in SAMPLES["bars"]
    ]
    notional = exact.to_ints(made.array("quote_volume"))[0]
    record = kinds.decode(SAMPLES["bars"][0][2]).records[0]
    assert notional == ((3 << 64) + int(record["quote_volume_lo"])) * 10**2


def test_a_number_that_the_databases_cannot_hold_is_refused() -> None:
    record = TRADE.empty(1)
    record["price"] = 2**62
    payload = encode(TRADE, record, 1, 9, -8)
    with pytest.raises(Unreadable):
        rows_of(TRADES, [(1, facts.trades(1)[0], payload)])


def test_a_frame_that_never_decodes_has_no_rows_and_stops_nothing() -> None:
    whole, broken = facts.trades(1), facts.trades(2)
    some = rows_of(TRADES, [(1, *whole), (2, broken[0], broken[1][:-1] + b"\xff")])
    assert some is not None and set(some.array("_r").tolist()) == {1}


@pytest.mark.parametrize("name", ["trades", "quotes", "bars", "prices"])
def test_native_blocks_read_back_as_they_were_written(name: str) -> None:
    table = TABLES[name]
    made = rows(table)
    first = made.take(slice(0, 1))
    payload = b"".join(native.encode(table.columns, parts) for parts in ([made], [first]))
    blocks = native.decode(table.columns, payload)
    assert [plain(block) for block in blocks] == [plain(made), plain(made.take(slice(0, 1)))]


@pytest.mark.parametrize("per_frame", [1, 100])
def test_grouped_rows_are_all_of_them_by_symbol_and_venue_in_their_order(per_frame: int) -> None:
    loads = Load(5, 1_000, per_frame), Load(3, 1_000, per_frame, venue="ELSEWHERE")
    made = [fact for _ in range(3) for load in loads for fact in load.round(per_frame)]
    messages = [(r, *fact) for r, fact in enumerate(made, 1)]
    parts = [part for a, b in ((0, 7), (7, 24)) if (part := rows_of(TRADES, messages[a:b]))]
    order = grouped(parts)
    whole, found = records_of(concatenate(parts)), records_of(concatenate(order))
    assert found == sorted(whole, key=lambda row: (row["symbol"], row["venue"]))
    block = bytes(native.encode(TRADES.columns, order))
    assert records_of(native.decode(TRADES.columns, block)[0]) == found


def records_of(some: Rows) -> list[dict[str, Any]]:
    columns = plain(some)
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


@pytest.mark.parametrize(
    "name", ["instruments", "latest_trades", "latest_quotes", "latest_bars", "latest_prices"]
)
def test_postgres_records_read_back_as_they_were_written(name: str) -> None:
    table = TABLES[name]
    made = rows(table)
    names = [column.name for column in table.columns]
    records = [dict(zip(names, r, strict=True)) for r in to_records(table.columns, made)]
    assert plain(from_records(table.columns, records)) == plain(made)


def test_joined_rows_keep_their_names() -> None:
    made = rows(TRADES)
    parts = [made.take(slice(a, a + 5)) for a in range(0, made.count, 5)]
    other = rows_of(TRADES, [(20, *facts.trades(2))])
    assert other is not None
    joined = concatenate([*parts, other])
    assert plain(joined)["venue"] == plain(made)["venue"] + plain(other)["venue"]


def test_the_newest_of_each_key_is_what_a_loop_finds() -> None:
    made = concatenate([rows(TRADES), *(rows(TRADES) for _ in range(2))])
    values = plain(made)
    keys = list(zip(values["symbol"], values["venue"], strict=True))
    order = list(zip(values["_r"], values["_i"], strict=True))
    best: dict[Any, Any] = {}
    for key, at in zip(keys, order, strict=True):
        best[key] = max(best.get(key, at), at)
    found = plain(newest(made, ("symbol", "venue"), ("_r", "_i", "_n")))
    assert (
        dict(
            zip(
                zip(found["symbol"], found["venue"], strict=True),
                zip(found["_r"], found["_i"], strict=True),
                strict=True,
            )
        )
        == best
    )


@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(1, 12)), min_size=1, max_size=60),
    st.integers(1, 20),
    st.integers(1, 20),
)
def test_blocks_are_whole_roots_within_the_limits(
    steps: list[tuple[int, int]], roots_max: int, rows_max: int
) -> None:
    each = np.cumsum([gap for gap, _ in steps]).astype(np.uint64)
    roots = np.repeat(each, [count for _, count in steps])
    borders = cuts(roots, Limits(roots_max=roots_max, rows_max=rows_max))
    assert borders[0][0] == 0 and borders[-1][1] == len(roots)
    for (start, end), following in zip(borders, [*borders[1:], None], strict=True):
        block = roots[start:end]
        assert block[-1] - block[0] < roots_max
        assert len(block) <= rows_max or block[0] == block[-1]
        if following is not None:
            assert following[0] == end and roots[end] != roots[end - 1]


def positions(*at: tuple[int, int, int]) -> Rows:
    r, i, n = zip(*at, strict=True)
    columns: dict[str, Any] = {
        "_r": np.array(r, np.uint64),
        "_i": np.array(i, np.uint32),
        "_n": np.array(n, np.uint32),
    }
    return Rows(len(at), {**columns})


def test_exactly_the_missing_rows_are_found() -> None:
    log = positions((1, 0, 0), (1, 1, 0), (2, 0, 0), (2, 0, 7))
    assert missing(log, positions((2, 0, 0), (1, 0, 0))).tolist() == [1, 3]
    assert missing(log, None).tolist() == [0, 1, 2, 3]
    assert missing(log, log).tolist() == []


@pytest.mark.parametrize("have", [((1, 0, 0), (1, 0, 0)), ((1, 0, 0), (3, 0, 0))])
def test_a_doubled_or_an_alien_row_is_no_tail_to_build_on(
    have: tuple[tuple[int, int, int], ...],
) -> None:
    with pytest.raises(Regressed):
        missing(positions((1, 0, 0), (2, 0, 0)), positions(*have))


def test_a_tail_forgets_what_no_insert_can_have_held() -> None:
    tail = Tail(newest=100, roots_max=60, rows_max=10)
    rest = None
    for root in range(41, 104):
        rest = tail.take(positions(*((root, i, 0) for i in range(4))))
    kept = [int(part.array("_r")[0]) for part in tail.parts]
    assert kept == [98, 99, 100] and tail.lowest == 98
    assert rest is not None and rest.array("_r").tolist() == [103] * 4
