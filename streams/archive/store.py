"""Where the archive's files are: a directory, or an S3-compatible bucket, through pyarrow's own
file systems.

A file is written under a name that no reader takes, and gets its own name when it is whole:

    directory   fsync of the file, rename, fsync of the directory: atomic by POSIX, durable
    bucket      the object of the temporary key appears when its upload completes, and is then
                copied to its own key by the server: a copy appears whole or not at all, and the
                temporary key is deleted after it (closing a stream after an error completes an
                upload too, so no upload is made under the file's own key)
"""

import os
from pathlib import Path
from typing import Any, Self

from pyarrow import fs  # type: ignore[import-untyped]  # the package ships no types

from tidemill.schemas.errors import Unavailable
from tidemill.streams.durable import sync

UNFINISHED = ".writing"
"""Suffix of files that are not whole."""
FINISHED = ".parquet"


class Store:
    """The files of one archive, below `root` of a file system. Raises Unavailable.

    `create`: make it where there is none; who only reads does not.
    """

    def __init__(self, files: fs.FileSystem, root: str, create: bool = True) -> None:
        self._files = files
        self._root = root.rstrip("/")
        self._local = isinstance(files, fs.LocalFileSystem)
        try:
            if create:
                files.create_dir(self._root, recursive=True)
        except OSError as error:
            raise Unavailable(f"archive {root}: {error}") from error

    @classmethod
    def at(cls, location: str, create: bool = True) -> Self:
        """Open a directory, or ``s3://bucket/prefix?region=...&endpoint_override=...``.

        Keys for S3 come as AWS's tools take them (AWS_ACCESS_KEY_ID, ...; never in `location`).
        """
        if "://" not in location:
            return cls(fs.LocalFileSystem(), str(Path(location).absolute()), create)
        try:
            files, root = fs.FileSystem.from_uri(location)
        except OSError as error:
            raise Unavailable(f"archive {location}: {error}") from error
        return cls(files, root, create)

    def names(self) -> list[str]:
        """Return the names of the finished files, sorted."""
        return sorted(name for name in self._all() if name.endswith(FINISHED))

    def _all(self) -> list[str]:
        try:
            found = self._files.get_file_info(fs.FileSelector(self._root))
        except OSError as error:
            raise Unavailable(f"archive {self._root}: {error}") from error
        return [one.base_name for one in found if one.type is fs.FileType.File]

    def path(self, name: str) -> str:
        """Return where a file is, for messages."""
        return f"{self._root}/{name}"

    def read(self, name: str) -> Any:
        """Open a file for reading anywhere in it. Raises FileNotFoundError."""
        try:
            return self._files.open_input_file(self.path(name))
        except FileNotFoundError:
            raise
        except OSError as error:
            raise Unavailable(f"archive {self.path(name)}: {error}") from error

    def write(self, name: str) -> Any:
        """Open an unfinished file for writing from its beginning."""
        try:
            return self._files.open_output_stream(self.path(name + UNFINISHED))
        except OSError as error:
            raise Unavailable(f"archive {self.path(name)}: {error}") from error

    def persist(self, name: str) -> None:
        """Have what was written to an unfinished file, and closed, on the disk."""
        if self._local:
            sync(self.path(name + UNFINISHED))

    def finish(self, name: str, own: str) -> None:
        """Give the unfinished file `name` its `own` name, for good."""
        try:
            self._files.move(self.path(name + UNFINISHED), self.path(own))
            if self._local:
                sync(self._root)
        except OSError as error:
            raise Unavailable(f"archive {self.path(own)}: {error}") from error

    def forget_cached(self, name: str) -> None:
        """Have the next read of a local file come from the disk, not from the page cache."""
        if self._local:
            descriptor = os.open(self.path(name), os.O_RDONLY)
            try:
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(descriptor)

    def clear_unfinished(self) -> None:
        """Delete what a writer that was killed left."""
        for name in self._all():
            if name.endswith(UNFINISHED):
                self.delete(name)

    def delete(self, name: str) -> None:
        """Delete one file."""
        try:
            self._files.delete_file(self.path(name))
        except OSError as error:
            raise Unavailable(f"archive {self.path(name)}: {error}") from error
