"""Events into tables: what a reader can query, rebuilt from the log at any time."""
