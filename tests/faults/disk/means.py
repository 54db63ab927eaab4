"""What this machine lets a fault test do: why it can not, as a reason to skip, or an empty string.

Each is tried, not guessed: a container may have the program and not the right.
"""

import ctypes
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from tidemill.tests.faults.disk.file_systems import CannotMount, loop_file_system, tmpfs


@cache
def no_strace() -> str:
    """Why no system call of a running process can be made to fail or to kill."""
    if shutil.which("strace") is None:
        return "strace is not installed (apt-get install strace)"
    sleeping = subprocess.Popen(["sleep", "1"])
    tried = subprocess.run(
        ["strace", "-qq", "-o", os.devnull, "-e", "trace=none", "-p", str(sleeping.pid)],
        capture_output=True,
        text=True,
        timeout=20,
    )
    sleeping.wait()
    said = tried.stderr.strip().splitlines()
    return f"strace may not attach: {said[-1] if said else ''}" if tried.returncode else ""


@cache
def no_power_loss() -> str:
    """Why no file system can be made that forgets what was not synced."""
    try:
        with (
            tempfile.TemporaryDirectory() as directory,
            loop_file_system(Path(directory), megabytes=16) as disk,
        ):
            (disk.path / "unsynced").write_text("x")
            disk.lose_power()
            lost = not (disk.path / "unsynced").exists()
    except (OSError, CannotMount) as error:
        return f"no loop file system can be shut down here: {error}"
    return "" if lost else "a file system that was shut down kept what was not synced"


@cache
def no_tmpfs() -> str:
    """Why no file system of a chosen size can be made."""
    try:
        with tempfile.TemporaryDirectory() as directory, tmpfs(Path(directory), megabytes=1):
            return ""
    except (OSError, CannotMount) as error:
        return f"no tmpfs can be mounted here: {error}"


@cache
def no_compiler() -> str:
    """Why no shared object can be made that stands before the C library's clocks."""
    if shutil.which("cc") is None:
        return "there is no C compiler (cc)"
    return "" if hasattr(ctypes.CDLL(None), "gnu_get_libc_version") else "this is not glibc"
