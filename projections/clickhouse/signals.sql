-- migrate:up
CREATE TABLE IF NOT EXISTS signals__v1 (
    _r UInt64 CODEC(Delta, ZSTD),
    _i UInt32 CODEC(Delta, ZSTD),
    _n UInt32 CODEC(Delta, ZSTD),
    screen LowCardinality(String),
    symbol LowCardinality(String),
    venue LowCardinality(String),
    bars LowCardinality(String),
    ts_open DateTime64(9, 'UTC') CODEC(Delta, ZSTD),
    ts_close DateTime64(9, 'UTC') CODEC(Delta, ZSTD),
    sequence UInt64 CODEC(Delta, ZSTD),
    revision UInt32 CODEC(ZSTD),
    flags UInt16 CODEC(ZSTD),
    status Enum8('WITHDRAWN' = 0, 'RAISED' = 1, 'SCORED' = 2) CODEC(ZSTD),
    recommendation Enum8('NONE' = 0, 'STRONG_SELL' = 1, 'SELL' = 2, 'HOLD' = 3, 'BUY' = 4, 'STRONG_BUY' = 5) CODEC(ZSTD),
    trend Enum8('NONE' = 0, 'BEARISH' = 1, 'NEUTRAL' = 2, 'BULLISH' = 3) CODEC(ZSTD),
    momentum Enum8('NONE' = 0, 'WEAK' = 1, 'MODERATE' = 2, 'STRONG' = 3) CODEC(ZSTD),
    volatility Enum8('NONE' = 0, 'LOW' = 1, 'MEDIUM' = 2, 'HIGH' = 3) CODEC(ZSTD),
    score Float64 CODEC(Gorilla, ZSTD),
    rsi_points Float64 CODEC(Gorilla, ZSTD),
    macd_points Float64 CODEC(Gorilla, ZSTD),
    average_points Float64 CODEC(Gorilla, ZSTD),
    band_points Float64 CODEC(Gorilla, ZSTD),
    stochastic_points Float64 CODEC(Gorilla, ZSTD),
    close Float64 CODEC(Gorilla, ZSTD),
    rsi Float64 CODEC(Gorilla, ZSTD),
    macd Float64 CODEC(Gorilla, ZSTD),
    macd_signal Float64 CODEC(Gorilla, ZSTD),
    ema_20 Float64 CODEC(Gorilla, ZSTD),
    ema_50 Float64 CODEC(Gorilla, ZSTD),
    ema_200 Float64 CODEC(Gorilla, ZSTD),
    upper Float64 CODEC(Gorilla, ZSTD),
    lower Float64 CODEC(Gorilla, ZSTD),
    stochastic_k Float64 CODEC(Gorilla, ZSTD),
    stochastic_d Float64 CODEC(Gorilla, ZSTD),
    adx Float64 CODEC(Gorilla, ZSTD),
    atr_percent Float64 CODEC(Gorilla, ZSTD),
    INDEX ir _r TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(ts_open)
ORDER BY (screen, symbol, venue, bars, ts_open, _r, _i, _n)
SETTINGS non_replicated_deduplication_window = 1000,
    auto_statistics_types = '',
    min_bytes_for_wide_part = 67108864,
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_rows_to_fsync_after_merge = 1,
    min_compressed_bytes_to_fsync_after_merge = 1;

-- migrate:down
DROP TABLE IF EXISTS signals__v1;
