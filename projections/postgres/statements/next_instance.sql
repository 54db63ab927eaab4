-- Note the next instance of a version, to be made; a number is never used twice.
INSERT INTO physical (t, name, version, instance, state)
SELECT $1::text || '__v' || $2::integer || CASE next WHEN 1 THEN '' ELSE '_' || next END,
       $1, $2, next, 'building'
FROM (
    SELECT coalesce(max(instance), 0) + 1 AS next
    FROM physical
    WHERE name = $1 AND version = $2
) AS n
RETURNING t, instance
