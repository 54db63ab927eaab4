-- migrate:up
CREATE TABLE IF NOT EXISTS activity_bars__v1 (
    _r UInt64 CODEC(Delta, ZSTD),
    _i UInt32 CODEC(Delta, ZSTD),
    _n UInt32 CODEC(Delta, ZSTD),
    symbol LowCardinality(String),
    venue LowCardinality(String),
    aggregation Enum8(
        'TICK' = 1, 'TICK_IMBALANCE' = 2, 'TICK_RUNS' = 3,
        'VOLUME' = 4, 'VOLUME_IMBALANCE' = 5, 'VOLUME_RUNS' = 6,
        'VALUE' = 7, 'VALUE_IMBALANCE' = 8, 'VALUE_RUNS' = 9,
        'RENKO' = 18, 'RANGE' = 100
    ) CODEC(ZSTD),
    sequence UInt64 CODEC(Delta, ZSTD),
    ts_open DateTime64(9, 'UTC') CODEC(Delta, ZSTD),
    ts_close DateTime64(9, 'UTC') CODEC(Delta, ZSTD),
    revision UInt32 CODEC(ZSTD),
    step Decimal(38, 18) CODEC(GCD, ZSTD),
    threshold Decimal(38, 18) CODEC(GCD, ZSTD),
    open Decimal(38, 18) CODEC(GCD, ZSTD),
    high Decimal(38, 18) CODEC(GCD, ZSTD),
    low Decimal(38, 18) CODEC(GCD, ZSTD),
    close Decimal(38, 18) CODEC(GCD, ZSTD),
    volume Decimal(38, 18) CODEC(GCD, ZSTD),
    quote_volume Decimal(38, 18) CODEC(GCD, ZSTD),
    taker_buy_volume Decimal(38, 18) CODEC(GCD, ZSTD),
    trade_count UInt64 CODEC(ZSTD),
    first_trade_id UInt64 CODEC(Delta, ZSTD),
    last_trade_id UInt64 CODEC(Delta, ZSTD),
    flags UInt16 CODEC(ZSTD),
    INDEX ir _r TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(ts_open)
ORDER BY (symbol, venue, aggregation, sequence, _r, _i, _n)
SETTINGS non_replicated_deduplication_window = 1000,
    auto_statistics_types = '',
    min_bytes_for_wide_part = 67108864,
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_rows_to_fsync_after_merge = 1,
    min_compressed_bytes_to_fsync_after_merge = 1;

-- migrate:down
DROP TABLE IF EXISTS activity_bars__v1;
