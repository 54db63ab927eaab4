-- What each instrument of a venue did in 24 hours, by its closed one-minute bars as last revised.
SELECT
    symbol,
    argMin(open, ts_open) AS first,
    argMax(close, ts_open) AS last,
    max(high) AS highest,
    min(low) AS lowest,
    sum(volume) AS base_volume,
    sum(quote_volume) AS notional,
    sum(trade_count) AS trades,
    count() AS minutes,
    groupBitOr(flags) AS all_flags,
    arraySort(x -> x.1, groupArray((ts_open, log(toFloat64(close))))) AS logs,
    arrayPopFront(arrayDifference(arrayMap(x -> x.2, logs))) AS moves,
    if(length(moves) < 2, NULL, 100 * sqrt(1440) * arrayReduce('stddevSamp', moves)) AS volatility
FROM (
    SELECT symbol, ts_open, open, high, low, close, volume, quote_volume, trade_count, flags
    FROM {{bars}}
    WHERE venue = {venue:String}
        AND interval_s = 60
        AND ts_open >= fromUnixTimestamp64Nano({from:Int64})
        AND ts_open < fromUnixTimestamp64Nano({to:Int64})
        AND _r <= {as_of:UInt64}
    ORDER BY symbol, ts_open, _r DESC, _i DESC, _n DESC
    LIMIT 1 BY symbol, ts_open
)
GROUP BY symbol
ORDER BY symbol
