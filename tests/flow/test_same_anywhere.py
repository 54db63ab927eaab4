"""One LOG gives one digest in processes that differ in all that must not matter.

Seeds of hashes, threads of numba and BLAS, shards, layouts and batch sizes: every process replays
the golden logs with its own.
"""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from tidemill.tests.flow.elsewhere import BATCHES, LOGS, SHARDS

ROOT = Path(__file__).resolve().parents[2]
PROCESSES = ((0, 1), (4_242, 2))
"""PYTHONHASHSEED and the number of threads of each."""


async def test_hash_seeds_threads_shards_and_batches_make_no_difference() -> None:
    told = await asyncio.gather(*(replay(turn, *like) for turn, like in enumerate(PROCESSES)))
    assert len({one["hash"] for one in told}) == len(PROCESSES), "the seeds were not in force"
    assert [one["threads"] for one in told] == [threads for _, threads in PROCESSES]
    runs = [(name, result) for one in told for name, result in one["runs"].items()]
    assert len(runs) == len(PROCESSES) * len(LOGS) * len(SHARDS)
    assert len({name for name, _ in runs}) == len(runs), "two runs are alike"
    assert {name.split()[2] for name, _ in runs} == {str(batch) for batch in BATCHES}
    for what in LOGS:
        of_it = {name: result for name, result in runs if name.startswith(f"{what} ")}
        first = next(iter(of_it.values()))
        assert first["OUT"][0] > 50
        assert {name: result for name, result in of_it.items() if result != first} == {}


async def replay(turn: int, seed: int, threads: int) -> dict[str, Any]:
    """Replay everything in a process of its own."""
    environment = {
        **os.environ,
        "PYTHONHASHSEED": str(seed),
        "TIDEMILL_TEST_TURN": str(turn),
        **dict.fromkeys(
            ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"),
            str(threads),
        ),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tidemill.tests.flow.elsewhere",
        env=environment, cwd=ROOT, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, _ = await process.communicate()
    assert process.returncode == 0
    found: dict[str, Any] = json.loads(output)
    return found
