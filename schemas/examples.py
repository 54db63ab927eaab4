"""One example of every kind of record and of every event, for tests, documents and the corpus.

They are part of the golden corpus: never edit one, add another.
"""

from typing import Any

from tidemill.schemas import frame
from tidemill.schemas.enums import (
    AggressorSide,
    BarAggregation,
    BarFlag,
    BookFlag,
    BookState,
    DerivativeFlag,
    FundingSignal,
    InterestSignal,
    Legs,
    Momentum,
    OpportunityFlag,
    OpportunityStatus,
    OrderSide,
    Recommendation,
    RecordFlag,
    ScreenTrend,
    Severity,
    Signal,
    SignalStatus,
    SpreadQuality,
    Volatility,
)
from tidemill.schemas.events.activity_bars import ActivityBarsDefined, ActivityBarsRemoved
from tidemill.schemas.events.anomalies import AnomaliesDefined, AnomaliesRemoved
from tidemill.schemas.events.archive import RangeSealed, TrimAnnounced
from tidemill.schemas.events.composites import CompositeDefined, CompositeRemoved
from tidemill.schemas.events.control import CodeDeployed, DeadLetterSkipped
from tidemill.schemas.events.dead_letter import DeadLetter
from tidemill.schemas.events.event import Event
from tidemill.schemas.events.feed import (
    BookGapDetected,
    BookResynced,
    ChecksumMismatch,
    ClockSkew,
    FeedConnected,
    FeedDisconnected,
    FeedStale,
    RecordsGivenUp,
    TradeGapDeclared,
    TradeGapDetected,
    TradeGapFilled,
    TradeGapSuspected,
)
from tidemill.schemas.events.fees import FeesDefined
from tidemill.schemas.events.indicators import IndicatorSetDefined, IndicatorSetRemoved
from tidemill.schemas.events.instrument import InstrumentDefined, InstrumentDefinedV1
from tidemill.schemas.events.screens import ScreenDefined, ScreenRemoved
from tidemill.schemas.frame import INT64_NULL, FieldType, Frame, Kind
from tidemill.schemas.kinds import KINDS
from tidemill.schemas.rows import Row, from_rows

TS = 1_723_075_200_000_000_000
"""2024-08-08T00:00:00Z in ns: the time of the examples."""
_MS = 1_000_000
_AT: dict[str, Any] = {"at_r": 4_711, "at_i": 3, "n": 33 << 24 | 1}
_BTC_FEED: dict[str, Any] = {"venue": "BINANCE", "product": "SPOT"}
_BTC: dict[str, Any] = {"venue": "BINANCE", "symbol": "BTCUSDT"}

SEQUENCE = 4_095
"""The writer's sequence of every example frame and event."""
EXPONENTS = {"time": (0, 0), "status": (0, 0), "price": (-10, -8), "opportunity": (-10, -8)}
"""Exponents (price, quantity) of example frames that do not have -8 and -8."""

ROWS: dict[str, list[Row]] = {
    "trade": [
        {
            "ts_event": TS + 12 * _MS, "ts_recv": TS + 15 * _MS, "trade_id": 3_700_000_001,
            "price": 61_837_63_000_000, "quantity": 12_345_678,
            "aggressor_side": AggressorSide.BUYER, "flags": RecordFlag.NONE,
        },
        {
            "ts_event": TS + 13 * _MS, "ts_recv": TS + 15 * _MS, "trade_id": 3_700_000_002,
            "price": 61_837_62_000_000, "quantity": 1,
            "aggressor_side": AggressorSide.SELLER, "flags": RecordFlag.FILLED | RecordFlag.LAST,
        },
    ],
    "quote": [
        {
            "ts_event": INT64_NULL, "ts_recv": TS + 15 * _MS, "update_id": 49_000_000_007,
            "bid_price": 61_837_62_000_000, "bid_quantity": 150_000_000,
            "ask_price": 61_837_63_000_000, "ask_quantity": 4_321, "flags": RecordFlag.NONE,
        },
        {"ts_event": TS + 16 * _MS, "ts_recv": TS + 17 * _MS, "update_id": 49_000_000_011},
    ],
    "status": [{"venue_time": TS + 498 * _MS, "ts_recv": TS + 500 * _MS, "hold": 1}],
    "time": [{"ts": TS + 500 * _MS}],
    "bar": [
        {
            **_AT, "ts_open": TS, "interval_s": 60, "revision": 2,
            "open": 61_837_63_000_000, "high": 61_900_00_000_000, "low": 61_800_00_000_000,
            "close": 61_850_10_000_000, "volume": 1_234_567_890, "quote_volume": 1 << 70,
            "taker_buy_volume": 1_000_000_000, "trade_count": 1_300,
            "first_trade_id": 3_700_000_001, "last_trade_id": 3_700_001_300,
            "flags": BarFlag.GAP | BarFlag.LATE,
        },
    ],
    "activity_bar": [
        {
            **_AT, "ts_open": TS, "ts_close": TS + 59_000 * _MS, "sequence": 17, "revision": 1,
            "aggregation": BarAggregation.VALUE_IMBALANCE, "step": 1_000 * 10**18,
            "threshold": 4_321_987_650_000 * 10**12,
            "open": 61_837_63_000_000, "high": 61_900_00_000_000, "low": 61_800_00_000_000,
            "close": 61_850_10_000_000, "volume": 1_234_567_890, "quote_volume": 1 << 70,
            "taker_buy_volume": 1_000_000_000, "trade_count": 1_300,
            "first_trade_id": 3_700_000_001, "last_trade_id": 3_700_001_300,
            "flags": BarFlag.GAP | BarFlag.PARTIAL,
        },
        {
            **_AT, "n": 33 << 24 | 2, "ts_open": TS, "ts_close": TS, "sequence": 3,
            "aggregation": BarAggregation.RENKO, "step": 50 * 10**18, "threshold": 50 * 10**18,
            "open": 61_850_00_000_000, "high": 61_850_00_000_000, "low": 61_800_00_000_000,
            "close": 61_800_00_000_000, "trade_count": 0,
            "first_trade_id": 3_700_001_301, "last_trade_id": 3_700_001_301,
        },
    ],
    "resampled_bar": [
        {
            **_AT, "ts_open": TS, "ts_close": TS + 180_000 * _MS, "interval_s": 180, "revision": 2,
            "open": 61_837_63_000_000, "high": 61_900_00_000_000, "low": 61_800_00_000_000,
            "close": 61_850_10_000_000, "volume": 1_234_567_890, "quote_volume": 1 << 70,
            "taker_buy_volume": 1_000_000_000, "trade_count": 1_300,
            "first_trade_id": 3_700_000_001, "last_trade_id": 3_700_001_300,
            "flags": BarFlag.GAP | BarFlag.LATE,
        },
    ],
    "composite_bar": [
        {
            **_AT, "ts_open": TS, "interval_s": 60, "revision": 1,
            "open": 61_837_63_000_000, "high": 61_900_00_000_000, "low": 61_800_00_000_000,
            "close": 61_850_10_000_000, "volume": 1_234_567_890, "quote_volume": 1 << 70,
            "taker_buy_volume": 1_000_000_000, "trade_count": 1_300, "venues": "BINANCE,OKX",
            "missing": "BYBIT", "late": "OKX", "flags": BarFlag.LATE | BarFlag.STALE,
        },
    ],
    "indicator": [
        {
            **_AT, "ts_open": TS, "ts_close": TS + 60_000 * _MS, "revision": 1,
            "flags": BarFlag.LATE, "indicator": "macd(12,26,9)", "output": "histogram",
            "value": -12.0625,
        },
        {
            **_AT, "n": 33 << 24 | 2, "ts_open": TS, "ts_close": TS + 60_000 * _MS,
            "indicator": "sma(20)", "output": "sma", "value": 61_850.1,
        },
    ],
    "signal": [
        {
            **_AT, "ts_open": TS, "ts_close": TS + 900_000 * _MS, "revision": 1,
            "flags": BarFlag.LATE, "bars": "15m", "status": SignalStatus.RAISED,
            "recommendation": Recommendation.BUY, "trend": ScreenTrend.BULLISH,
            "momentum": Momentum.MODERATE, "volatility": Volatility.LOW, "score": 65.0,
            "rsi_points": 15.0, "macd_points": -10.0, "average_points": 0.0, "band_points": 10.0,
            "stochastic_points": 0.0, "close": 61_837.63, "rsi": 29.5, "macd": -12.25,
            "macd_signal": -11.5, "ema_20": 61_900.5, "ema_50": 61_837.63, "ema_200": 62_000.25,
            "upper": 62_100.5, "lower": 61_840.5, "stochastic_k": 21.5, "stochastic_d": 19.25,
            "adx": 22.5, "atr_percent": 0.75,
        },
        {
            **_AT, "n": 33 << 24 | 2, "ts_open": TS, "ts_close": TS + 900_000 * _MS, "bars": "tick",
            "status": SignalStatus.WITHDRAWN,
        },
    ],
    "anomaly": [
        {
            **_AT, "ts_open": TS, "ts_close": TS + 60_000 * _MS, "revision": 1,
            "flags": BarFlag.LATE, "bars": "1m", "detector": "pump_and_dump(60)",
            "severity": Severity.HIGH, "score": 72.5, "threshold": 50.0, "close": 61_837.63,
            "volume_points": 25.0, "price_points": 20.0, "rapidity_points": 12.5,
            "lost_points": 15.0,
        },
        {
            **_AT, "n": 33 << 24 | 2, "ts_open": TS, "ts_close": TS + 60_000 * _MS, "bars": "tick",
            "sequence": 4_711, "detector": "return_z(60)", "severity": Severity.NONE,
            "score": -2.875, "threshold": 3.0, "median": 0.0, "deviation": 0.0009765625,
        },
    ],
    "book": [
        {
            "ts_event": TS + 20 * _MS, "ts_recv": TS + 22 * _MS,
            "first_update_id": 49_000_000_012, "last_update_id": 49_000_000_019,
            "price": 61_837_00_000_000, "quantity": 0, "side": OrderSide.BUY,
            "flags": RecordFlag.NONE,
        },
        {
            "ts_event": TS + 20 * _MS, "ts_recv": TS + 22 * _MS,
            "first_update_id": 49_000_000_012, "last_update_id": 49_000_000_019,
            "price": 61_838_00_000_000, "quantity": 77_000_000, "side": OrderSide.SELL,
            "flags": RecordFlag.LAST | RecordFlag.SNAPSHOT,
        },
    ],
    "derivative": [
        {
            "ts_event": TS + 21 * _MS, "ts_recv": TS + 23 * _MS,
            "mark_price": 61_840_12_345_678, "index_price": 61_839_00_000_000,
            "funding_rate": -100_000_000, "next_funding_time": TS + 28_800_000 * _MS,
            "funding_interval_s": 28_800, "open_interest": 8_123_456_000_000,
            "fields": 0b111111, "flags": RecordFlag.NONE,
        },
    ],
    "liquidation": [
        {
            "ts_event": TS + 24 * _MS, "ts_recv": TS + 26 * _MS,
            "price": 61_000_00_000_000, "average_price": 61_010_50_000_000,
            "quantity": 300_000_000, "filled_quantity": 300_000_000,
            "side": OrderSide.SELL, "flags": RecordFlag.LIQUIDATION,
        },
    ],
    "venue_bar": [
        {
            "ts_event": TS + 60_010 * _MS, "ts_recv": TS + 60_012 * _MS, "ts_open": TS,
            "interval_s": 60, "open": 61_837_63_000_000, "high": 61_900_00_000_000,
            "low": 61_800_00_000_000, "close": 61_850_10_000_000, "volume": 1_234_567_890,
            "quote_volume": 1 << 70, "trade_count": 1_300, "flags": RecordFlag.NONE,
        },
    ],
    "price": [
        {
            **_AT, "ts": TS + 500 * _MS, "volume": 2_345_678_901_234, "quote_volume": 1 << 90,
            "last_price_sum": 2 * 618_376_300_000_000, "high_price": 618_400_000_000_000,
            "low_price": 618_376_300_000_000, "best_bid": 618_376_200_000_000,
            "best_bid_quantity": 150_000_000, "best_ask": 618_376_300_000_000,
            "best_ask_quantity": 4_321, "high_venue": "BINANCE_US", "low_venue": "BINANCE",
            "best_bid_venue": "BINANCE", "best_ask_venue": "SIXTEEN_CHARS_XX", "venues": 2,
            "flags": BarFlag.PARTIAL,
        },
    ],
    "book_metrics": [
        {
            **_AT, "ts": TS + 500 * _MS, "ts_event": TS + 480 * _MS, "ts_recv": TS + 482 * _MS,
            "last_update_id": 49_000_000_019, "bid_price": 61_837_62_000_000,
            "bid_quantity": 150_000_000, "ask_price": 61_837_63_000_000, "ask_quantity": 4_321,
            "spread": 1_000_000, "spread_ratio": 161, "bid_depth_1": 1 << 70,
            "ask_depth_1": 1 << 69, "bid_depth_5": 1 << 71, "ask_depth_5": 1 << 70,
            "bid_volume_1": 3_000_000_000, "ask_volume_1": 1_000_000_000,
            "imbalance": 500_000_000, "bid_wall_price": 61_500_00_000_000,
            "bid_wall_quantity": 900_000_000, "confidence": 750_000_000, "bid_levels": 5_000,
            "ask_levels": 4_990, "bid_walls": 3, "liquidity_score": 61,
            "state": BookState.VALID, "spread_quality": SpreadQuality.EXCELLENT,
            "signal": Signal.BUY, "flags": BookFlag.TRUNCATED,
        },
        {
            **_AT, "ts": TS + 700 * _MS, "ts_event": TS + 480 * _MS, "ts_recv": TS + 482 * _MS,
            "last_update_id": 49_000_000_019, "state": BookState.INVALID, "flags": BookFlag.STALE,
        },
    ],
    "book_level": [
        {
            **_AT, "ts": TS + 500 * _MS, "last_update_id": 49_000_000_019,
            "price": 61_837_62_000_000, "quantity": 150_000_000, "side": OrderSide.BUY,
            "flags": BookFlag.NONE,
        },
        {
            **_AT, "ts": TS + 500 * _MS, "last_update_id": 49_000_000_019,
            "price": 61_838_00_000_000, "quantity": 77_000_000, "level": 1,
            "side": OrderSide.SELL, "flags": BookFlag.TRUNCATED,
        },
    ],
    "book_snapshot": [
        {
            **_AT, "ts": TS + 22 * _MS, "last_update_id": 49_000_000_019,
            "price": 61_000_00_000_000, "quantity": 1, "level": 4_999, "side": OrderSide.BUY,
            "flags": BookFlag.NONE,
        },
        {**_AT, "ts": TS + 22 * _MS, "last_update_id": 49_000_000_020},
    ],
    "derivative_metrics": [
        {
            **_AT, "ts": TS + 500 * _MS, "ts_event": TS + 21 * _MS, "ts_recv": TS + 23 * _MS,
            "mark_price": 61_840_12_345_678, "index_price": 61_839_00_000_000,
            "basis": 1_12_345_678, "basis_ratio": 18_167, "funding_rate": -100_000_000,
            "funding_annualized": -109_500_000_000, "funding_24h": -90_000_000,
            "funding_7d": 20_000_000, "next_funding_time": TS + 28_800_000 * _MS,
            "funding_interval_s": 28_800, "open_interest": 8_123_456_000_000,
            "open_interest_change": -1_000_000_000_000,
            "open_interest_change_ratio": -109_609_149, "last_price": 61_841_00_000_000,
            "price_change": -2_000_00_000_000, "price_change_ratio": -31_327_830,
            "volume": 1 << 70, "fields": 0b111111, "funding_signal": FundingSignal.BEARISH,
            "interest_signal": InterestSignal.LONG_LIQUIDATION,
            "flags": DerivativeFlag.PARTIAL_7D,
        },
    ],
    "opportunity": [
        {
            **_AT, "ts": TS + 500 * _MS, "ts_opened": TS + 200 * _MS, "opened_r": 4_700,
            "opened_i": 1, "changes": 2, "buy_price": 618_376_300_000_000,
            "sell_price": 619_999_900_000_000, "quantity": 150_000_000,
            "buy_notional": 92_756_445_000 * 10**12, "sell_notional": 92_999_985_000 * 10**12,
            "buy_fee": 92_756_445 * 10**12, "sell_fee": 92_999_985 * 10**12,
            "gross": 243_540_000 * 10**12, "net": 57_783_570 * 10**12,
            "spread_ratio": 2_625_585, "gross_ratio": 2_625_585, "net_ratio": 622_960,
            "buy_fee_ppm": 1_000, "sell_fee_ppm": 1_000, "buy_venue": "BINANCE",
            "buy_symbol": "BTCUSDT", "sell_venue": "BYBIT", "sell_symbol": "BTCUSDT-SPOT",
            "venues": 3, "legs": Legs.SPOT, "status": OpportunityStatus.CHANGED,
            "flags": OpportunityFlag.BOUNDED,
        },
    ],
}  # fmt: skip
"""Raw values of one frame of every kind; fields left out are zero."""

EVENTS: dict[str, Event] = {
    event.tag(): event
    for event in (
        InstrumentDefinedV1(
            sequence=SEQUENCE, **_BTC, product="SPOT", base="BTC", quote="USDT",
            tick_size="0.01000000", lot_size="0.00001000", min_notional="5.00000000", ts_event=TS,
        ),
        InstrumentDefined(
            sequence=SEQUENCE, venue="BYBIT", symbol="BTCUSDT-LINEAR", raw_symbol="BTCUSDT",
            product="LINEAR", kind="PERPETUAL", base="BTC", quote="USDT", settle="USDT",
            price_exponent=-1, quantity_exponent=-2, tick_size="0.1", lot_size="0.01",
            contract_multiplier="0.01", funding_interval_s=28_800, ts_listed=TS, ts_event=TS,
        ),
        TradeGapSuspected(
            sequence=SEQUENCE, **_BTC, ts_from=TS, ts_to=TS + 60_000 * _MS,
            ts_recv=TS + 61_000 * _MS, reason="BAR_DIFFERS", expected="12.5", received="12.25",
        ),
        BookGapDetected(
            sequence=SEQUENCE, **_BTC, last_update_id=17, expected_id=17, received_id=19,
            ts_recv=TS, reason="GAP",
        ),
        BookResynced(
            sequence=SEQUENCE, **_BTC, last_update_id=40, invalid_ns=800 * _MS, attempts=2,
            ts_recv=TS + 800 * _MS,
        ),
        ChecksumMismatch(
            sequence=SEQUENCE, **_BTC, last_update_id=17, expected=-1_881_014_294,
            computed=831_078_360, ts_recv=TS,
        ),
        FeedConnected(sequence=SEQUENCE, **_BTC_FEED, connection=1, ts_recv=TS),
        FeedDisconnected(
            sequence=SEQUENCE, **_BTC_FEED, connection=1, ts_recv=TS + _MS,
            reason='no pong for 20 s, "1006"',
        ),
        FeedStale(
            sequence=SEQUENCE, **_BTC_FEED, **_AT, ts=TS, silent_ns=5_000 * _MS, state="STALE"
        ),
        TradeGapDetected(sequence=SEQUENCE, **_BTC, first_id=11, last_id=13, ts_recv=TS),
        TradeGapFilled(sequence=SEQUENCE, **_BTC, first_id=11, last_id=12, ts_recv=TS + _MS),
        TradeGapDeclared(
            sequence=SEQUENCE, **_BTC, first_id=13, last_id=13, ts_from=TS, ts_to=TS + _MS,
            ts_recv=TS + 2_000 * _MS, reason="not answered within 2 s",
        ),
        RecordsGivenUp(
            sequence=SEQUENCE, **_BTC_FEED, records=1_300, ts_from=TS, ts_to=TS + _MS,
            reason="not acknowledged within 10 s",
        ),
        ClockSkew(
            sequence=SEQUENCE, **_BTC_FEED, offset_ns=-3 * _MS, latency_ns=2 * _MS, ts_recv=TS
        ),
        CodeDeployed(sequence=SEQUENCE, graph="market", code_hash="0" * 64),
        DeadLetterSkipped(sequence=SEQUENCE, processor="bars", r=4_711, reason="known bad frame"),
        DeadLetter(
            sequence=SEQUENCE, **_AT, processor="bars", subject="md.trade.BINANCE.BTCUSDT.33",
            reason="crc does not match", policy="park", payload="AAECAw==",
        ),
        RangeSealed(
            sequence=SEQUENCE, log="5f" * 16, r0=4_001, r1=4_711, messages=711, ts=TS,
            file="00000000000000004001-00000000000000004711.parquet", file_bytes=3_145_728,
            file_sha256="a0" * 32, chain="b1" * 32, previous="c2" * 32,
        ),
        TrimAnnounced(sequence=SEQUENCE, log="5f" * 16, r1=4_711),
        ActivityBarsDefined(
            sequence=SEQUENCE, name="dense", instruments=("BTCUSDT.BINANCE", "*.OKX"),
            bars=("1000-TICK", "0.5-RENKO", "VALUE_RUNS"),
        ),
        ActivityBarsRemoved(sequence=SEQUENCE, name="dense"),
        AnomaliesDefined(
            sequence=SEQUENCE, name="watch", instruments=("BTCUSDT.BINANCE", "*.OKX"),
            bars="1m", detectors=("return_z(60)", "flash_crash"),
        ),
        AnomaliesRemoved(sequence=SEQUENCE, name="watch"),
        CompositeDefined(
            sequence=SEQUENCE, name="btc", instrument="BTCUSDT.COMPOSITE",
            members=("BTCUSDT.BINANCE", "BTC-USDT.OKX"), bars=("1m", "1h"), hold_s=10,
        ),
        CompositeRemoved(sequence=SEQUENCE, name="btc"),
        IndicatorSetDefined(
            sequence=SEQUENCE, name="trend", instruments=("BTCUSDT.BINANCE", "*.OKX"),
            bars=("1m", "1h"), indicators=("sma(200)", "macd(12,26,9)", "obv"),
        ),
        IndicatorSetRemoved(sequence=SEQUENCE, name="trend"),
        ScreenDefined(
            sequence=SEQUENCE, name="oversold", instruments=("BTCUSDT.BINANCE", "*.OKX"),
            bars="15m", condition="rsi(14) < 30 and close > sma(200)",
        ),
        ScreenRemoved(sequence=SEQUENCE, name="oversold"),
        FeesDefined(
            sequence=SEQUENCE, venue="BINANCE", product="SPOT", taker_ppm=1_000, maker_ppm=-50
        ),
    )
}  # fmt: skip
"""One event of every type, by tag."""


_RANGES: dict[FieldType, tuple[float | str, float | str]] = {
    "uint8": (0, 2**8 - 1),
    "uint16": (0, 2**16 - 1),
    "uint32": (0, 2**32 - 1),
    "uint64": (0, 2**64 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "int128": (-(2**127), 2**127 - 1),
    "double": (-1.7976931348623157e308, 1.7976931348623157e308),
    "char16": ("", "X" * 16),
    "char48": ("", "X" * 48),
    "char136": ("", "X" * 136),
}


def extremes(kind: Kind) -> list[Row]:
    """Return a row of the lowest and one of the highest value of every field."""
    return [{field.name: _RANGES[field.type][end] for field in kind.fields} for end in (0, 1)]


def encoded(name: str) -> bytes:
    """Return the example frame of the kind `name`."""
    kind = KINDS[name]
    return frame.encode(kind, from_rows(kind, ROWS[name]), SEQUENCE, *exponents(name))


def exponents(name: str) -> tuple[int, int]:
    """Return the exponents (price, quantity) of the example frame of the kind `name`."""
    return EXPONENTS.get(name, (-8, -8))


def decoded(name: str) -> Frame:
    """Return the example frame of the kind `name`, decoded."""
    return frame.decode(encoded(name), {KINDS[name].template_id: KINDS[name]})
