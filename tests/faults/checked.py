"""`python -m tidemill.tests.faults.checked DIR`: serve a run at rest, and check it independently.

Exit status is the checker's: 0 where no invariant is broken.
"""

import asyncio
import sys
from pathlib import Path

from tidemill.deploy.embedded.servers import EmbeddedServers


async def checked(data_dir: Path, arguments: list[str]) -> int:
    """Start what serves `data_dir`, and nothing that feeds; return the checker's exit status."""
    async with EmbeddedServers(data_dir):
        checker = ("-m", "tidemill.tests.faults.checker", "--data-dir", str(data_dir))
        process = await asyncio.create_subprocess_exec(sys.executable, *checker, *arguments)
        return await process.wait()


def main() -> int:
    """Check the run that is named, `.tidemill` where none is."""
    data_dir, *arguments = sys.argv[1:] or [".tidemill"]
    if not (Path(data_dir) / "servers.json").exists():
        print(f"{data_dir} holds no run: make one with `just demo`", file=sys.stderr)
        return 2
    return asyncio.run(checked(Path(data_dir), arguments))


if __name__ == "__main__":
    sys.exit(main())
