"""`tidemill convert`: captures of cryptofeed as captures of ours."""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import zstandard

from tidemill.deploy.commands.output import Exit, answer
from tidemill.streams.feeds.capture import LINE_BYTES_MAX, line_of, opened
from tidemill.streams.feeds.convert import merged


@dataclass(frozen=True)
class Options:
    """What was asked for on the command line."""

    files: tuple[Path, ...]
    out: Path
    json: bool


async def convert(options: Options) -> Exit:
    """Write one capture for each recording: files whose names begin alike, as BINANCE.ws.1.0.gz.

    Raises as `write`, and FileNotFoundError.
    """
    for file in options.files:
        if not file.is_file():
            raise FileNotFoundError(f"there is no file {file}")
    recordings: dict[str, list[Path]] = {}
    for file in options.files:
        recordings.setdefault(file.name.partition(".")[0], []).append(file)
    options.out.mkdir(parents=True, exist_ok=True)
    written: dict[str, int] = {}
    for name, files in recordings.items():
        out = options.out / f"{name}.zst"
        written[str(out)] = write(files, out)
    answer({"files": written}, options.json)
    return Exit.HELD


def write(files: Sequence[Path], out: Path) -> int:
    """Write the capture `out` of one recording, whole or not at all; return its lines.

    Raises OSError as the disk does, and Unreadable for a line of no layout that is known.
    """
    partial = out.with_name(out.name + ".partial")
    lines = 0
    try:
        with ExitStack() as stack, partial.open("wb") as file:
            recordings = [(path.name, _lines(path, stack)) for path in files]
            with zstandard.ZstdCompressor(level=3).stream_writer(file, closefd=False) as to:
                for received, raw in merged(recordings):
                    to.write(line_of(received, raw))
                    lines += 1
            file.flush()
            os.fsync(file.fileno())
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)
    return lines


def _lines(path: Path, stack: ExitStack) -> Iterator[bytes]:
    """The lines of a text, gzip or zstd file, which stays open as long as `stack`."""
    reader = stack.enter_context(opened(stack.enter_context(path.open("rb"))))
    return iter(lambda: reader.readline(LINE_BYTES_MAX), b"")
