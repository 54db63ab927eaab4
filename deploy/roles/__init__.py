"""What one process can be: feeds, time, graph, projections, queries, live, archive."""
