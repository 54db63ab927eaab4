-- How far every table is, and whether it is the one that answers queries.
SELECT s.t, s.log_uuid, s.position, s.floor, s.epoch, s.updated_at,
       a.t IS NOT NULL AS active
FROM sink s
LEFT JOIN active a ON a.t = s.t
ORDER BY s.t
