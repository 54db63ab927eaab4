-- migrate:up
CREATE TABLE IF NOT EXISTS anomalies__v1 (
    _r UInt64 CODEC(Delta, ZSTD),
    _i UInt32 CODEC(Delta, ZSTD),
    _n UInt32 CODEC(Delta, ZSTD),
    detectors LowCardinality(String),
    symbol LowCardinality(String),
    venue LowCardinality(String),
    bars LowCardinality(String),
    ts_open DateTime64(9, 'UTC') CODEC(Delta, ZSTD),
    ts_close DateTime64(9, 'UTC') CODEC(Delta, ZSTD),
    sequence UInt64 CODEC(Delta, ZSTD),
    revision UInt32 CODEC(ZSTD),
    flags UInt16 CODEC(ZSTD),
    detector LowCardinality(String),
    severity Enum8('NONE' = 0, 'LOW' = 1, 'MEDIUM' = 2, 'HIGH' = 3, 'CRITICAL' = 4) CODEC(ZSTD),
    score Float64 CODEC(Gorilla, ZSTD),
    threshold Float64 CODEC(Gorilla, ZSTD),
    close Float64 CODEC(Gorilla, ZSTD),
    median Float64 CODEC(Gorilla, ZSTD),
    deviation Float64 CODEC(Gorilla, ZSTD),
    density Float64 CODEC(Gorilla, ZSTD),
    volume_points Float64 CODEC(Gorilla, ZSTD),
    price_points Float64 CODEC(Gorilla, ZSTD),
    rapidity_points Float64 CODEC(Gorilla, ZSTD),
    lost_points Float64 CODEC(Gorilla, ZSTD),
    liquidation_points Float64 CODEC(Gorilla, ZSTD),
    imbalance_points Float64 CODEC(Gorilla, ZSTD),
    depth_points Float64 CODEC(Gorilla, ZSTD),
    cascade Float64 CODEC(Gorilla, ZSTD),
    volatility Float64 CODEC(Gorilla, ZSTD),
    depth Float64 CODEC(Gorilla, ZSTD),
    asks_over_bids Float64 CODEC(Gorilla, ZSTD),
    INDEX ir _r TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(ts_open)
ORDER BY (symbol, venue, ts_open, detectors, bars, detector, _r, _i, _n)
SETTINGS non_replicated_deduplication_window = 1000,
    auto_statistics_types = '',
    min_bytes_for_wide_part = 67108864,
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_rows_to_fsync_after_merge = 1,
    min_compressed_bytes_to_fsync_after_merge = 1;

-- migrate:down
DROP TABLE IF EXISTS anomalies__v1;
