-- Hold the positions of what answers now, until this transaction ends: its sinks wait with the next.
SELECT s.t FROM active a JOIN sink s ON s.t = a.t WHERE a.name = ANY($1::text[]) FOR UPDATE OF s
