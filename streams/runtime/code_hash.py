"""The code hash: which code may write, and which snapshots it may read."""

import hashlib
import sys
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
        for path in sorted((root / folder).rglob("*.py")):
            digest.update(f"{path.relative_to(root)}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
