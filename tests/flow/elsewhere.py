"""A process of its own that replays golden logs: ``python -m tidemill.tests.flow.elsewhere``.

Prints one JSON object: what this process is like, and of every run the digest of all that was
derived, of its bars and of its prices.
"""

import asyncio
import json
import os
from itertools import product
from typing import Any

from tidemill.deploy.kernels import keep_kernels

keep_kernels()

import numba  # noqa: E402  # the kernels' place is to be known before

from tidemill.deploy.replaying import step  # noqa: E402
from tidemill.streams.memory import MemoryLog  # noqa: E402
from tidemill.streams.runtime.shard import Limits  # noqa: E402
from tidemill.streams.subjects import LOG_SUBJECTS, OUT_SUBJECTS  # noqa: E402
from tidemill.tests.flow.logs import append  # noqa: E402
from tidemill.tests.flow.outcomes import derived_outcome  # noqa: E402
from tidemill.tests.schemas import golden_logs  # noqa: E402

SHARDS, BATCHES = (1, 2, 5), (1, 37, 2_000)
LOGS = ("trades", "markets")
MESSAGES = 800
"""Of each log: enough for bars, books, gaps and opportunities."""


async def run(what: str, shards: int, batch: int) -> dict[str, Any]:
    """Replay one golden log."""
    name = next(name for name in golden_logs.published() if name.endswith(f"-{what}"))
    data = (golden_logs.FOLDER / f"{name}{golden_logs.ENDING}").read_bytes()
    log, out = MemoryLog("LOG", LOG_SUBJECTS), MemoryLog("OUT", OUT_SUBJECTS)
    await append(log, golden_logs.read(data)[:MESSAGES])
    layout = "split" if shards == 2 else "fused"
    await step(log, out, shards, layout, limits=Limits(batch_messages_max=batch))
    found = await derived_outcome(log, out)
    return {
        "OUT": list(found["OUT"]),
        **{name: digest.sha256 for name, digest in found.items() if name != "OUT"},
    }


async def main() -> None:
    """Run every log under every number of shards, each with a batch size of its own."""
    turn = int(os.environ["TIDEMILL_TEST_TURN"])
    found = {}
    for at, (what, shards) in enumerate(product(LOGS, SHARDS)):
        batch = BATCHES[(at + turn) % len(BATCHES)]
        found[f"{what} {shards} {batch}"] = await run(what, shards, batch)
    like = {"hash": hash("tidemill"), "threads": numba.config.NUMBA_NUM_THREADS}
    print(json.dumps({**like, "runs": found}))


if __name__ == "__main__":
    asyncio.run(main())
