-- Symbols of a venue that are quoted in one currency, as they were defined at a position.
SELECT symbol FROM {{instruments}} WHERE _r <= $1 AND r_to > $1 AND venue = $2 AND quote = $3
