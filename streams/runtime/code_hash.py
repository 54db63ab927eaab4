"""The code hash: which code may write, and which snapshots it may read."""

import hashlib
import sys
from collections.abc import Collection
from functools import cache
from importlib.metadata import version
from pathlib import Path

import tidemill.schemas

PURE = ("schemas", "processors", "streams/runtime")
"""Folders whose code decides what a replay gives."""
LIBRARIES = ("numpy", "numba", "llvmlite")


@cache
def code_hash() -> str:
    """Return the SHA-256 (hex, 16 digits) of the pure code and of what it computes with."""
    root = Path(tidemill.schemas.__file__).parent.parent
    digest = hashlib.sha256(f"{sys.version_info[:2]}".encode())
    for name in LIBRARIES:
        digest.update(f"{name}=={version(name)};".encode())
    for folder in PURE:
        add_files(digest, root / folder, (".py",))
    return digest.hexdigest()[:16]


def add_files(digest: "hashlib._Hash", folder: Path, suffixes: Collection[str]) -> None:
    """Add the names and bytes of a folder's files with these suffixes, in order of name."""
    for path in sorted(folder.rglob("*")):
        if path.suffix in suffixes:
            digest.update(f"{path.relative_to(folder.parent)}\0".encode())
            digest.update(path.read_bytes())
