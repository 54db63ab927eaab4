"""The role live: committed updates to WebSocket clients."""

from tidemill.deploy.settings import Settings
from tidemill.gateway.live import app


async def run(settings: Settings, host: str, port: int) -> None:
    """Serve until cancelled; 3002 where no port is named."""
    settings.require("nats_gateway")
    await app.serve(host, port or 3002)
