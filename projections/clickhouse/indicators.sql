-- migrate:up
CREATE TABLE IF NOT EXISTS indicators__v1 (
    _r UInt64 CODEC(Delta, ZSTD),
    _i UInt32 CODEC(Delta, ZSTD),
    _n UInt32 CODEC(Delta, ZSTD),
    symbol LowCardinality(String),
    venue LowCardinality(String),
    bars LowCardinality(String),
    indicator LowCardinality(String),
    output LowCardinality(String),
    ts_open DateTime64(9, 'UTC') CODEC(Delta, ZSTD),
    ts_close DateTime64(9, 'UTC') CODEC(Delta, ZSTD),
    revision UInt32 CODEC(ZSTD),
    value Float64 CODEC(Gorilla, ZSTD),
    flags UInt16 CODEC(ZSTD),
    INDEX ir _r TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(ts_open)
ORDER BY (symbol, venue, bars, indicator, output, ts_open, _r, _i, _n)
SETTINGS non_replicated_deduplication_window = 1000,
    auto_statistics_types = '',
    min_bytes_for_wide_part = 67108864,
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_rows_to_fsync_after_merge = 1,
    min_compressed_bytes_to_fsync_after_merge = 1;

-- migrate:down
DROP TABLE IF EXISTS indicators__v1;
