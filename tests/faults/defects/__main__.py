"""python -m tidemill.tests.faults.defects: hunts every defect and writes DEFECTS.md anew."""

import sys
from pathlib import Path

from tidemill.tests.faults.defects.defects import DEFECTS, HARMLESS
from tidemill.tests.faults.defects.hunt import caught
from tidemill.tests.faults.defects.named import NAMED

HEAD = """# Defects that the tests notice

A proof is worth what it would notice. Each line is a defect that is put into the engine, one place
of its source at a time (`tests/faults/defects/`), and what notices it: the simulation
(`tests/faults/simulation/`) in the run and by the invariant that are named, or another test.
`pytest tests/faults/defects` puts each of them in, sees it noticed, and sees the undamaged engine
pass the same run. `python -m tidemill.tests.faults.defects` writes this page anew.

| defect | breaks | noticed by | first by |
|---|---|---|---|
"""
TAIL = """
Taken away without harm (6 runs of each hold): what only saves work, or is a second net.

| defect | breaks | noticed by | first by |
|---|---|---|---|
"""


def main() -> int:
    lines, missed = [], 0
    for defect in DEFECTS:
        found = caught(defect, 60)
        missed += found is None
        how = f"run {found[0]}, seed {found[1].seed} | {_short(found[2][0])}" if found else "- | -"
        lines.append(f"| {defect.name} | {defect.breaks} | simulation, {how} |")
    for named in NAMED:
        where = Path(named.test.__code__.co_filename).name
        lines.append(f"| {named.name} | {named.breaks} | {where} | {named.test.__name__} |")
    harmless = [f"| {one.name} | {one.breaks} | - | - |" for one in HARMLESS]
    page = HEAD + "\n".join(lines) + "\n" + TAIL + "\n".join(harmless) + "\n"
    (Path(__file__).parent.parent / "DEFECTS.md").write_text(page)
    return 1 if missed else 0


def _short(failure: str) -> str:
    """The invariant of a failure, and what was seen."""
    return failure.split("[")[0].split("{")[0].rstrip(": ").replace("|", "/")[:90]


if __name__ == "__main__":
    sys.exit(main())
