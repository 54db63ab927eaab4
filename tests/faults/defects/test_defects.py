"""Mutation testing of the promises themselves: every defect of the list is noticed."""

from pathlib import Path

import pytest

from tidemill.tests.faults.defects.defects import BEGIN, DEFECTS, HARMLESS, Defect
from tidemill.tests.faults.defects.hunt import caught, damaged, plans
from tidemill.tests.faults.defects.mutation import Mutation
from tidemill.tests.faults.defects.named import NAMED, Named
from tidemill.tests.faults.simulation.run import run

RUNS_MAX = 60
"""Runs in which a defect must be noticed; most are in the first three."""


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name)
def test_the_simulation_notices(defect: Defect) -> None:
    found = caught(defect, RUNS_MAX, BEGIN.get(defect.name, 0))
    assert found is not None, f"{RUNS_MAX} runs did not notice that {defect.name}"
    assert run(found[1]).failures == (), "the undamaged engine fails the same run"


@pytest.mark.parametrize("named", NAMED, ids=lambda named: named.name)
def test_another_test_notices(named: Named, tmp_path: Path) -> None:
    with pytest.raises((AssertionError, pytest.fail.Exception, *named.raises)):
        named.run(tmp_path / "damaged", damaged=True)
    named.run(tmp_path / "undamaged", damaged=False)


@pytest.mark.parametrize("defect", HARMLESS, ids=lambda defect: defect.name)
def test_no_promise_rests_on_it(defect: Defect) -> None:
    """What only saves work, taken away: the fences alone keep every promise."""
    for one in plans(defect, 6):
        with damaged(defect):
            assert run(one).failures == ()


def test_a_defect_that_does_not_fit_the_code_any_more_says_so() -> None:
    wrong = Mutation("streams.appender:Appender.append", "no such text", "")
    with pytest.raises(ValueError, match="0 times"), wrong.applied():
        pass


def test_every_defect_is_in_the_table_and_no_other() -> None:
    table = (Path(__file__).parent.parent / "DEFECTS.md").read_text().splitlines()
    rows = [line.split(" | ")[0].removeprefix("| ") for line in table if line.startswith("| ")]
    names = [one.name for one in (*DEFECTS, *NAMED, *HARMLESS)]
    assert len(set(names)) == len(names)
    assert [row for row in rows if row != "defect" and not row.startswith("-")] == names
