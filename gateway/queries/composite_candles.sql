-- The newest closed bars of a composite, of each interval its latest revision.
SELECT
    _r AS r,
    toUnixTimestamp64Nano(ts_open) AS open_ns,
    revision,
    open,
    high,
    low,
    close,
    volume,
    quote_volume,
    taker_buy_volume,
    trade_count,
    venues,
    missing,
    late,
    flags
FROM {{composite_bars}}
WHERE symbol = {symbol:String}
    AND venue = {venue:String}
    AND interval_s = {interval_s:UInt32}
    AND ts_open >= fromUnixTimestamp64Nano({from:Int64})
    AND ts_open < fromUnixTimestamp64Nano({to:Int64})
    AND _r <= {as_of:UInt64}
ORDER BY ts_open DESC, _r DESC, _i DESC, _n DESC
LIMIT 1 BY ts_open
LIMIT {limit:UInt32}
