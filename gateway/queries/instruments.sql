-- Instruments as they were defined at a position: one page, and how many there are.
WITH found AS (
    SELECT *
    FROM {{instruments}}
    WHERE _r <= $1 AND r_to > $1
        AND ($2::text IS NULL OR venue = $2)
        AND ($3::text IS NULL OR symbol = $3)
        AND ($4::text IS NULL OR base || '/' || quote = $4)
        AND ($5::text IS NULL OR status = $5)
        AND ($8::text IS NULL OR product = $8)
)
SELECT (SELECT count(*) FROM found) AS total, page.*
FROM (SELECT 1) AS always
LEFT JOIN (SELECT * FROM found ORDER BY symbol, venue LIMIT $6 OFFSET $7) AS page ON true
