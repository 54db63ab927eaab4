"""The loop that exists once: read facts in order, step the graph, commit what came of it."""
