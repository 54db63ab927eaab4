-- The newest state of every feed that was ever silent.
SELECT
    venue,
    product,
    argMax(state, (_r, _i, _n)) AS newest_state,
    argMax(silent_ns, (_r, _i, _n)) AS newest_silent_ns,
    argMax(toUnixTimestamp64Nano(ts), (_r, _i, _n)) AS ns,
    max(_r) AS r
FROM {{feed_states}}
WHERE _r <= {as_of:UInt64} AND ({venue:String} = '' OR venue = {venue:String})
GROUP BY venue, product
ORDER BY venue, product
