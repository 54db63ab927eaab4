"""The role queries: the read-only HTTP server and the page."""

from tidemill.deploy.settings import Settings
from tidemill.gateway.queries import app


async def run(settings: Settings, host: str, port: int) -> None:
    """Serve until cancelled; 3000 where no port is named."""
    settings.require("clickhouse_reader", "postgres_reader")
    await app.serve(host, port or 3000)
