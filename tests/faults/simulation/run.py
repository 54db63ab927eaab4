"""One run of one seed, and what it says."""

import logging
from dataclasses import dataclass

from tidemill.tests.faults.simulation.check import check
from tidemill.tests.faults.simulation.plan import Plan, plan
from tidemill.tests.faults.simulation.world import World, world


@dataclass(frozen=True)
class Outcome:
    """What came of a run. `trace` is the hash of every turn that was taken, and of all bytes."""

    plan: Plan
    failures: tuple[str, ...]
    faults: dict[str, int]
    turns: int
    virtual_s: float
    facts: int
    outputs: int
    trace: str


def run(plan: Plan) -> Outcome:
    """Run a plan and check what it leaves."""
    logging.disable(logging.CRITICAL)
    try:
        with world(plan) as made:
            return _run(made)
    finally:
        logging.disable(logging.NOTSET)


def of_seed(seed: int) -> Outcome:
    """Run the plan of a seed."""
    return run(plan(seed))


def _run(made: World) -> Outcome:
    loop = made.loop
    try:
        loop.drive(made.run())
        failures = check(made)
    except (TimeoutError, RuntimeError) as error:
        failures = [*made.failures, *loop.errors, f"it did not come right: {error}"]
    trace = loop.trace.copy()
    for store in (made.log, made.out, made.leases):
        for message, author, request in store.journal:
            trace.update(f"{message.sequence} {message.subject} {author} {request}\n".encode())
            trace.update(message.payload)
    return Outcome(
        plan=made.plan,
        failures=tuple(failures),
        faults=dict(made.done),
        turns=loop.turns,
        virtual_s=round(loop.time(), 3),
        facts=len(made.log.journal),
        outputs=len(made.out.journal),
        trace=trace.hexdigest(),
    )
