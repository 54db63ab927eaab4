-- The version of a table that answers queries, and how far it is complete.
SELECT a.name, a.version, s.t, s.position, s.log_uuid
FROM active a
JOIN sink s ON s.t = a.name || '__v' || a.version
WHERE a.name = ANY($1::text[])
