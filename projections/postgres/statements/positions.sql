-- How far every table is, and whether it is the version that answers queries.
SELECT s.t, s.log_uuid, s.position, s.floor, s.epoch, s.updated_at,
       a.version IS NOT NULL AS active
FROM sink s
LEFT JOIN active a ON s.t = a.name || '__v' || a.version
ORDER BY s.t
