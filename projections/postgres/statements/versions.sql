-- Every physical table there is: of what, in which state, how far, and since when it answers.
SELECT p.t, p.name, p.version, p.instance, p.state, p.left_at, p.target, p.rows, p.rate,
       p.told_at, coalesce(s.position, 0) AS position, s.updated_at, a.since
FROM physical p
LEFT JOIN sink s ON s.t = p.t
LEFT JOIN active a ON a.t = p.t
WHERE p.state <> 'retired'
ORDER BY p.name, p.version, p.instance
