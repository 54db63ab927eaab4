"""Answers: whole with their length, or streamed in chunks that say so when they break off."""

import json
import secrets
from collections.abc import Iterator
from typing import BinaryIO

from tidemill.deploy.embedded.clickhouse.compression import Encoder, encoder
from tidemill.deploy.embedded.clickhouse.engine import Result

CONTENT_TYPES = {
    "CSV": "text/csv; charset=UTF-8",
    "JSON": "application/json; charset=UTF-8",
    "JSONCompact": "application/json; charset=UTF-8",
    "JSONEachRow": "application/x-ndjson; charset=UTF-8",
    "TSV": "text/tab-separated-values; charset=UTF-8",
    "TabSeparated": "text/tab-separated-values; charset=UTF-8",
}
OCTETS = "application/octet-stream"
EXCEPTION_TAG = "X-ClickHouse-Exception-Tag"


def summary(result: Result) -> str:
    """The X-ClickHouse-Summary of a finished query: counts as strings, times in ns."""
    written = result.rows_written()
    return json.dumps(
        {
            "read_rows": str(result.storage_rows_read()),
            "read_bytes": str(result.storage_bytes_read()),
            "written_rows": str(written),
            "written_bytes": str(result.bytes_written() if written else 0),
            "total_rows_to_read": "0",
            "elapsed_ns": str(int(result.elapsed() * 1e9)),
        }
    )


class Stream:
    """A chunked body on its way out, compressed as agreed."""

    def __init__(self, out: BinaryIO, encoding: str, tag: str) -> None:
        self._out = out
        self._encoder: Encoder = encoder(encoding)
        self._tag = tag

    def send(self, data: bytes) -> None:
        """Send more of the body."""
        self._chunk(self._encoder.compress(data))

    def end(self) -> None:
        """Send what the encoder kept, and the end."""
        self._chunk(self._encoder.flush())
        self._out.write(b"0\r\n\r\n")

    def break_off(self, error: bytes) -> None:
        """Say in ClickHouse's form what went wrong, and leave the body unfinished.

        The last chunk is left out: a client that knows nothing of the form still sees that the
        body is not whole.
        """
        tag = self._tag.encode()
        frame = b"\r\n__exception__\r\n%b\r\n%b%d %b\r\n__exception__\r\n"
        self._chunk(self._encoder.compress(frame % (tag, error, len(error), tag)))
        self._chunk(self._encoder.flush())
        self._out.flush()

    def _chunk(self, data: bytes) -> None:
        if data:
            self._out.write(b"%x\r\n" % len(data))
            self._out.write(data)
            self._out.write(b"\r\n")


def exception_tag() -> str:
    """A marker no result contains by chance."""
    return secrets.token_hex(8)


def pieces(file: BinaryIO, size: int = 1 << 20) -> Iterator[bytes]:
    """A file from its start, piece by piece."""
    file.seek(0)
    while data := file.read(size):
        yield data
