"""Settings of one process: where the servers are and what to run, from the environment.

Secrets stand in URLs, so they come by the environment (``TIDEMILL_NATS_ENGINE=...``) or a file
``.env``, never by arguments that a process list shows. None of them is visible to a step.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from tidemill.schemas.events.instrument import Name

GraphLayout = Literal["fused", "split"]


class FeedSettings(BaseModel):
    """One feed: what of a venue's product is subscribed to, and where the product is.

    A venue's products are one entry each; one process runs them all. Each symbol is carried by
    `connections` connections at once. Without addresses it is the venue's own interface; of product
    CCXT `up` runs a bridge to the exchange, whose ccxt id is the venue's name in small letters.
    Fees are in millionths of the notional, below 0 for rebates; `tidemill up` appends them as
    facts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    venue: Name
    product: Name = "SPOT"
    symbols: Annotated[tuple[Name, ...], Field(min_length=1, max_length=5_000)]
    websocket: str = ""
    rest: str = ""
    connections: Annotated[int, Field(ge=1, le=4)] = 1
    taker_ppm: Annotated[int, Field(ge=-100_000, le=100_000)] | None = None
    maker_ppm: Annotated[int, Field(ge=-100_000, le=100_000)] | None = None


class Settings(BaseSettings):
    """What a role needs; a role that lacks something says which variable is not set."""

    model_config = SettingsConfigDict(env_prefix="TIDEMILL_", env_file=".env", extra="ignore")

    nats_engine: str = ""
    nats_admin: str = ""
    nats_gateway: str = ""
    clickhouse: str = ""
    clickhouse_reader: str = ""
    postgres: str = ""
    postgres_reader: str = ""
    valkey: str = ""
    live_url: str = ""
    data_dir: Path = Path(".tidemill")
    archive: str = ""
    """Directory or s3:// URL of LOG's archive; a role whose LOG was trimmed needs it."""
    retention: str = ""
    """What of LOG is kept when it is archived: "7d", "12h", or a number of records; empty: all."""
    feeds: tuple[FeedSettings, ...] = ()
    store: str = ""
    """Directory of the log's files, where they are on this machine: feeds stop when its disk is
    nearly full. Empty: not watched."""
    graphs: GraphLayout = "fused"
    owner: str = ""
    """Who holds leases, the same after a restart; only one process of a role may have it."""
    metrics_port: Annotated[int, Field(ge=0, le=65_535)] = 0
    """Port of Prometheus metrics on loopback; 0: none."""

    def require(self, *names: str) -> None:
        """Raise Missing for the first of `names` that is not set."""
        for name in names:
            if not getattr(self, name):
                raise Missing(f"TIDEMILL_{name.upper()} is not set: this role needs it")


class Missing(Exception):
    """A setting that a role needs is not there; the message names its variable."""


def archive_of(data_dir: Path) -> str:
    """Return where the archive of a run on `data_dir` is: what is set, or a folder of it."""
    return load().archive or str(data_dir.absolute() / "archive")


def load() -> Settings:
    """Read the settings. Raises Missing, saying which one is wrong."""
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise Missing(f"setting {name}: {first['msg']}") from error
