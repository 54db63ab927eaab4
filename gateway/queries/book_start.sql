-- Where the newest whole book at or before record i of root as_of stands.
SELECT _r AS r, _i AS i
FROM {{book_snapshots}}
WHERE symbol = {symbol:String}
    AND venue = {venue:String}
    AND _r > {floor:UInt64}
    AND _r <= {as_of:UInt64}
    AND (_r < {as_of:UInt64} OR _i <= {i:UInt32})
ORDER BY _r DESC, _i DESC
LIMIT 1
