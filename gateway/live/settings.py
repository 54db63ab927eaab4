"""Settings of the live server, from the environment (``TIDEMILL_...``)."""

from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class LiveSettings(BaseSettings):
    """Where NATS is, as the user `gateway`, and what one client may take."""

    model_config = SettingsConfigDict(env_prefix="TIDEMILL_", extra="ignore", frozen=True)

    nats_gateway: str
    live_clients_max: Annotated[int, Field(ge=1, le=100_000)] = 1_000
    live_subscriptions_max: Annotated[int, Field(ge=1, le=10_000)] = 256
    """Subscriptions of one client."""
    live_messages_per_s: Annotated[int, Field(ge=1, le=1_000)] = 10
    """Messages that one client may send (F-267); more are refused, many more close it."""
    live_message_bytes_max: Annotated[int, Field(ge=256, le=1 << 20)] = 4_096
    live_queue_updates_max: Annotated[int, Field(ge=1, le=1_000_000)] = 1_024
    """Updates of each sort that wait for a slow client; then the oldest are dropped, and told."""
    live_queue_bytes_max: Annotated[int, Field(ge=4_096, le=1 << 30)] = 4 << 20
    live_ping_s: Annotated[float, Field(gt=0)] = 30.0
    live_pong_s: Annotated[float, Field(gt=0)] = 5.0
