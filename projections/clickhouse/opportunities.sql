-- migrate:up
CREATE TABLE IF NOT EXISTS opportunities__v1 (
    _r UInt64 CODEC(Delta, ZSTD),
    _i UInt32 CODEC(Delta, ZSTD),
    _n UInt32 CODEC(Delta, ZSTD),
    pair LowCardinality(String),
    ts DateTime64(9, 'UTC') CODEC(Delta, ZSTD),
    ts_opened DateTime64(9, 'UTC') CODEC(Delta, ZSTD),
    opened_r UInt64 CODEC(Delta, ZSTD),
    opened_i UInt32 CODEC(ZSTD),
    changes UInt32 CODEC(ZSTD),
    buy_price Decimal(38, 18) CODEC(GCD, ZSTD),
    sell_price Decimal(38, 18) CODEC(GCD, ZSTD),
    quantity Decimal(38, 18) CODEC(GCD, ZSTD),
    buy_notional Decimal(38, 18) CODEC(GCD, ZSTD),
    sell_notional Decimal(38, 18) CODEC(GCD, ZSTD),
    buy_fee Decimal(38, 18) CODEC(GCD, ZSTD),
    sell_fee Decimal(38, 18) CODEC(GCD, ZSTD),
    gross Decimal(38, 18) CODEC(GCD, ZSTD),
    net Decimal(38, 18) CODEC(GCD, ZSTD),
    spread_ratio Decimal(38, 18) CODEC(GCD, ZSTD),
    gross_ratio Decimal(38, 18) CODEC(GCD, ZSTD),
    net_ratio Decimal(38, 18) CODEC(GCD, ZSTD),
    buy_fee_rate Decimal(38, 18) CODEC(GCD, ZSTD),
    sell_fee_rate Decimal(38, 18) CODEC(GCD, ZSTD),
    buy_venue LowCardinality(String),
    buy_symbol LowCardinality(String),
    sell_venue LowCardinality(String),
    sell_symbol LowCardinality(String),
    venues UInt8 CODEC(ZSTD),
    legs Enum8('SPOT' = 0, 'PERPETUAL' = 1, 'BASIS' = 2) CODEC(ZSTD),
    status Enum8('CLOSED' = 0, 'OPENED' = 1, 'CHANGED' = 2) CODEC(ZSTD),
    flags UInt16 CODEC(ZSTD),
    INDEX ir _r TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(ts)
ORDER BY (pair, ts, _r, _i, _n)
SETTINGS non_replicated_deduplication_window = 1000,
    auto_statistics_types = '',
    min_bytes_for_wide_part = 67108864,
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_rows_to_fsync_after_merge = 1,
    min_compressed_bytes_to_fsync_after_merge = 1;

-- migrate:down
DROP TABLE IF EXISTS opportunities__v1;
