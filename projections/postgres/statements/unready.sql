-- Which of these physical tables may not answer yet: one that is not ready ($2: the states that
-- are), is of another log, or is behind the one that answers now.
SELECT w.t, p.state, coalesce(s.position, 0) AS position, o.t AS old, o.position AS old_position
FROM unnest($1::text[]) AS w (t)
LEFT JOIN physical p ON p.t = w.t
LEFT JOIN sink s ON s.t = w.t
LEFT JOIN active a ON a.name = p.name
LEFT JOIN sink o ON o.t = a.t
WHERE p.state IS NULL OR p.state <> ALL ($2::text[])
    OR (o.t IS NOT NULL AND (s.t IS NULL OR s.position < o.position OR s.log_uuid <> o.log_uuid))
ORDER BY w.t
LIMIT 1
