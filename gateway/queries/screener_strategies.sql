-- The screens that were defined last, and not removed since.
SELECT name, instruments, bars, condition, r
FROM (
    SELECT name, status, instruments, bars, condition, _r AS r
    FROM {{screens}}
    WHERE _r <= {as_of:UInt64}
    ORDER BY _r DESC, _i DESC, _n DESC
    LIMIT 1 BY name
)
WHERE status = 'DEFINED'
ORDER BY name
LIMIT 1000
