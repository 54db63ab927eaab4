-- The newest values of one instrument's indicators over bars of one spec, each as last revised.
SELECT *
FROM (
    SELECT
        _r AS r,
        _n AS n,
        indicator,
        output,
        toUnixTimestamp64Nano(ts_open) AS open_ns,
        toUnixTimestamp64Nano(ts_close) AS close_ns,
        revision,
        value,
        flags
    FROM {{indicators}}
    WHERE symbol = {symbol:String}
        AND venue = {venue:String}
        AND bars = {bars:String}
        AND ({names:String} = '' OR has(splitByChar(';', {names:String}), toString(indicator)))
        AND ts_open >= fromUnixTimestamp64Nano({from:Int64})
        AND ts_open < fromUnixTimestamp64Nano({to:Int64})
        AND _r <= {as_of:UInt64}
    ORDER BY ts_close DESC, _r DESC, _i DESC, _n DESC
    LIMIT 1 BY indicator, output, ts_open, ts_close
)
ORDER BY indicator, close_ns DESC, n
LIMIT {values:UInt32} BY indicator, output
LIMIT {most:UInt32}
