"""Settings of the queries server, from the environment (``TIDEMILL_...``)."""

from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class QueriesSettings(BaseSettings):
    """Where the databases are, as readers; how long and how much is waited for."""

    model_config = SettingsConfigDict(env_prefix="TIDEMILL_", extra="ignore", frozen=True)

    clickhouse_reader: str
    postgres_reader: str
    valkey: str = ""
    """Empty: no cache."""
    live_url: str = ""
    """WebSocket address that the page connects to; empty: the page polls."""
    development: bool = False
    """Whether errors show their stack trace."""
    cors_origins: tuple[str, ...] = ()
    """Other origins whose pages may ask; none by default."""
    min_seq_timeout_s: Annotated[float, Field(gt=0, le=60)] = 5.0
    query_timeout_s: Annotated[float, Field(gt=0, le=60)] = 5.0
    clickhouse_connections_max: Annotated[int, Field(ge=1, le=64)] = 8
    postgres_connections_max: Annotated[int, Field(ge=1, le=64)] = 8
    queries_waiting_max: Annotated[int, Field(ge=1, le=10_000)] = 512
    """Questions that may wait for a ClickHouse connection; the next one is told to come back."""
