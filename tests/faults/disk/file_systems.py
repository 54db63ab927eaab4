"""File systems of a test's own: one that loses what was not synced, one that is soon full.

Both need root and the rights to mount; CannotMount says what was refused.
"""

import fcntl
import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SHUTDOWN = 0x8004587D
"""FS_IOC_SHUTDOWN, https://github.com/torvalds/linux/blob/master/include/uapi/linux/fs.h"""
OPTIONS = "loop,data=writeback,noauto_da_alloc"
"""As on other systems, no other file's sync and no rename rescues what was not synced itself."""
NO_LOG_FLUSH = 2
"""Not even the journal in memory reaches the device: what a cut cable leaves."""


class CannotMount(Exception):
    """This machine does not let us: not root, no loop device, no such file system."""


class LoopFileSystem:
    """ext4 in a file, mounted at `path`."""

    def __init__(self, image: Path, path: Path) -> None:
        self.path = path
        self._image = image

    def mount(self) -> None:
        """Mount it; after a loss of power the journal is replayed."""
        _do("mount", "-o", OPTIONS, str(self._image), str(self.path))

    def lose_power(self) -> None:
        """Lose what is not on the device, and mount what is left. Nothing may run on it.

        Call `cut` first where something does, and kill that.
        """
        with suppress(OSError):  # it is cut already
            self.cut()
        self.unmount()
        self.mount()

    def cut(self) -> None:
        """From this moment on nothing reaches the device; all that is written fails with EIO."""
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(descriptor)

    def unmount(self) -> None:
        """Unmount it, now."""
        _do("umount", str(self.path))


@contextmanager
def loop_file_system(
    directory: Path, megabytes: int, name: str = "disk"
) -> Iterator[LoopFileSystem]:
    """An ext4 of this size in `directory`, gone when the block ends. Raises CannotMount."""
    image, path = directory / f"{name}.img", directory / name
    path.mkdir()
    with image.open("wb") as file:
        file.truncate(megabytes << 20)
    _do("mkfs.ext4", "-q", "-m", "0", str(image))
    made = LoopFileSystem(image, path)
    made.mount()
    try:
        yield made
    finally:
        subprocess.run(["umount", "-l", str(path)], capture_output=True)
        image.unlink()


@contextmanager
def tmpfs(directory: Path, megabytes: int) -> Iterator[Path]:
    """A tmpfs of this size, gone when the block ends. Raises CannotMount."""
    path = directory / "small"
    path.mkdir()
    _do("mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(path))
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], capture_output=True)


def remount(path: Path, how: str) -> None:
    """Mount a file system anew with an option, as `ro` or `size=64m`. Raises CannotMount."""
    _do("mount", "-o", f"remount,{how}", str(path))


def _do(*argv: str) -> None:
    if os.geteuid() != 0:
        raise CannotMount("only root may mount")
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    except FileNotFoundError as error:
        raise CannotMount(f"there is no {argv[0]}") from error
    if done.returncode != 0:
        raise CannotMount(f"{' '.join(argv)}: {done.stderr.strip()}")
