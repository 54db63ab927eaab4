-- migrate:up
CREATE TABLE IF NOT EXISTS composite_bars__v1 (
    _r UInt64 CODEC(Delta, LZ4),
    _i UInt32 CODEC(Delta, LZ4),
    _n UInt32,
    symbol LowCardinality(String),
    venue LowCardinality(String),
    interval_s UInt32,
    ts_open DateTime64(9, 'UTC') CODEC(Delta, LZ4),
    revision UInt32,
    open Decimal(38, 18),
    high Decimal(38, 18),
    low Decimal(38, 18),
    close Decimal(38, 18),
    volume Decimal(38, 18),
    quote_volume Decimal(38, 18),
    taker_buy_volume Decimal(38, 18),
    trade_count UInt64,
    venues LowCardinality(String),
    missing LowCardinality(String),
    late LowCardinality(String),
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

CREATE VIEW IF NOT EXISTS composite_bars__v1_latest AS
SELECT
    t.symbol AS symbol,
    t.venue AS venue,
    t.interval_s AS interval_s,
    t.ts_open AS ts_open,
    argMax(t._r, (t._r, t._i, t._n)) AS _r,
    argMax(t._i, (t._r, t._i, t._n)) AS _i,
    argMax(t._n, (t._r, t._i, t._n)) AS _n,
    argMax(t.revision, (t._r, t._i, t._n)) AS revision,
    argMax(t.open, (t._r, t._i, t._n)) AS open,
    argMax(t.high, (t._r, t._i, t._n)) AS high,
    argMax(t.low, (t._r, t._i, t._n)) AS low,
    argMax(t.close, (t._r, t._i, t._n)) AS close,
    argMax(t.volume, (t._r, t._i, t._n)) AS volume,
    argMax(t.quote_volume, (t._r, t._i, t._n)) AS quote_volume,
    argMax(t.taker_buy_volume, (t._r, t._i, t._n)) AS taker_buy_volume,
    argMax(t.trade_count, (t._r, t._i, t._n)) AS trade_count,
    argMax(t.venues, (t._r, t._i, t._n)) AS venues,
    argMax(t.missing, (t._r, t._i, t._n)) AS missing,
    argMax(t.late, (t._r, t._i, t._n)) AS late,
    argMax(t.flags, (t._r, t._i, t._n)) AS flags
FROM composite_bars__v1 AS t
WHERE t._r <= {as_of:UInt64}
GROUP BY t.symbol, t.venue, t.interval_s, t.ts_open;

-- migrate:down
DROP VIEW IF EXISTS composite_bars__v1_latest;
DROP TABLE IF EXISTS composite_bars__v1;
