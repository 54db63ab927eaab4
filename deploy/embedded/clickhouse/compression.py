"""Compressed bodies: decoders that never hold more than they are asked for, streaming encoders."""

import gzip
import zlib
from collections.abc import Callable
from typing import BinaryIO, Protocol, cast

import lz4.frame  # type: ignore[import-untyped]  # the package ships no types
import zstandard

from tidemill.deploy.embedded.clickhouse.refusals import UNKNOWN_COMPRESSION_METHOD, refusal


class Encoder(Protocol):
    """Turns parts of a body into parts of a compressed body."""

    def compress(self, data: bytes) -> bytes: ...
    def flush(self) -> bytes: ...


class Identity:
    """No compression."""

    def compress(self, data: bytes) -> bytes:
        return data

    def flush(self) -> bytes:
        return b""


class _Lz4:
    def __init__(self) -> None:
        self._frame = lz4.frame.LZ4FrameCompressor()
        self._head: bytes = self._frame.begin()

    def compress(self, data: bytes) -> bytes:
        head, self._head = self._head, b""
        return head + cast(bytes, self._frame.compress(data))

    def flush(self) -> bytes:
        head, self._head = self._head, b""
        return head + cast(bytes, self._frame.flush())


def _zstd() -> Encoder:
    return zstandard.ZstdCompressor(level=1).compressobj()


def _gzip() -> Encoder:
    return zlib.compressobj(level=1, wbits=31)


# In ClickHouse's order of preference, without what no client of ours sends.
_ENCODERS: dict[str, Callable[[], Encoder]] = {"lz4": _Lz4, "zstd": _zstd, "gzip": _gzip}


def chosen(accept_encoding: str) -> str:
    """The response encoding for an Accept-Encoding header; empty for none we have."""
    offered = {}
    for part in accept_encoding.split(","):
        name, _, parameters = part.strip().partition(";")
        offered[name.strip().lower()] = parameters.replace(" ", "")
    for name in _ENCODERS:
        if name in offered and offered[name] not in ("q=0", "q=0.0"):
            return name
    return ""


def encoder(name: str) -> Encoder:
    """An encoder of one of `chosen`'s names."""
    return _ENCODERS[name]() if name else Identity()


def decoder(name: str, source: BinaryIO) -> BinaryIO:
    """A reader of the plain bytes of `source`; several frames one after the other are one body.

    Raises Refused for an encoding that is not lz4 (frames), zstd, gzip or identity.
    """
    match name.strip().lower():
        case "" | "identity":
            return source
        case "gzip":
            return cast(BinaryIO, gzip.GzipFile(fileobj=source, mode="rb"))
        case "zstd":
            reader = zstandard.ZstdDecompressor().stream_reader(source, read_across_frames=True)
            return cast(BinaryIO, reader)
        case "lz4":
            return cast(BinaryIO, lz4.frame.LZ4FrameFile(source, mode="rb"))
    raise refusal(UNKNOWN_COMPRESSION_METHOD, f"Unknown Content-Encoding: {name}")


# What the decoders raise on bytes that are not what they say.
CORRUPT = (zlib.error, EOFError, zstandard.ZstdError, RuntimeError, gzip.BadGzipFile)
