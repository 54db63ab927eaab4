"""What can go wrong, named for what the caller must do; anything else is a bug and crashes.

Unreadable    these bytes will never decode: dead-letter them by the processor's policy
Unavailable   a dependency is away: wait, bounded and jittered, and try again
Fenced        someone else owns this: stop
Regressed     the log is not the one we knew: stop before any effect
"""


class Unreadable(Exception):
    """These bytes or values will never be understood, however often they are read."""


class Unavailable(Exception):
    """A server or file that is needed is away; nothing was decided, trying again is safe."""


class Fenced(Exception):
    """Another writer has taken over what this one owned; it must stop and not write again."""


class Regressed(Exception):
    """LOG REGRESSED: the log is shorter than, or not the same as, the one already acted on."""
