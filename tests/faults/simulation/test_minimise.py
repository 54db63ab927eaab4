"""A failing run is made small and printed as a test; runs that once failed hold for ever."""

from tidemill.tests.faults.defects.defects import GRAPH
from tidemill.tests.faults.defects.hunt import damaged
from tidemill.tests.faults.simulation.minimise import as_test, minimise
from tidemill.tests.faults.simulation.plan import Fault, Plan, plan
from tidemill.tests.faults.simulation.run import run

FORGETFUL = next(one for one in GRAPH if one.name == "outputs are not suppressed after recovery")


def test_a_failing_run_keeps_only_what_it_takes_to_fail_and_is_printed_as_a_test() -> None:
    with damaged(FORGETFUL):
        failing = plan(0)
        assert run(failing).failures
        least = minimise(failing, lambda candidate: bool(run(candidate).failures))
        failures = run(least).failures
    assert failures
    assert len(least.faults) < len(failing.faults)
    assert run(least).failures == ()
    names: dict[str, object] = {"Plan": Plan, "Fault": Fault, "run": run}
    exec(as_test(least, failures), names)
    printed = names["test_seed_0"]
    assert callable(printed)
    printed()


def test_two_owners_that_sent_the_same_bytes_go_on_as_one() -> None:
    """Seed 2054: an answer is lost, another owner commits just that; the first finds it there."""
    assert run(plan(2054)).failures == ()


def test_what_was_told_before_the_power_failed_may_arrive_after_it() -> None:
    """Seed 832: a position travels while the table loses rows and its sink dies."""
    faults = (Fault(0.603, "slow", "POSTGRES", 1.108), Fault(1.025, "power", "CLICKHOUSE"))
    assert run(plan(832)).failures == ()
    for seed in range(3):
        once = Plan(seed, "real", 1, 1, True, 1, 4 << 20, 2_000, 30.0, faults, True)
        assert run(once).failures == ()


def test_a_late_request_of_a_reader_moves_nobodys_place() -> None:
    """Seed 29: a cut connection, and a pull that arrives after the next one."""
    faults = (
        Fault(2.028, "point", "time.append.stored", 2),
        Fault(3.223, "freeze", "graph", 2.775),
        Fault(3.761, "cut", "LOG", 0.747),
    )
    assert run(Plan(29, "real", 3, 1, False, 1, 4 << 20, 1, 30.0, faults)).failures == ()
