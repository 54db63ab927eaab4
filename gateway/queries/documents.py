"""The documents' page: Swagger UI from its wheel, so it works without the internet."""

from functools import cache
from importlib import resources

from fastapi import APIRouter
from starlette.responses import HTMLResponse, Response

ROUTES = APIRouter(include_in_schema=False)
PATH = "/docs"
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Tidemill queries</title>
<link rel="stylesheet" href="docs/swagger-ui.css"><link rel="icon" href="data:,"></head>
<body><div id="ui"></div>
<script src="docs/swagger-ui-bundle.js"></script><script src="docs/start.js"></script>
</body></html>
"""
_START = """SwaggerUIBundle({url: "openapi.json", dom_id: "#ui", deepLinking: true,
  tryItOutEnabled: true, filter: true, displayRequestDuration: true, validatorUrl: null});
"""


@cache
def _file(name: str) -> bytes:
    return resources.files("fastapi_swagger").joinpath("resources", name).read_bytes()


@ROUTES.get(PATH)
async def page() -> Response:
    """The page."""
    return HTMLResponse(_PAGE)


@ROUTES.get(f"{PATH}/start.js")
async def start() -> Response:
    """What starts it."""
    return Response(_START, media_type="text/javascript")


@ROUTES.get(f"{PATH}/swagger-ui-bundle.js")
async def bundle() -> Response:
    """Swagger UI."""
    return Response(_file("swagger-ui-bundle.js"), media_type="text/javascript")


@ROUTES.get(f"{PATH}/swagger-ui.css")
async def style() -> Response:
    """Its looks."""
    return Response(_file("swagger-ui.css"), media_type="text/css")
