-- migrate:up
CREATE TABLE IF NOT EXISTS book_metrics__v1 (
    _r UInt64 CODEC(Delta, ZSTD),
    _i UInt32 CODEC(Delta, ZSTD),
    _n UInt32 CODEC(Delta, ZSTD),
    symbol LowCardinality(String),
    venue LowCardinality(String),
    ts DateTime64(9, 'UTC') CODEC(Delta, ZSTD),
    ts_event DateTime64(9, 'UTC') CODEC(Delta, ZSTD),
    ts_recv DateTime64(9, 'UTC') CODEC(Delta, ZSTD),
    last_update_id UInt64 CODEC(Delta, ZSTD),
    bid_price Decimal(38, 18) CODEC(GCD, ZSTD),
    bid_quantity Decimal(38, 18) CODEC(GCD, ZSTD),
    ask_price Decimal(38, 18) CODEC(GCD, ZSTD),
    ask_quantity Decimal(38, 18) CODEC(GCD, ZSTD),
    spread Decimal(38, 18) CODEC(GCD, ZSTD),
    spread_ratio Decimal(38, 18) CODEC(GCD, ZSTD),
    bid_depth_1 Decimal(38, 18) CODEC(GCD, ZSTD),
    ask_depth_1 Decimal(38, 18) CODEC(GCD, ZSTD),
    bid_depth_5 Decimal(38, 18) CODEC(GCD, ZSTD),
    ask_depth_5 Decimal(38, 18) CODEC(GCD, ZSTD),
    bid_volume_1 Decimal(38, 18) CODEC(GCD, ZSTD),
    ask_volume_1 Decimal(38, 18) CODEC(GCD, ZSTD),
    imbalance Decimal(38, 18) CODEC(GCD, ZSTD),
    bid_wall_price Decimal(38, 18) CODEC(GCD, ZSTD),
    bid_wall_quantity Decimal(38, 18) CODEC(GCD, ZSTD),
    ask_wall_price Decimal(38, 18) CODEC(GCD, ZSTD),
    ask_wall_quantity Decimal(38, 18) CODEC(GCD, ZSTD),
    confidence Decimal(38, 18) CODEC(GCD, ZSTD),
    bid_levels UInt32 CODEC(ZSTD),
    ask_levels UInt32 CODEC(ZSTD),
    bid_walls UInt32 CODEC(ZSTD),
    ask_walls UInt32 CODEC(ZSTD),
    liquidity_score UInt8 CODEC(ZSTD),
    state Enum8('SYNCHRONIZING' = 0, 'VALID' = 1, 'INVALID' = 2) CODEC(ZSTD),
    spread_quality Enum8('NONE' = 0, 'EXCELLENT' = 1, 'GOOD' = 2, 'FAIR' = 3, 'POOR' = 4) CODEC(ZSTD),
    signal Enum8('NEUTRAL' = 0, 'BUY' = 1, 'SELL' = 2) CODEC(ZSTD),
    flags UInt16 CODEC(ZSTD),
    INDEX ir _r TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMMDD(ts)
ORDER BY (symbol, venue, ts, _r, _i, _n)
SETTINGS non_replicated_deduplication_window = 1000,
    auto_statistics_types = '',
    min_bytes_for_wide_part = 67108864,
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_rows_to_fsync_after_merge = 1,
    min_compressed_bytes_to_fsync_after_merge = 1;

-- migrate:down
DROP TABLE IF EXISTS book_metrics__v1;
