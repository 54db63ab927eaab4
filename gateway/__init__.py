"""Questions in, answers out: read-only queries, live updates, and the doors commands enter by."""
