"""Captures: text, gzip or zstd; one line a raw message, ``<receive time in ns> <raw JSON>``.

REST answers are lines too, as ``{"stream":"rest:<path and query>","data":<body>}``.
"""

import gzip
import os
import zlib
from collections.abc import Callable, Iterator
from io import BufferedReader
from pathlib import Path
from typing import IO, cast

import orjson
import zstandard

LINE_BYTES_MAX = 16 << 20
"""Longest line that is read; the rest of a longer one is a line of its own, and unreadable."""
READ_BYTES = 1 << 20
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


class CaptureFile:
    """Reads one capture. `truncated` tells, afterwards, that it ends within a line or a block."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.truncated = False

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        """Yield (receive time in ns, raw message); time -1 where a line has none.

        A recorder that was killed leaves a torn end: what is whole before it is read. Raises
        OSError when the file cannot be opened.
        """
        with self.path.open("rb") as file, opened(file) as lines:
            line = b"\n"
            try:
                while line := lines.readline(LINE_BYTES_MAX):
                    time, _, raw = line.partition(b" ")
                    if time.isdigit() and len(time) < 20:
                        yield int(time), raw
                    elif not line.isspace():
                        yield -1, line
            except (EOFError, zlib.error, gzip.BadGzipFile, zstandard.ZstdError):
                self.truncated = True
            else:
                self.truncated = False


def opened(file: IO[bytes]) -> BufferedReader:
    """Return what reads the lines of a text, gzip or zstd file."""
    start = file.read(4)
    file.seek(0)
    if start.startswith(_GZIP):
        return BufferedReader(cast("BufferedReader", gzip.open(file)), READ_BYTES)
    if start.startswith(_ZSTD):
        reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
        return BufferedReader(cast("BufferedReader", reader), READ_BYTES)
    return cast("BufferedReader", file)


def line_of(received: int, raw: bytes) -> bytes:
    """Return the line of a raw message; line ends within it become blanks (JSON allows that)."""
    if b"\n" in raw or b"\r" in raw:
        raw = raw.replace(b"\r", b" ").replace(b"\n", b" ")
    return b"%d %b\n" % (received, raw)


def rest_message(path: str, body: bytes) -> bytes:
    """Wrap a REST answer as a raw message that says what it answers."""
    return b'{"stream":%b,"data":%b}' % (orjson.dumps("rest:" + path), body.strip())


class Recorder:
    """Writes captures ``<NAME>_<first receive time>.zst``, rotated by size and age.

    Every `sync_s` seconds of receive time, and when a file ends, a compressed block is finished and
    fsynced: a power loss costs at most that much, and what remains of a torn file can be read.
    `on_file` gives raw messages that every file begins with (definitions).
    Raises OSError as the disk does.
    """

    def __init__(
        self,
        directory: Path,
        name: str,
        rotate_bytes: int = 256 << 20,
        rotate_s: float = 3600.0,
        sync_s: float = 1.0,
        on_file: Callable[[], list[bytes]] | None = None,
    ) -> None:
        self._directory, self._name = directory, name
        self._rotate_bytes = rotate_bytes
        self._rotate_ns, self._sync_ns = int(rotate_s * 1e9), int(sync_s * 1e9)
        self.on_file = on_file
        self._file: IO[bytes] | None = None
        self._out: zstandard.ZstdCompressionWriter | None = None
        self._opened = self._synced = 0
        self.files: list[Path] = []
        directory.mkdir(parents=True, exist_ok=True)

    def write(self, received: list[int], raws: list[bytes]) -> None:
        """Append raw messages with their receive times (ns)."""
        if not raws:
            return
        now = received[-1]
        if self._file is not None and self._full(now):
            self.close()
        if self._file is None:
            self._open(received[0])
        assert self._out is not None
        self._out.write(b"".join(map(line_of, received, raws)))
        if now - self._synced >= self._sync_ns:
            self._sync(zstandard.FLUSH_BLOCK)
            self._synced = now

    def close(self) -> None:
        """Finish the current file."""
        if self._file is None:
            return
        self._sync(zstandard.FLUSH_FRAME)
        self._file.close()
        self._file = self._out = None

    def _full(self, now: int) -> bool:
        assert self._file is not None
        return self._file.tell() >= self._rotate_bytes or now - self._opened >= self._rotate_ns

    def _open(self, received: int) -> None:
        path = self._directory / f"{self._name}_{received}.zst"
        self._file = path.open("xb")
        self._out = zstandard.ZstdCompressor(level=3).stream_writer(self._file, closefd=False)
        self._opened = self._synced = received
        self.files.append(path)
        for raw in self.on_file() if self.on_file else ():
            self._out.write(line_of(received, raw))

    def _sync(self, mode: int) -> None:
        assert self._file is not None and self._out is not None
        self._out.flush(mode)
        self._file.flush()
        os.fsync(self._file.fileno())
