"""The page at ``/``: files of gateway/web, served as they are, and where it finds `live`."""

from pathlib import Path

from fastapi import APIRouter, Request
from starlette.responses import FileResponse, JSONResponse, Response

ROUTES = APIRouter(include_in_schema=False)
_WEB = Path(__file__).parent.parent / "web"


@ROUTES.get("/")
async def index() -> Response:
    """The page."""
    return FileResponse(_WEB / "index.html")


@ROUTES.get("/page.js")
async def script() -> Response:
    """What the page does."""
    return FileResponse(_WEB / "page.js", media_type="text/javascript")


@ROUTES.get("/page.css")
async def style() -> Response:
    """How the page looks."""
    return FileResponse(_WEB / "page.css")


@ROUTES.get("/page.json")
async def settings(request: Request) -> Response:
    """Where updates come from; empty where there are none."""
    return JSONResponse({"live_url": request.app.state.settings.live_url})
