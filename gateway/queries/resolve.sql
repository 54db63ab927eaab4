-- Instruments of a symbol, or else of a pair, as they were defined at a position.
SELECT *, symbol = $2 AS by_symbol
FROM {{instruments}}
WHERE _r <= $1 AND r_to > $1 AND (symbol = $2 OR base || '/' || quote = $3)
ORDER BY by_symbol DESC, product = 'COMPOSITE', product <> 'SPOT', venue, symbol
