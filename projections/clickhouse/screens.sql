-- migrate:up
CREATE TABLE IF NOT EXISTS screens__v1 (
    _r UInt64 CODEC(Delta, ZSTD),
    _i UInt32 CODEC(Delta, ZSTD),
    _n UInt32 CODEC(Delta, ZSTD),
    name LowCardinality(String),
    status LowCardinality(String),
    instruments LowCardinality(String),
    bars LowCardinality(String),
    condition LowCardinality(String),
    INDEX ir _r TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
ORDER BY (name, _r, _i, _n)
SETTINGS non_replicated_deduplication_window = 1000,
    auto_statistics_types = '',
    min_bytes_for_wide_part = 67108864,
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_rows_to_fsync_after_merge = 1,
    min_compressed_bytes_to_fsync_after_merge = 1;

-- migrate:down
DROP TABLE IF EXISTS screens__v1;
