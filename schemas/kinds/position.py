"""The position of a derived record: the cause it is ordered by, not its own arrival."""

from tidemill.schemas.frame import Field

AT = (
    Field("at_r", "uint64", "LOG sequence of the record being stepped when this was emitted"),
    Field("at_i", "uint32", "index of that record in its frame"),
    Field("n", "uint32", "partition << 24 | ordinal among the processor's outputs at (r, i)"),
)
"""First fields of every derived kind; with the processor's depth and name, its logical order."""
