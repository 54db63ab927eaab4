-- Symbols that trade at a position.
SELECT DISTINCT symbol
FROM {{instruments}}
WHERE _r <= $1 AND r_to > $1 AND status = 'TRADING' AND ($2::text IS NULL OR venue = $2)
ORDER BY symbol
