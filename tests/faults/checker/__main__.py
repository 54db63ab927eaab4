"""`python -m tidemill.tests.faults.checker --data-dir DIR`: decide I1 to I13 of a run at rest.

Exit status 0: none is broken. The servers of the directory must be running, and nothing may feed.
"""

import argparse
import asyncio
import json
import sys
from pathlib import Path

from tidemill.tests.faults.checker.appended import Confirmed
from tidemill.tests.faults.checker.check import Witness, check
from tidemill.tests.faults.checker.checkpoints import read_history
from tidemill.tests.faults.checker.memory import read_samples
from tidemill.tests.faults.checker.servers import urls_of


def main() -> int:
    """Read the arguments, check, print."""
    parser = argparse.ArgumentParser(prog="tidemill.tests.faults.checker", description=__doc__)
    parser.add_argument("--data-dir", type=Path, default=Path(".tidemill"))
    parser.add_argument("--confirmed", type=Path, help="JSON lines: subject, sha256, sequence")
    parser.add_argument("--history", type=Path, help="checkpoints, as the recorder writes them")
    parser.add_argument("--samples", type=Path, help="JSON lines: ts, process, rss")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    asked = parser.parse_args()
    witness = Witness(
        Confirmed.read(asked.confirmed) if asked.confirmed else None,
        read_history(asked.history) if asked.history else [],
        read_samples(asked.samples) if asked.samples else [],
    )
    verdicts = asyncio.run(check(urls_of(asked.data_dir), witness))
    print(verdicts.text(), file=sys.stderr if asked.json else sys.stdout)
    if asked.json:
        print(json.dumps(verdicts.as_json()))
    return 0 if verdicts.ok else 1


if __name__ == "__main__":
    sys.exit(main())
