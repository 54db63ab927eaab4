-- One contract's metrics of a window of time, the last of each interval, newest first.
SELECT
    _r AS r,
    symbol,
    venue,
    toUnixTimestamp64Nano(ts) AS ns,
    toUnixTimestamp64Nano(ts_event) AS event_ns,
    toUnixTimestamp64Nano(ts_recv) AS recv_ns,
    mark_price,
    index_price,
    basis,
    basis_ratio,
    funding_rate,
    funding_annualized,
    funding_24h,
    funding_7d,
    toUnixTimestamp64Nano(next_funding_time) AS next_funding_ns,
    funding_interval_s,
    open_interest,
    open_interest_change,
    open_interest_change_ratio,
    last_price,
    price_change,
    price_change_ratio,
    volume,
    fields,
    funding_signal,
    interest_signal,
    flags
FROM {{derivative_metrics}}
WHERE symbol = {symbol:String}
    AND venue = {venue:String}
    AND ts > fromUnixTimestamp64Nano({from:Int64})
    AND ts <= fromUnixTimestamp64Nano({to:Int64})
    AND _r <= {as_of:UInt64}
ORDER BY ts DESC, _r DESC, _i DESC, _n DESC
LIMIT 1 BY intDiv(toUnixTimestamp64Nano(ts), {every_ns:Int64})
LIMIT {limit:UInt32}
