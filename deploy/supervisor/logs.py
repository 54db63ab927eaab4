"""Log files of children: written by the child itself, so no pipe blocks; cut by the supervisor."""

import os
import shutil
from pathlib import Path

BYTES_MAX = 16 * 1024 * 1024


class LogFile:
    """`path` and one older piece, `path.1`: at most about `2 * bytes_max` bytes on disk.

    The child appends to the file directly: what it writes arrives unchanged (our roles write
    JSON lines), whatever the supervisor is doing and after it died. Cutting copies the file and
    empties it in place; lines written in between, microseconds, are lost.
    """

    def __init__(self, path: Path, bytes_max: int = BYTES_MAX) -> None:
        self.path = path
        self._bytes_max = bytes_max

    def open(self) -> int:
        """A descriptor for a child's standard output and error; the caller closes it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def cut(self) -> None:
        """Move what is in the file to `path.1` when it is too long."""
        if self.path.exists() and self.path.stat().st_size > self._bytes_max:
            shutil.copyfile(self.path, self.path.with_name(self.path.name + ".1"))
            os.truncate(self.path, 0)

    def tail(self, lines: int = 20, bytes_max: int = 8192) -> str:
        """The last lines; empty when there are none."""
        if not self.path.exists():
            return ""
        with self.path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - bytes_max))
            text = file.read().decode(errors="replace")
        return "\n".join(text.splitlines()[-lines:])
