-- The newest bars of one instrument and aggregation that closed by what was traded, each as last
-- revised.
SELECT
    _r AS r,
    aggregation,
    sequence,
    toUnixTimestamp64Nano(ts_open) AS open_ns,
    toUnixTimestamp64Nano(ts_close) AS close_ns,
    revision,
    step,
    threshold,
    open,
    high,
    low,
    close,
    volume,
    quote_volume,
    taker_buy_volume,
    trade_count,
    first_trade_id,
    last_trade_id,
    flags
FROM {{activity_bars}}
WHERE symbol = {symbol:String}
    AND venue = {venue:String}
    AND aggregation = {aggregation:String}
    AND ({step:String} = '' OR step = toDecimal128OrZero({step:String}, 18))
    AND ts_open >= fromUnixTimestamp64Nano({from:Int64})
    AND ts_open < fromUnixTimestamp64Nano({to:Int64})
    AND _r <= {as_of:UInt64}
ORDER BY sequence DESC, _r DESC, _i DESC, _n DESC
LIMIT 1 BY sequence
LIMIT {limit:UInt32}
