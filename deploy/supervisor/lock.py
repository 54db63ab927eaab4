"""One supervisor a directory: a lock the kernel drops when its holder ends, however it ends."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path


class AlreadyRunning(Exception):
    """Another process supervises this directory; `pid` is its process, None when unknown."""

    def __init__(self, directory: Path, pid: int | None) -> None:
        super().__init__(f"{directory} is in use by process {pid or 'unknown'}: stop it first")
        self.pid = pid


class Lock:
    """Held from `acquire` until `release` or the end of this process."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._path = directory / "lock"
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock and write our pid into it. Raises AlreadyRunning."""
        self._directory.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise AlreadyRunning(self._directory, self.holder()) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        """Let it go; does nothing when it is not held."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with suppress(OSError):  # a disk that fails must not keep us from letting go
                os.ftruncate(descriptor, 0)
            os.close(descriptor)

    def holder(self) -> int | None:
        """The pid the holder wrote, None when it wrote none."""
        text = self._path.read_text() if self._path.exists() else ""
        return int(text) if text.isdigit() else None
