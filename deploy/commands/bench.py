"""`tidemill bench`: benchmarks live in the checkout's tests, beside what they measure."""

import os
import subprocess
import sys
from pathlib import Path

import tidemill.deploy
from tidemill.deploy.commands.output import Exit, say

ROOT = Path(tidemill.deploy.__file__).resolve().parents[1]


def bench(name: str, arguments: list[str]) -> None:
    """Run tests/bench/NAME.py with `arguments`, in this process's place."""
    folder = ROOT / "tests" / "bench"
    known = sorted(
        path.stem for path in folder.glob("*.py") if path.stem not in ("__init__", "rounds")
    )
    if name not in known:
        say(f"there is no benchmark {name!r}; a checkout has: {', '.join(known) or 'none'}")
        sys.exit(Exit.USAGE)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", f"tests.bench.{name}", *arguments]
    sys.exit(subprocess.run(command, env=environment, cwd=ROOT, check=False).returncode)
