"""The latest views of ClickHouse: the newest row of each key, as of any position."""

import numpy as np
import pytest

from tidemill.projections.registry import TABLES
from tidemill.projections.rows import Rows, concatenate
from tidemill.projections.sources import rows_of
from tidemill.tests.projections import facts
from tidemill.tests.projections.stores import Stores
from tidemill.tests.projections.test_verify import fill

pytestmark = pytest.mark.integration


async def test_the_newest_quote_of_an_instrument_as_of_then_and_now(stores: Stores) -> None:
    made = rows_of(TABLES["quotes"], [(r, *facts.quotes(r)) for r in range(1, 40)])
    assert made is not None
    await fill(stores, made, "quotes")
    for as_of, newest in ((12, 12), (38, 36)):  # each third message is of the first instrument
        rows = await stores.clickhouse.query(
            "SELECT _r, _i, toString(bid_price) FROM quotes__v1_latest(as_of = {r:UInt64})"
            " WHERE symbol = 'BTCUSDT' AND venue = 'BINANCE'",
            {"r": as_of},
        )
        exact = await stores.clickhouse.query(
            "SELECT _r, _i, toString(bid_price) FROM quotes__v1 WHERE _r = {r:UInt64} AND _i = 1",
            {"r": newest},
        )
        assert rows == exact and len(rows) == 1


async def test_a_revision_replaces_its_bar_from_its_own_root_on(stores: Stores) -> None:
    parts = [rows_of(TABLES["bars"], [(0, *facts.bar(10, revision=0))])]
    revised = rows_of(TABLES["bars"], [(0, *facts.bar(10, revision=1))])
    assert revised is not None and parts[0] is not None
    later = Rows(1, {**revised.columns, "_r": np.array([50], np.uint64)})
    await fill(stores, concatenate([parts[0], later]), "bars")
    for as_of, expected in ((9, []), (49, [(10, 0)]), (50, [(50, 1)])):
        rows = await stores.clickhouse.query(
            "SELECT _r, revision FROM bars__v1_latest(as_of = {r:UInt64})", {"r": as_of}
        )
        assert rows == expected
