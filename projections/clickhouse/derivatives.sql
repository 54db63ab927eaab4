-- migrate:up
CREATE TABLE IF NOT EXISTS derivatives__v1 (
    _r UInt64 CODEC(Delta, ZSTD),
    _i UInt32 CODEC(Delta, ZSTD),
    _n UInt32,
    symbol LowCardinality(String),
    venue LowCardinality(String),
    ts_event DateTime64(9, 'UTC') CODEC(Delta, ZSTD),
    ts_recv DateTime64(9, 'UTC') CODEC(Delta, ZSTD),
    mark_price Decimal(38, 18) CODEC(GCD, ZSTD),
    index_price Decimal(38, 18) CODEC(GCD, ZSTD),
    funding_rate Decimal(38, 18) CODEC(GCD, ZSTD),
    next_funding_time DateTime64(9, 'UTC') CODEC(Delta, ZSTD),
    funding_interval_s UInt32,
    open_interest Decimal(38, 18) CODEC(GCD, ZSTD),
    fields UInt16,
    flags UInt16,
    INDEX ir _r TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMMDD(ts_recv)
ORDER BY (symbol, venue, ts_recv, _r, _i, _n)
SETTINGS non_replicated_deduplication_window = 1000,
    auto_statistics_types = '',
    min_bytes_for_wide_part = 67108864,
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_rows_to_fsync_after_merge = 1,
    min_compressed_bytes_to_fsync_after_merge = 1;

-- migrate:down
DROP TABLE IF EXISTS derivatives__v1;
