"""Where the embedded servers of a data directory listen: chosen once, the same ever after."""

import secrets
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from tidemill.deploy.embedded.ports import free_port, is_free
from tidemill.streams.durable import sync

FILE = "servers.json"


class Ports(BaseModel):
    """Loopback ports that the configuration fixes; None lets the first start choose."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    nats: int | None = None
    nats_monitor: int | None = None
    postgres: int | None = None
    valkey: int | None = None
    clickhouse: int | None = None


class Addresses(BaseModel):
    """What `DATA/servers.json` remembers. It holds no secret."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    nats_name: str
    nats: int
    nats_monitor: int
    postgres: int
    valkey: int
    clickhouse: int


def remembered(data_dir: Path) -> Addresses | None:
    """What an earlier start wrote, None when there was none.

    Raises pydantic.ValidationError when the file is not what we write.
    """
    path = data_dir / FILE
    return Addresses.model_validate_json(path.read_text()) if path.exists() else None


def settle(data_dir: Path, fixed: Ports) -> Addresses:
    """The ports to start on, remembered for the next time.

    A port of the last start that someone else has meanwhile taken is replaced by a new one, since
    nothing but `servers.json` knows it; a port the configuration fixes is not: OSError says which.
    """
    old = remembered(data_dir)
    ports: dict[str, int] = {}
    for field in Ports.model_fields:
        ports[field] = _port(field, fixed, old, set(ports.values()))
    name = old.nats_name if old is not None else f"tidemill-{secrets.token_hex(8)}"
    addresses = Addresses(nats_name=name, **ports)
    fresh = data_dir / f".{FILE}.new"
    fresh.write_text(addresses.model_dump_json(indent=2) + "\n")
    sync(fresh)
    fresh.rename(data_dir / FILE)
    sync(data_dir)
    return addresses


def _port(name: str, fixed: Ports, old: Addresses | None, used: set[int]) -> int:
    wanted: int | None = getattr(fixed, name)
    if wanted is not None:
        if wanted in used or not is_free(wanted):
            raise OSError(f"port {wanted}, configured for {name}, is taken")
        return wanted
    port: int | None = getattr(old, name, None)
    while port is None or port in used or not is_free(port):
        port = free_port()
    return port
