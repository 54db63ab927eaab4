-- migrate:up
CREATE TABLE IF NOT EXISTS venue_bars__v1 (
    _r UInt64 CODEC(Delta, ZSTD),
    _i UInt32 CODEC(Delta, ZSTD),
    _n UInt32,
    symbol LowCardinality(String),
    venue LowCardinality(String),
    ts_event DateTime64(9, 'UTC') CODEC(Delta, ZSTD),
    ts_recv DateTime64(9, 'UTC') CODEC(Delta, ZSTD),
    ts_open DateTime64(9, 'UTC') CODEC(Delta, ZSTD),
    interval_s UInt32,
    open Decimal(38, 18) CODEC(GCD, ZSTD),
    high Decimal(38, 18) CODEC(GCD, ZSTD),
    low Decimal(38, 18) CODEC(GCD, ZSTD),
    close Decimal(38, 18) CODEC(GCD, ZSTD),
    volume Decimal(38, 18) CODEC(GCD, ZSTD),
    quote_volume Decimal(38, 18) CODEC(GCD, ZSTD),
    trade_count UInt64,
    flags UInt16,
    INDEX ir _r TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(ts_open)
ORDER BY (symbol, venue, interval_s, ts_open, _r, _i, _n)
SETTINGS non_replicated_deduplication_window = 1000,
    auto_statistics_types = '',
    min_bytes_for_wide_part = 67108864,
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_rows_to_fsync_after_merge = 1,
    min_compressed_bytes_to_fsync_after_merge = 1;

-- migrate:down
DROP TABLE IF EXISTS venue_bars__v1;
