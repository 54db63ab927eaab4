"""Looks for the first seed that notices a defect."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from tidemill.tests.faults.defects.defects import Defect
from tidemill.tests.faults.simulation.plan import Plan, plan
from tidemill.tests.faults.simulation.run import run


def plans(defect: Defect, count: int, seed: int = 0) -> Iterator[Plan]:
    """Yield the first `count` plans from `seed` on that can notice a defect."""
    while count:
        one = replace(plan(seed), **defect.shape)
        if defect.chosen(one):
            count -= 1
            yield one
        seed += 1


@contextmanager
def damaged(defect: Defect) -> Iterator[None]:
    """Put a defect into the engine while this lasts."""
    with ExitStack() as stack:
        for mutation in defect.mutations:
            stack.enter_context(mutation.applied())
        yield


def caught(defect: Defect, count: int, seed: int = 0) -> tuple[int, Plan, tuple[str, ...]] | None:
    """Return how many runs it took, the run that fails and how; None where `count` all hold."""
    for tried, one in enumerate(plans(defect, count, seed), 1):
        with damaged(defect):
            failures = run(one).failures
        if failures:
            return tried, one, failures
    return None
