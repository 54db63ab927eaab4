"""Passwords of the embedded servers: one file each, made once, readable only by their owner."""

import os
import secrets
from contextlib import suppress
from pathlib import Path

from tidemill.streams.durable import sync


def secret(directory: Path, name: str) -> str:
    """The password kept in `directory/name`; the first call makes it (256 bits, URL-safe).

    Of two processes that make it at once both get the one that was first.
    """
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o700)
    path = directory / name
    if not path.exists():
        fresh = _written(path, secrets.token_urlsafe(32))
        with suppress(FileExistsError):
            os.link(fresh, path)
        fresh.unlink()
        sync(directory)  # a database that is made with it must not outlive it
    return path.read_text()


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    _written(path, text).rename(path)


def _written(beside: Path, text: str) -> Path:
    fresh = beside.with_name(f".{beside.name}.{secrets.token_hex(4)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    return fresh
