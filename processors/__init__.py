"""Events in, events out: pure functions over explicit state, one file each."""
