"""LOG and OUT of a run in memory, held against what the checker computes of LOG again."""

from collections.abc import Sequence
from pathlib import Path

from tidemill.tests.faults.checker.appended import decoded
from tidemill.tests.faults.checker.checkpoints import progress_of
from tidemill.tests.faults.checker.messages import Message
from tidemill.tests.faults.checker.recomputed import Recomputed, compare
from tidemill.tests.faults.checker.spool import Spool
from tidemill.tests.faults.checker.verdicts import Verdicts


def judged(log: Sequence[Message], out: Sequence[Message], directory: Path) -> Verdicts:
    """Return what the checker says of the derived records of a whole log."""
    verdicts, recomputed = Verdicts(), Recomputed()
    spool = Spool(directory, verdicts)
    for message in out:
        spool.take(message)
    for message in log:
        recomputed.take(message, *decoded(message))
    progress = progress_of(spool.checkpoints.values())
    derived = spool.range(1, max(len(log), spool.newest))
    expected, letters = recomputed.expected, recomputed.letters
    compare(expected, letters, derived, progress, verdicts, recomputed.unjudged)
    return verdicts
