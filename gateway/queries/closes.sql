-- Closes of the closed bars of some instruments of a venue, each interval as last revised.
SELECT symbol, open_ns, close, flags
FROM (
    SELECT symbol, toUnixTimestamp64Nano(ts_open) AS open_ns, toFloat64(close) AS close, flags
    FROM {{bars}}
    WHERE symbol IN {symbols:Array(String)}
        AND venue = {venue:String}
        AND interval_s = {interval_s:UInt32}
        AND ts_open >= fromUnixTimestamp64Nano({from:Int64})
        AND ts_open < fromUnixTimestamp64Nano({to:Int64})
        AND _r <= {as_of:UInt64}
    ORDER BY symbol, ts_open, _r DESC, _i DESC, _n DESC
    LIMIT 1 BY symbol, ts_open
)
ORDER BY symbol, open_ns
