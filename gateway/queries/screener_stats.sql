-- How much each screen found in a window: of every bar what was last said.
SELECT
    screen,
    bars,
    uniqExact(symbol, venue) AS instruments,
    countIf(status = 'RAISED') AS raised,
    countIf(status = 'WITHDRAWN') AS withdrawn,
    countIf(status = 'SCORED') AS scored,
    sumMapIf([toString(recommendation)], [toUInt64(1)], status != 'WITHDRAWN') AS by_class,
    by_class.1 AS classes,
    by_class.2 AS counts,
    max(close_ns) AS newest_ns
FROM (
    SELECT
        screen,
        symbol,
        venue,
        bars,
        toUnixTimestamp64Nano(ts_close) AS close_ns,
        status,
        recommendation
    FROM {{signals}}
    WHERE ts_close > fromUnixTimestamp64Nano({from:Int64})
        AND ts_close <= fromUnixTimestamp64Nano({to:Int64})
        AND _r <= {as_of:UInt64}
    ORDER BY _r DESC, _i DESC, _n DESC
    LIMIT 1 BY screen, symbol, venue, bars, ts_open, sequence
)
GROUP BY screen, bars
ORDER BY screen, bars
