"""`python -m tidemill.tests.faults`: a seeded campaign on real processes, and its report.

Prints a line for each round, then the table; exit status 0 = everything held.
"""

import argparse
import asyncio
import logging
import secrets
import shlex
import signal
import sys
import tempfile
import time
from pathlib import Path

from tidemill.deploy.kernels import keep_kernels
from tidemill.tests.faults.apart.registry import APART
from tidemill.tests.faults.kinds.registry import KINDS
from tidemill.tests.faults.rounds import concluded, play, play_apart
from tidemill.tests.faults.stage import staged
from tidemill.tests.faults.tally import Tally

REPORTS = Path(__file__).parent / "reports"


def parsed(arguments: list[str]) -> argparse.Namespace:
    """Return what was asked for on the command line."""
    parser = argparse.ArgumentParser(prog="python -m tidemill.tests.faults", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="how many rounds")
    parser.add_argument("--first", type=int, default=None, help="the first seed; default: random")
    parser.add_argument("--seconds", type=float, default=None, help="begin no round after so long")
    parser.add_argument("--kinds", default=",".join([*KINDS, *APART]), help="separated by commas")
    parser.add_argument("--apart", type=int, default=1, help="rounds of each kind on own servers")
    parser.add_argument("--rate", type=int, default=20_000, help="synthetic trades a second")
    parser.add_argument("--report", type=Path, default=REPORTS / "campaign", help="without suffix")
    parser.add_argument("--keep", type=Path, default=None, help="keep the data here")
    asked = parser.parse_args(arguments)
    asked.kinds = asked.kinds.split(",")
    for kind in asked.kinds:
        if kind not in KINDS and kind not in APART:
            parser.error(f"there is no kind {kind}; there are {', '.join([*KINDS, *APART])}")
    return asked


async def campaign(asked: argparse.Namespace, directory: Path) -> bool:
    """Play the rounds and write the report; return whether everything held."""
    first = secrets.randbelow(1_000_000) if asked.first is None else asked.first
    asked.report.parent.mkdir(parents=True, exist_ok=True)
    lines = asked.report.with_suffix(".jsonl")
    lines.unlink(missing_ok=True)
    tally, began = Tally(lines), time.monotonic()
    held = await _on_one_engine(asked, directory, tally, first)
    for seed in range(first, first + asked.apart):
        await play_apart(directory, tally, seed, [kind for kind in asked.kinds if kind in APART])
    command = f"python -m tidemill.tests.faults --seeds {asked.seeds} --first {first}"
    command += (
        f" --rate {asked.rate} --apart {asked.apart} --kinds {shlex.quote(','.join(asked.kinds))}"
    )
    page = tally.page(command, time.monotonic() - began)
    asked.report.with_suffix(".md").write_text(page + "\n")
    print(page)
    return held and tally.held


async def _on_one_engine(
    asked: argparse.Namespace, directory: Path, tally: Tally, first: int
) -> bool:
    """Play the rounds that share an engine; return whether what it leaves is what LOG gives."""
    among, began = [kind for kind in asked.kinds if kind in KINDS], time.monotonic()
    if not among:
        return True
    async with staged(directory, asked.rate) as stage:
        for seed in range(first, first + asked.seeds):
            if asked.seconds is not None and time.monotonic() - began > asked.seconds:
                break
            await play(stage, tally, seed, among)
        return await concluded(stage, tally)


def main() -> None:
    """Run the command."""
    keep_kernels()
    logging.getLogger("asyncpg").setLevel(logging.CRITICAL)  # servers are away all the time
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # leave nothing running then, either
    asked = parsed(sys.argv[1:])
    if asked.keep is not None:
        asked.keep.mkdir(parents=True)
        sys.exit(0 if asyncio.run(campaign(asked, asked.keep)) else 1)
    with tempfile.TemporaryDirectory() as directory:
        sys.exit(0 if asyncio.run(campaign(asked, Path(directory))) else 1)


if __name__ == "__main__":
    main()
