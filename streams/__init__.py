"""How events travel: the log port, subjects, the runtime loop, and the feeds."""
