"""Who only reads an untrimmed LOG does not load what reads the archive."""

import subprocess
import sys

PROGRAM = """
import asyncio, sys
from tidemill.streams.archive.archived_log import ArchivedLog
from tidemill.streams.memory import MemoryLog
import tidemill.deploy.roles.connections, tidemill.streams

async def main():
    log = ArchivedLog(MemoryLog("LOG", ("time",)), "/nowhere")
    await log.append([("time", b"1")], None)
    reader = await log.read(1, ["time"])
    assert len(await reader.pull(1, 1, 1)) == 1
    await log.last("time"), await log.lasts(">"), await log.get(1), await log.identity()

asyncio.run(main())
print([name for name in ("pyarrow", "numba") if name in sys.modules])
"""


def test_reading_a_whole_log_loads_neither_pyarrow_nor_numba() -> None:
    told = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60
    )
    assert told.stdout.strip() == "[]"
