"""Where the wheels of the `embedded` extra put their programs."""

import importlib.metadata
import sys
from pathlib import Path


def script(name: str) -> Path:
    """A program a wheel installed beside this Python (nats-server).

    Raises FileNotFoundError, saying what to install, when it is not there.
    """
    return _existing(Path(sys.executable).parent / name)


def packaged(distribution: str, path: str) -> Path:
    """A file inside an installed distribution, found without importing its package.

    Raises FileNotFoundError, saying what to install, when it is not there.
    """
    try:
        found = importlib.metadata.distribution(distribution).locate_file(path)
    except importlib.metadata.PackageNotFoundError:
        found = Path(path)
    return _existing(Path(str(found)))


def _existing(path: Path) -> Path:
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: install tidemill with the extra 'embedded'")
    return path
