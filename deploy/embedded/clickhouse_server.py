"""The ClickHouse front as one of the embedded servers: its process, users and probe."""

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path

from tidemill.deploy.embedded.ports import LOOPBACK
from tidemill.deploy.supervisor.child import Child
from tidemill.schemas.errors import Unavailable


@dataclass(frozen=True, slots=True)
class ClickHouseServer:
    """One front on loopback over the engine's files in `directory`."""

    directory: Path
    port: int

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def child(self) -> Child:
        """The process."""
        return Child(
            name="clickhouse",
            argv=(
                *(sys.executable, "-m", "tidemill.deploy.embedded.clickhouse"),
                *("--path", str(self.directory.absolute())),
                *("--host", LOOPBACK, "--port", str(self.port)),
            ),
            probe=self.probe,
        )

    async def probe(self) -> None:
        """GET /ping."""
        try:
            reader, writer = await asyncio.open_connection(LOOPBACK, self.port)
            try:
                writer.write(b"GET /ping HTTP/1.0\r\nHost: tidemill\r\n\r\n")
                answer = await reader.read()
            finally:
                writer.close()
        except OSError as error:
            raise Unavailable(f"clickhouse {LOOPBACK}:{self.port}: {error}") from error
        if not (answer.split(b"\r\n")[0].endswith(b"200 OK") and answer.endswith(b"\r\n\r\nOk.\n")):
            raise Unavailable(f"clickhouse {LOOPBACK}:{self.port}: {answer[:200]!r}")
