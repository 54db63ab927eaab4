"""Screens over bars as they close: which conditions, on what, is what LOG says (ScreenDefined).

A screen's condition is looked at with every bar of its spec that closes after its definition. Where
it comes true, having not been true at the bar before, there is a signal; a screen without a
condition says the score of every bar. What a condition looks back on begins with the first of those
bars; until it has seen enough of them, it is not true.

Of the instrument's book and contract a condition sees what was told last when the bar closed, from
whenever that was; what was not told is not known, and no condition on it is true.

A revision of the newest bar is taken in its place: what the screen then says is told again with the
bar's revision, and a signal that no longer holds is WITHDRAWN. A revision of an older bar cannot be
undone: signals carry LATE until as many bars have closed as the screen looks back on; and so for
each flag of a bar.
"""

from tidemill.processors.kernels.screen_market import hear
from tidemill.processors.kernels.screen_state import STATE
from tidemill.processors.processor import Emit, Processor, Records, Run


def step(state: Records, run: Run) -> list[Emit]:
    """Take one run of bars, or of what is told of books and contracts, into the screens of their
    instruments; `state` (S,) changes."""
    if run.kind in ("book_metrics", "derivative_metrics"):
        hear(state, run)
        return []
    if not run.settings:
        return []
    # Where no screen was ever defined, none of those kernels is compiled or loaded.
    from tidemill.processors.kernels.screen_plan import screens_of
    from tidemill.processors.kernels.screen_run import told, watch

    return told(state, run, screens_of(run.settings), watch, "signal")


SCREENER = Processor(
    name="screener",
    version=1,
    scope="pair",
    reads=(
        *("activity_bar", "bar", "composite_bar", "resampled_bar"),
        *("book_metrics", "derivative_metrics"),
    ),
    emits=("signal",),
    state=STATE,
    step=step,
    exponents=(0, 0),
    settings=("screens",),
    poison="skip",
)
