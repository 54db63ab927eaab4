"""Where the wheels of the `embedded` extra put their programs."""

import importlib.metadata
from pathlib import Path


def program(distribution: str, name: str) -> Path:
    """The program called `name` that an installed distribution brought along.

    Raises FileNotFoundError, saying what to install, when it is not there.
    """
    try:
        files = importlib.metadata.distribution(distribution).files or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == name and (path := Path(str(file.locate())).resolve()).exists():
            return path
    raise FileNotFoundError(
        f"{name} of {distribution} is missing: install tidemill with the extra 'embedded'"
    )
