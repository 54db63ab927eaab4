-- The newest anomalies of a window, each as last revised; those that were taken back are not there.
SELECT *
FROM (
    SELECT
        detectors,
        symbol,
        venue,
        bars,
        toUnixTimestamp64Nano(ts_open) AS open_ns,
        toUnixTimestamp64Nano(ts_close) AS close_ns,
        sequence,
        revision,
        flags,
        detector,
        severity,
        score,
        threshold,
        close,
        median,
        deviation,
        density,
        volume_points,
        price_points,
        rapidity_points,
        lost_points,
        liquidation_points,
        imbalance_points,
        depth_points,
        cascade,
        volatility,
        depth,
        asks_over_bids,
        _r AS r,
        _i AS i,
        _n AS n
    FROM {{anomalies}}
    WHERE ({symbol:String} = '' OR symbol = {symbol:String})
        AND ({venue:String} = '' OR venue = {venue:String})
        AND ({bars:String} = '' OR bars = {bars:String})
        AND ({detector:String} = '' OR splitByChar('(', detector)[1] = {detector:String})
        AND ts_close > fromUnixTimestamp64Nano({from:Int64})
        AND ts_close <= fromUnixTimestamp64Nano({to:Int64})
        AND _r <= {as_of:UInt64}
    ORDER BY _r DESC, _i DESC, _n DESC
    LIMIT 1 BY detectors, symbol, venue, bars, ts_open, sequence, detector
)
WHERE severity >= {severity:String}
ORDER BY r DESC, i DESC, n DESC
LIMIT {limit:UInt32}
