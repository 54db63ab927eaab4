-- migrate:up
CREATE TABLE IF NOT EXISTS top_levels__v1 (
    _r UInt64 CODEC(Delta, ZSTD),
    _i UInt32 CODEC(Delta, ZSTD),
    _n UInt32 CODEC(Delta, ZSTD),
    symbol LowCardinality(String),
    venue LowCardinality(String),
    ts DateTime64(9, 'UTC') CODEC(Delta, ZSTD),
    last_update_id UInt64 CODEC(Delta, ZSTD),
    price Decimal(38, 18) CODEC(GCD, ZSTD),
    quantity Decimal(38, 18) CODEC(GCD, ZSTD),
    level UInt32 CODEC(ZSTD),
    side Enum8('NO_ORDER_SIDE' = 0, 'BUY' = 1, 'SELL' = 2) CODEC(ZSTD),
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
DROP TABLE IF EXISTS top_levels__v1;
