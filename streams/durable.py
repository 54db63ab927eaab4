"""What must be on the disk before anyone is told of it."""

import os
from pathlib import Path


def sync(path: Path | str) -> None:
    """Have the disk take what a file, or the names in a directory, are now. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
