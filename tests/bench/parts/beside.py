"""Another project's engine beside ours: a program of ours in an environment of its own.

It reads a line, runs once, and answers one line of JSON; so rounds alternate in one process group.
"""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

START_S = 300


class Beside:
    """`program` (a file of this folder) with `arguments`, run by this Python with `requirement`.

    The environment is made from the package index at the first round. `why` says, afterwards, why
    there is no answer. `folder` keeps what it printed as errors.
    """

    def __init__(
        self, requirement: str, program: str, arguments: Sequence[str], folder: Path
    ) -> None:
        self.why = ""
        self._requirement = requirement
        self._process: subprocess.Popen[str] | None = None
        self._errors = folder / f"{program}.err"
        command = ["uv", "run", "--isolated", "--no-project", "--python", sys.executable]
        path = Path(__file__).parent / program
        try:
            self._process = subprocess.Popen(
                [*command, "--with", requirement, "python", str(path), *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors.open("wb"),
                env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
                text=True,
            )
        except OSError as error:
            self.why = f"uv cannot be run: {error}"

    def round(self) -> dict[str, float] | None:
        """Run it once; None, and `why`, when it cannot."""
        process = self._process
        if self.why or process is None:
            return None
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write("\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            process.wait(START_S)
            self.why = f"{self._requirement} did not run: {self._errors.read_text()[-500:]}"
            return None
        result: dict[str, float] = json.loads(line)
        return result

    def close(self) -> None:
        """End the process."""
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
            self._process.wait(START_S)
