-- The physical table that answers queries, and how far it is complete; none while it is made anew.
SELECT a.name, a.version, s.t, s.position, s.log_uuid
FROM active a
JOIN physical p ON p.t = a.t AND p.state = 'serving'
JOIN sink s ON s.t = a.t
WHERE a.name = ANY($1::text[])
