"""`python -m tidemill.tests.faults`: a seeded campaign on real processes, and its report.

Prints a line for each round, then the table; exit status 0 = everything held.
"""

import argparse
import asyncio
import logging
import secrets
import shlex
import sys
import tempfile
import time
from pathlib import Path

from tidemill.deploy.kernels import keep_kernels
from tidemill.tests.faults.kinds.registry import KINDS
from tidemill.tests.faults.rounds import concluded, play
from tidemill.tests.faults.stage import staged
from tidemill.tests.faults.tally import Tally

REPORTS = Path(__file__).parent / "reports"


def parsed(arguments: list[str]) -> argparse.Namespace:
    """Return what was asked for on the command line."""
    parser = argparse.ArgumentParser(prog="python -m tidemill.tests.faults", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="how many rounds")
    parser.add_argument("--first", type=int, default=None, help="the first seed; default: random")
    parser.add_argument("--seconds", type=float, default=None, help="begin no round after so long")
    parser.add_argument("--kinds", default=",".join(KINDS), help="separated by commas")
    parser.add_argument("--rate", type=int, default=20_000, help="synthetic trades a second")
    parser.add_argument("--report", type=Path, default=REPORTS / "campaign", help="without suffix")
    parser.add_argument("--keep", type=Path, default=None, help="keep the data here")
    asked = parser.parse_args(arguments)
    asked.kinds = asked.kinds.split(",")
    for kind in asked.kinds:
        if kind not in KINDS:
            parser.error(f"there is no kind {kind}; there are {', '.join(KINDS)}")
    return asked


async def campaign(asked: argparse.Namespace, directory: Path) -> bool:
    """Play the rounds and write the report; return whether everything held."""
    first = secrets.randbelow(1_000_000) if asked.first is None else asked.first
    asked.report.parent.mkdir(parents=True, exist_ok=True)
    lines = asked.report.with_suffix(".jsonl")
    lines.unlink(missing_ok=True)
    tally, began = Tally(lines), time.monotonic()
    async with staged(directory, asked.rate) as stage:
        seeds = range(first, first + asked.seeds)
        for seed in seeds:
            if asked.seconds is not None and time.monotonic() - began > asked.seconds:
                break
            await play(stage, tally, [seed], asked.kinds)
        held = await concluded(stage, tally)
    command = f"python -m tidemill.tests.faults --seeds {asked.seeds} --first {first}"
    command += f" --rate {asked.rate} --kinds {shlex.quote(','.join(asked.kinds))}"
    page = tally.page(command, time.monotonic() - began)
    asked.report.with_suffix(".md").write_text(page + "\n")
    print(page)
    return held and tally.held


def main() -> None:
    """Run the command."""
    keep_kernels()
    logging.getLogger("asyncpg").setLevel(logging.CRITICAL)  # servers are away all the time
    asked = parsed(sys.argv[1:])
    if asked.keep is not None:
        asked.keep.mkdir(parents=True)
        sys.exit(0 if asyncio.run(campaign(asked, asked.keep)) else 1)
    with tempfile.TemporaryDirectory() as directory:
        sys.exit(0 if asyncio.run(campaign(asked, Path(directory))) else 1)


if __name__ == "__main__":
    main()
