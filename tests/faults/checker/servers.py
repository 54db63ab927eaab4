"""Where the servers of a data directory are, read from its own files."""

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Urls:
    """How to connect to each."""

    nats: str
    postgres: str
    clickhouse: str


def urls_of(data_dir: Path) -> Urls:
    """Read ports and passwords. Raises OSError where there are none."""
    ports = json.loads((data_dir / "servers.json").read_text())

    def password(name: str) -> str:
        return (data_dir / "secrets" / name).read_text()

    host = "127.0.0.1"
    return Urls(
        f"nats://engine:{password('nats-engine')}@{host}:{ports['nats']}",
        f"postgresql://tidemill:{password('postgres-owner')}@{host}:{ports['postgres']}/tidemill",
        f"http://tidemill:{password('clickhouse-owner')}@{host}:{ports['clickhouse']}/default",
    )
