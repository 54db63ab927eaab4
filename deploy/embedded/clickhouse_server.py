"""The ClickHouse front as one of the embedded servers: its process, users and probe."""

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path

from tidemill.deploy.embedded.clickhouse.process import MODULE, USERS_VARIABLE, users_json
from tidemill.deploy.embedded.ports import LOOPBACK
from tidemill.deploy.supervisor.child import Child
from tidemill.schemas.errors import Unavailable

OWNER, READER = "tidemill", "tidemill_reader"


@dataclass(frozen=True, slots=True)
class ClickHouseServer:
    """One front on loopback over the engine's files in `directory`."""

    directory: Path
    port: int
    owner_password: str
    reader_password: str

    def url(self, role: str) -> str:
        """How `role`, OWNER or READER, connects (the DSN clickhouse-connect takes)."""
        password = self.owner_password if role == OWNER else self.reader_password
        return f"http://{role}:{password}@{LOOPBACK}:{self.port}/default"

    def child(self) -> Child:
        """The process; the passwords travel in its environment."""
        users = users_json((OWNER, self.owner_password), (READER, self.reader_password))
        return Child(
            name="clickhouse",
            argv=(
                *(sys.executable, "-m", MODULE, "--path", str(self.directory.absolute())),
                *("--host", LOOPBACK, "--port", str(self.port)),
            ),
            env={USERS_VARIABLE: users},
            probe=self.probe,
        )

    async def probe(self) -> None:
        """Log in as the owner and as the reader, and select."""
        passwords = {OWNER: self.owner_password, READER: self.reader_password}
        for user, password in passwords.items():
            try:
                answer = await self._select_1(user, password)
            except OSError as error:
                raise Unavailable(f"clickhouse {LOOPBACK}:{self.port}: {error}") from error
            if b" 200 " not in answer.split(b"\r\n")[0] or not answer.endswith(b"\r\n\r\n1\n"):
                raise Unavailable(f"clickhouse {LOOPBACK}:{self.port}: {answer[:300]!r}")

    async def _select_1(self, user: str, password: str) -> bytes:
        # HTTP/1.0: the answer ends with the connection, so nothing of it needs parsing.
        reader, writer = await asyncio.open_connection(LOOPBACK, self.port)
        try:
            writer.write(
                f"GET /?query=SELECT%201 HTTP/1.0\r\nHost: {LOOPBACK}\r\n"
                f"X-ClickHouse-User: {user}\r\nX-ClickHouse-Key: {password}\r\n\r\n".encode()
            )
            return await reader.read()
        finally:
            writer.close()
