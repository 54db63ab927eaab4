-- One book's metrics of a window of time, the last of each interval, newest first.
SELECT
    _r AS r,
    toUnixTimestamp64Nano(ts) AS ns,
    toUnixTimestamp64Nano(ts_event) AS event_ns,
    toUnixTimestamp64Nano(ts_recv) AS recv_ns,
    last_update_id,
    bid_price,
    bid_quantity,
    ask_price,
    ask_quantity,
    spread,
    spread_ratio,
    bid_depth_1,
    ask_depth_1,
    bid_depth_5,
    ask_depth_5,
    bid_volume_1,
    ask_volume_1,
    imbalance,
    bid_wall_price,
    bid_wall_quantity,
    ask_wall_price,
    ask_wall_quantity,
    confidence,
    bid_levels,
    ask_levels,
    bid_walls,
    ask_walls,
    liquidity_score,
    state,
    spread_quality,
    signal,
    flags
FROM {{book_metrics}}
WHERE symbol = {symbol:String}
    AND venue = {venue:String}
    AND ts > fromUnixTimestamp64Nano({from:Int64})
    AND ts <= fromUnixTimestamp64Nano({to:Int64})
    AND _r <= {as_of:UInt64}
ORDER BY ts DESC, _r DESC, _i DESC, _n DESC
LIMIT 1 BY intDiv(toUnixTimestamp64Nano(ts), {every_ns:Int64})
LIMIT {limit:UInt32}
