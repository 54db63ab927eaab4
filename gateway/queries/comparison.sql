-- What each of some instruments traded in 24 hours: its closed one-minute bars, as last revised.
SELECT symbol, venue, sum(volume) AS volume, sum(quote_volume) AS quote_volume
FROM (
    SELECT symbol, venue, volume, quote_volume
    FROM {{bars}}
    WHERE symbol IN {symbols:Array(String)}
        AND venue IN {venues:Array(String)}
        AND concat(symbol, '.', venue) IN {ids:Array(String)}
        AND interval_s = 60
        AND ts_open >= fromUnixTimestamp64Nano({from:Int64})
        AND ts_open < fromUnixTimestamp64Nano({to:Int64})
        AND _r <= {as_of:UInt64}
    ORDER BY symbol, venue, ts_open, _r DESC, _i DESC, _n DESC
    LIMIT 1 BY symbol, venue, ts_open
)
GROUP BY symbol, venue
