"""python -m tidemill.tests.faults.simulation: many seeds, and what came of them."""

import argparse
import multiprocessing
import platform
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tidemill.tests.faults.simulation.minimise import as_test, minimise
from tidemill.tests.faults.simulation.run import Outcome, of_seed, run


def outcomes(seeds: range, jobs: int) -> Iterator[Outcome]:
    """Run seeds, in any order."""
    if jobs == 1:
        yield from map(of_seed, seeds)
        return
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap_unordered(of_seed, seeds, chunksize=8)


HEAD = """# What the simulation went through

Rounds of `tests/faults/simulation`: the engine's own writers, time, graph and sinks on simulated
servers, one schedule a seed, faults as below; each round ends with the invariants I1 to I8 checked.

"""


def told(
    options: argparse.Namespace,
    totals: Counter[str],
    faults: Counter[str],
    failed: int,
    seconds: float,
) -> str:
    """Return what a campaign says of itself, as Markdown."""
    last = options.first + options.seeds - 1
    kept = "none lost, doubled or changed anything" if not failed else f"{failed} failed"
    lines = [
        f"{totals['rounds']:,} rounds, seeds {options.first} to {last}, in {seconds:.0f} s with"
        f" {options.jobs} process(es): {kept}.",
        "",
        "Python "
        + platform.python_version()
        + ", "
        + platform.machine()
        + "; together "
        + ", ".join(f"{count:,} {name}" for name, count in totals.items() if name != "rounds")
        + ".",
        "",
        "| fault | times |",
        "|---|---|",
    ]
    lines += [f"| {kind} | {count:,} |" for kind, count in sorted(faults.items())]
    again = "python -m tidemill.tests.faults.simulation"
    lines += ["", f"Again: `{again} --seeds {options.seeds} --from {options.first}`"]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tidemill.tests.faults.simulation")
    parser.add_argument("--seeds", type=int, default=1_000, help="how many seeds")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first seed")
    parser.add_argument("--jobs", type=int, default=1, help="processes that run seeds")
    parser.add_argument("--report", default="", help="a file to write what came of it to")
    options = parser.parse_args()
    began = time.monotonic()
    faults: Counter[str] = Counter()
    totals: Counter[str] = Counter()
    failed: list[Outcome] = []
    for outcome in outcomes(range(options.first, options.first + options.seeds), options.jobs):
        faults.update(outcome.faults)
        totals.update(rounds=1, turns=outcome.turns, facts=outcome.facts, outputs=outcome.outputs)
        totals["virtual s"] += int(outcome.virtual_s)
        if outcome.failures:
            failed.append(outcome)
            print(f"seed {outcome.plan.seed} FAILED: {outcome.failures}", flush=True)
    text = told(options, totals, faults, len(failed), time.monotonic() - began)
    print(text)
    if options.report:
        Path(options.report).write_text(HEAD + text)
    for outcome in sorted(failed, key=lambda one: one.plan.seed)[:3]:
        least = minimise(outcome.plan, lambda candidate: bool(run(candidate).failures))
        print(f"\n# seed {outcome.plan.seed}, minimised:\n" + as_test(least, run(least).failures))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
