-- migrate:up
CREATE TABLE IF NOT EXISTS derivative_metrics__v1 (
    _r UInt64 CODEC(Delta, ZSTD),
    _i UInt32 CODEC(Delta, ZSTD),
    _n UInt32 CODEC(Delta, ZSTD),
    symbol LowCardinality(String),
    venue LowCardinality(String),
    ts DateTime64(9, 'UTC') CODEC(Delta, ZSTD),
    ts_event DateTime64(9, 'UTC') CODEC(Delta, ZSTD),
    ts_recv DateTime64(9, 'UTC') CODEC(Delta, ZSTD),
    mark_price Decimal(38, 18) CODEC(GCD, ZSTD),
    index_price Decimal(38, 18) CODEC(GCD, ZSTD),
    basis Decimal(38, 18) CODEC(GCD, ZSTD),
    basis_ratio Decimal(38, 18) CODEC(GCD, ZSTD),
    funding_rate Decimal(38, 18) CODEC(GCD, ZSTD),
    funding_annualized Decimal(38, 18) CODEC(GCD, ZSTD),
    funding_24h Decimal(38, 18) CODEC(GCD, ZSTD),
    funding_7d Decimal(38, 18) CODEC(GCD, ZSTD),
    next_funding_time DateTime64(9, 'UTC') CODEC(Delta, ZSTD),
    funding_interval_s UInt32 CODEC(ZSTD),
    open_interest Decimal(38, 18) CODEC(GCD, ZSTD),
    open_interest_change Decimal(38, 18) CODEC(GCD, ZSTD),
    open_interest_change_ratio Decimal(38, 18) CODEC(GCD, ZSTD),
    last_price Decimal(38, 18) CODEC(GCD, ZSTD),
    price_change Decimal(38, 18) CODEC(GCD, ZSTD),
    price_change_ratio Decimal(38, 18) CODEC(GCD, ZSTD),
    volume Decimal(38, 18) CODEC(GCD, ZSTD),
    fields UInt16 CODEC(ZSTD),
    funding_signal Enum8('NEUTRAL' = 0, 'BULLISH' = 1, 'BEARISH' = 2, 'EXTREME_LONGS' = 3, 'EXTREME_SHORTS' = 4) CODEC(ZSTD),
    interest_signal Enum8('NEUTRAL' = 0, 'BULLISH' = 1, 'BEARISH' = 2, 'SHORT_SQUEEZE' = 3, 'LONG_LIQUIDATION' = 4) CODEC(ZSTD),
    flags UInt16 CODEC(ZSTD),
    INDEX ir _r TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(ts)
ORDER BY (symbol, venue, ts, _r, _i, _n)
SETTINGS non_replicated_deduplication_window = 1000,
    auto_statistics_types = '',
    min_bytes_for_wide_part = 67108864,
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_rows_to_fsync_after_merge = 1,
    min_compressed_bytes_to_fsync_after_merge = 1;

-- migrate:down
DROP TABLE IF EXISTS derivative_metrics__v1;
