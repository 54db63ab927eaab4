"""A failing run, made as small as it will go: fewer faults, fewer processes, and still failing."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from tidemill.tests.faults.simulation.plan import Plan

RUNS_MAX = 200


def smaller(plan: Plan) -> Iterator[Plan]:
    """Yield plans with one thing less."""
    for index in range(len(plan.faults)):
        yield plan.without(index)
    if plan.shards > 1:
        yield replace(plan, shards=1)
    if plan.owners > 1:
        yield replace(plan, owners=1)
    if plan.venues > 1:
        yield replace(plan, venues=1)
    if plan.sinks:
        yield replace(plan, sinks=False)
    if plan.batch_messages_max < 2_000:
        yield replace(plan, batch_messages_max=2_000)
    if plan.commit_bytes_max < 4 << 20:
        yield replace(plan, commit_bytes_max=4 << 20)
    if plan.snapshot_s < 30:
        yield replace(plan, snapshot_s=30.0)


def minimise(plan: Plan, fails: Callable[[Plan], bool]) -> Plan:
    """Return the smallest plan found that still fails; dropping any one thing more mends it."""
    left = RUNS_MAX
    shrunk = True
    while shrunk:
        shrunk = False
        for candidate in smaller(plan):
            left -= 1
            if left < 0:
                return plan
            if fails(candidate):
                plan, shrunk = candidate, True
                break
    return plan


def as_test(plan: Plan, failures: tuple[str, ...]) -> str:
    """A test to be put into test_regressions.py."""
    fields = ",\n        ".join(
        f"{name}={value!r}" for name, value in vars(plan).items() if name not in ("faults",)
    )
    faults = "".join(f"            {tuple(fault)!r},\n" for fault in plan.faults)
    return (
        f"def test_seed_{plan.seed}() -> None:\n"
        f'    """{failures[0][:80]}"""\n'
        f"    plan = Plan(\n        {fields},\n"
        f"        faults=tuple(Fault(*one) for one in (\n{faults}        )),\n    )\n"
        f"    assert run(plan).failures == ()\n"
    )
