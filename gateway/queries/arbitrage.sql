-- Opportunities that stand open at a position: of each way its newest row, unless that closed it.
SELECT *
FROM (
    SELECT
        _r AS r,
        pair,
        toUnixTimestamp64Nano(ts) AS ns,
        toUnixTimestamp64Nano(ts_opened) AS opened_ns,
        opened_r,
        changes,
        buy_price,
        sell_price,
        quantity,
        buy_notional,
        sell_notional,
        buy_fee,
        sell_fee,
        gross,
        net,
        spread_ratio,
        gross_ratio,
        net_ratio,
        buy_venue,
        buy_symbol,
        sell_venue,
        sell_symbol,
        venues,
        legs,
        status,
        flags
    FROM {{opportunities}}
    WHERE ts > fromUnixTimestamp64Nano({from:Int64}) AND _r <= {as_of:UInt64}
    ORDER BY _r DESC, _i DESC, _n DESC
    LIMIT 1 BY pair, buy_venue, buy_symbol, sell_venue, sell_symbol
)
WHERE status != 'CLOSED'
    AND spread_ratio >= toDecimal128({least:String}, 18)
    AND ({legs:String} = '' OR toString(legs) = {legs:String})
ORDER BY spread_ratio DESC, r DESC
LIMIT {limit:UInt32}
