"""Rows of what feeds say besides trades and quotes: books, derivatives, and of themselves."""

from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from tidemill.projections.clickhouse import native
from tidemill.projections.postgres.records import from_records, to_records
from tidemill.projections.registry import TABLES
from tidemill.projections.rows import Rows
from tidemill.projections.sources import rows_of
from tidemill.schemas import examples, kinds
from tidemill.schemas.enums import SignalStatus
from tidemill.schemas.events import encode
from tidemill.schemas.frame import encode as encode_frame
from tidemill.schemas.kinds import KINDS
from tidemill.schemas.kinds.quote import TS_NONE
from tidemill.schemas.rows import from_rows
from tidemill.tests.projections import facts
from tidemill.tests.projections.test_rows import plain, records_of

SAMPLES = {
    "book_levels": [facts.book(k) for k in range(8)],
    "derivatives": [facts.derivative(k) for k in range(8)],
    "liquidations": [facts.liquidation(k) for k in range(8)],
    "venue_bars": [facts.venue_bar(k) for k in range(8)],
    "feed_events": [facts.feed_event(k) for k in range(21)],
    "feed_states": [facts.feed_state(k) for k in range(3)],
    "book_metrics": [facts.derived("books", "1s", k) for k in range(3)],
    "top_levels": [facts.derived("levels", "top", k) for k in range(3)],
    "book_snapshots": [facts.derived("snapshots", "full", k) for k in range(3)],
    "derivative_metrics": [facts.derived("derivatives", "1m", k) for k in range(3)],
    "activity_bars": [facts.derived("activity_bars", "tick", k) for k in range(3)],
    "resampled_bars": [facts.derived("resampled_bars", "3m", k) for k in range(3)],
    "composite_bars": [facts.derived("composite_bars", "1m", k) for k in range(3)],
    "indicators": [facts.derived("indicators", "1m", k) for k in range(3)],
    "signals": [facts.derived("signals", "oversold", k) for k in range(3)],
    "anomalies": [facts.derived("anomalies", "watch", k) for k in range(3)],
    "screens": [facts.screen(k) for k in range(3)],
    "opportunities": [facts.derived("arbitrage", "spot", k) for k in range(3)],
}
METRICS = facts.derived("books", "1s", 9)


def rows(name: str, *messages: tuple[str, bytes]) -> Rows:
    made = rows_of(TABLES[name], [(r, *one) for r, one in enumerate(messages, 1)])
    assert made is not None
    return made


def only(name: str, *messages: tuple[str, bytes]) -> dict[str, Any]:
    """The row that `messages` make."""
    (row,) = to_records(TABLES[name].columns, rows(name, *messages))
    return dict(zip([column.name for column in TABLES[name].columns], row, strict=True))


def event(tag: str) -> dict[str, Any]:
    """The row of the example of an event."""
    return only("feed_events", ("md.event.BINANCE.BTCUSDT.00", encode(examples.EVENTS[tag])))


@pytest.mark.parametrize("name", SAMPLES)
def test_native_blocks_read_back_as_they_were_written(name: str) -> None:
    made = rows(name, *SAMPLES[name])
    (block,) = native.decode(
        TABLES[name].columns, bytes(native.encode(TABLES[name].columns, [made]))
    )
    assert plain(block) == plain(made)


@pytest.mark.parametrize("name", SAMPLES)
def test_the_same_messages_in_any_batches_make_the_same_rows(name: str) -> None:
    messages = list(enumerate(SAMPLES[name], 1))
    whole = records_of(rows(name, *SAMPLES[name]))
    parts = [rows_of(TABLES[name], [(r, *message)]) for r, message in messages]
    assert [row for part in parts if part is not None for row in records_of(part)] == whole


def test_a_level_keeps_its_place_in_its_message() -> None:
    made = records_of(rows("book_levels", facts.book(4)))
    records = kinds.decode(facts.book(4)[1]).records
    assert [row["_i"] for row in made] == list(range(len(records)))
    assert [row["flags"] for row in made] == [32] * 8 + [48]
    assert [row["last_update_id"] for row in made] == records["last_update_id"].tolist()


def test_a_books_ratios_are_exact_and_its_state_has_a_name() -> None:
    valid, invalid = to_records(TABLES["book_metrics"].columns, rows("book_metrics", METRICS))
    names = [column.name for column in TABLES["book_metrics"].columns]
    row = dict(zip(names, valid, strict=True))
    assert (row["_r"], row["_i"], row["state"], row["signal"]) == (9, 0, "VALID", "BUY")
    assert (row["imbalance"], row["confidence"]) == (Decimal("0.5"), Decimal("0.75"))
    assert row["bid_depth_1"] == Decimal(1 << 70).scaleb(-16)
    assert row["spread_ratio"] == Decimal("0.000000161")
    assert invalid[names.index("state")] == "INVALID"


def test_a_funding_rate_is_exact_at_twelve_decimals() -> None:
    row = only("derivatives", ("md.derivative.B.X.00", examples.encoded("derivative")))
    assert row["funding_rate"] == Decimal("-0.0001")
    assert row["mark_price"] == Decimal("61840.12345678")
    assert (row["fields"], row["funding_interval_s"]) == (0b111111, 28_800)


def test_what_is_derived_of_a_contract_is_exact() -> None:
    row = only("derivative_metrics", facts.derived("derivatives", "1m", 7))
    assert row["funding_24h"] == Decimal("-0.00009")
    assert row["basis_ratio"] == Decimal("0.000018167")
    assert (row["funding_signal"], row["interest_signal"]) == ("BEARISH", "LONG_LIQUIDATION")


def test_an_opportunity_says_both_sides_and_what_is_left_after_fees() -> None:
    row = only("opportunities", facts.derived("arbitrage", "spot", 7))
    assert (row["pair"], row["legs"], row["status"]) == ("BTCUSDT", "SPOT", "CHANGED")
    assert (row["buy_venue"], row["sell_symbol"]) == ("BINANCE", "BTCUSDT-SPOT")
    assert (row["net"], row["buy_fee_rate"]) == (Decimal("57.78357"), Decimal("0.001"))


def test_an_activity_bar_says_what_it_had_to_reach_in_units_of_its_aggregation() -> None:
    message = facts.derived("activity_bars", "tick", 7)
    imbalance, brick = (
        dict(zip([c.name for c in TABLES["activity_bars"].columns], row, strict=True))
        for row in to_records(TABLES["activity_bars"].columns, rows("activity_bars", message))
    )
    assert (imbalance["aggregation"], imbalance["sequence"]) == ("VALUE_IMBALANCE", 17)
    assert (imbalance["step"], imbalance["threshold"]) == (1_000, Decimal("4321987.65"))
    assert (brick["aggregation"], brick["step"], brick["open"]) == ("RENKO", 50, 61_850)


def test_a_gap_of_a_book_says_what_was_expected_and_what_came() -> None:
    row = event("BookGapDetected.v1")
    assert (row["event"], row["reason"], row["last_id"]) == ("BookGapDetected", "GAP", 17)
    assert (row["expected"], row["received"], row["detail"]) == ("17", "19", "")


def test_a_checksum_that_differs_says_both() -> None:
    row = event("ChecksumMismatch.v1")
    assert (row["expected"], row["received"]) == ("-1881014294", "831078360")


def test_a_hole_of_trades_expected_its_first_and_received_the_one_after() -> None:
    row = event("TradeGapDetected.v1")
    assert (row["first_id"], row["last_id"]) == (11, 13)
    assert (row["expected"], row["received"], row["ts_from"]) == ("11", "14", None)
    lost = event("TradeGapDeclared.v1")
    assert lost["ts_to"] - lost["ts_from"] == 1_000_000
    assert (event("TradeGapSuspected.v1")["expected"], lost["reason"]) == (
        "12.5",
        "not answered within 2 s",
    )


def test_what_one_type_alone_has_is_its_detail() -> None:
    assert event("BookResynced.v1")["detail"] == '{"attempts":2,"invalid_ns":800000000}'
    given_up = event("RecordsGivenUp.v1")
    assert given_up["detail"] == '{"records":1300}'
    assert given_up["ts_recv"] == given_up["ts_to"]
    skew = event("ClockSkew.v1")
    assert (skew["offset_ns"], skew["latency_ns"], skew["product"]) == (-3e6, 2e6, "SPOT")


def test_a_number_beyond_64_bits_does_not_stop_a_table() -> None:
    skew = facts.feed_event(18)
    assert rows("feed_events", skew).array("latency_ns").tolist() == [2**63 - 1]


def test_every_event_of_feeds_has_a_row() -> None:
    of_feeds = [e for e in examples.EVENTS.values() if e.channel == "md.event"]
    made = rows("feed_events", *(("md.event.A.B.00", encode(e)) for e in of_feeds))
    assert made.count == len(of_feeds)
    assert plain(made)["ts_from"].count(TS_NONE) < len(of_feeds)


def test_a_derived_event_stands_where_its_cause_stood() -> None:
    made = rows("feed_states", facts.feed_state(40), facts.feed_state(41))
    assert [made.array(name).tolist() for name in ("_r", "_i", "_n")] == [[40, 41], [0, 0], [1, 1]]
    assert plain(made)["state"] == [b"FRESH", b"STALE"]


def test_a_contract_is_defined_in_full() -> None:
    contract = examples.EVENTS["InstrumentDefined.v2"]
    row = only("instruments", ("md.instrument.BYBIT.BTCUSDT-LINEAR.00", encode(contract)))
    assert (row["kind"], row["settle"], row["raw_symbol"]) == ("PERPETUAL", "USDT", "BTCUSDT")
    assert (row["contract_multiplier"], row["funding_interval_s"]) == (Decimal("0.01"), 28_800)
    assert (row["inverse"], row["ts_listed"], row["ts_expires"]) == (0, examples.TS, 0)


def test_a_definition_of_version_1_is_a_spot_instrument() -> None:
    first = examples.EVENTS["InstrumentDefined.v1"]
    row = only("instruments", ("md.instrument.BINANCE.BTCUSDT.33", encode(first)))
    assert (row["kind"], row["contract_multiplier"], row["raw_symbol"]) == ("SPOT", 1, "")


def test_definitions_read_back_from_postgres_as_they_were_written() -> None:
    table = TABLES["instruments"]
    made = rows("instruments", facts.instrument(0), facts.instrument(1))
    names = [column.name for column in table.columns]
    records = [dict(zip(names, row, strict=True)) for row in to_records(table.columns, made)]
    again = from_records(table.columns, records)
    assert plain(again) == plain(made)
    assert all(
        np.asarray(again.array(c.name)).dtype == np.asarray(made.array(c.name)).dtype
        for c in table.columns
        if c.kind not in ("text",)
    )


def test_screens_are_told_as_they_are_defined_changed_and_removed() -> None:
    made = rows("screens", *SAMPLES["screens"])
    told = [
        dict(zip([c.name for c in TABLES["screens"].columns], row, strict=True))
        for row in to_records(TABLES["screens"].columns, made)
    ]
    assert [row["_r"] for row in told] == [1, 2, 3]
    assert [row["status"] for row in told] == ["DEFINED", "DEFINED", "REMOVED"]
    assert [row["name"] for row in told] == ["oversold"] * 3
    assert [row["condition"] for row in told] == ["rsi(14) < 30 and close > sma(200)", "", ""]
    assert told[0]["instruments"] == "BTCUSDT.BINANCE,*.OKX"


def test_numbers_of_a_signal_that_are_not_known_are_nan_and_one_of_them() -> None:
    row = {"status": SignalStatus.RAISED, "score": float("nan"), "close": 5.0}
    frame = encode_frame(KINDS["signal"], from_rows(KINDS["signal"], [row]), 1)
    made = rows("signals", ("signals.a.BINANCE.BTCUSDT.33", frame))
    assert np.isnan(made.array("score")[0]) and made.array("close").tolist() == [5.0]
