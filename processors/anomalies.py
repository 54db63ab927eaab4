"""Anomalies of bars as they close: which detectors watch what is what LOG says (AnomaliesDefined).

Where a detector's score is of a higher severity than at the bar before, there is an anomaly; while
the severity stays, or falls, there is none. What a detector looks back on begins with the first bar
that closes after its definition. Of the instrument's book it sees what was told last when the bar
closed.

A revision of the newest bar is taken in its place: what the detector then says is told again with
the bar's revision, and severity NONE takes back what no longer holds. A revision of an older bar
cannot be undone: anomalies carry LATE until as many bars have closed as the detector looks back on;
and so for each flag of a bar.
"""

from tidemill.processors.kernels.screen_market import hear
from tidemill.processors.kernels.screen_state import STATE
from tidemill.processors.processor import Emit, Processor, Records, Run


def step(state: Records, run: Run) -> list[Emit]:
    """Take one run of bars, or of what is told of books, into the detectors of their instruments;
    `state` (S,) changes."""
    if run.kind == "book_metrics":
        hear(state, run)
        return []
    if not run.settings:
        return []
    # Where no detector was ever defined, none of those kernels is compiled or loaded.
    from tidemill.processors.kernels.anomaly_plan import anomalies_of
    from tidemill.processors.kernels.anomaly_run import watch
    from tidemill.processors.kernels.screen_run import told

    return told(state, run, anomalies_of(run.settings), watch, "anomaly")


ANOMALIES = Processor(
    name="anomalies",
    version=1,
    scope="pair",
    reads=("activity_bar", "bar", "composite_bar", "resampled_bar", "book_metrics"),
    emits=("anomaly",),
    state=STATE,
    step=step,
    exponents=(0, 0),
    settings=("anomalies",),
    poison="skip",
)
