-- The newest signals of a window, each as last revised, with what its screen's condition was.
SELECT told.*, defined.condition AS condition
FROM (
    SELECT
        screen,
        symbol,
        venue,
        bars,
        toUnixTimestamp64Nano(ts_open) AS open_ns,
        toUnixTimestamp64Nano(ts_close) AS close_ns,
        revision,
        flags,
        status,
        recommendation,
        trend,
        momentum,
        volatility,
        score,
        rsi_points,
        macd_points,
        average_points,
        band_points,
        stochastic_points,
        close,
        rsi,
        macd,
        macd_signal,
        ema_20,
        ema_50,
        ema_200,
        upper,
        lower,
        stochastic_k,
        stochastic_d,
        adx,
        atr_percent,
        _r AS r,
        _i AS i,
        _n AS n
    FROM {{signals}}
    WHERE ({screen:String} = '' OR screen = {screen:String})
        AND ({symbol:String} = '' OR symbol = {symbol:String})
        AND ({venue:String} = '' OR venue = {venue:String})
        AND ({bars:String} = '' OR bars = {bars:String})
        AND ts_close > fromUnixTimestamp64Nano({from:Int64})
        AND ts_close <= fromUnixTimestamp64Nano({to:Int64})
        AND _r <= {as_of:UInt64}
    ORDER BY _r DESC, _i DESC, _n DESC
    LIMIT 1 BY screen, symbol, venue, bars, ts_open, sequence
) AS told
ASOF LEFT JOIN (
    SELECT name, condition, _r AS said
    FROM {{screens}}
    WHERE _r <= {as_of:UInt64}
) AS defined ON told.screen = defined.name AND told.r >= defined.said
WHERE status != 'WITHDRAWN'
    AND ({recommendation:String} = '' OR toString(recommendation) = {recommendation:String})
ORDER BY r DESC, i DESC, n DESC
LIMIT {limit:UInt32}
