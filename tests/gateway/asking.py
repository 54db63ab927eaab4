"""A client of the queries server, in process: it holds every answer to the declared models."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import unquote

import httpx2
from fastapi import FastAPI
from fastapi.routing import APIRoute
from pydantic import TypeAdapter

from tidemill.gateway.queries.answer import ErrorEnvelope
from tidemill.gateway.queries.app import create_app
from tidemill.gateway.queries.settings import QueriesSettings
from tidemill.tests.projections.stores import Stores

MARKET_DATA = "/api/market-data"


class Client:
    """Asks, and checks envelopes, shapes and headers of whatever comes back."""

    def __init__(self, app: FastAPI, http: httpx2.AsyncClient) -> None:
        self.app, self.http = app, http
        self._models = [
            (route.path_regex, TypeAdapter(route.response_model))
            for route in every_route(app)
            if route.response_model is not None
        ]

    async def get(self, path: str, **parameters: Any) -> httpx2.Response:
        """Ask a path, below /api/market-data or whole; an answer must be of its declared model."""
        named = {name.rstrip("_"): value for name, value in parameters.items()}
        answer = await self.http.get(_whole(path), params=named)
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-content-type-options"] == "nosniff"
        if answer.status_code == 200:
            self._model_of(path).validate_json(answer.content, strict=True, extra="forbid")
        else:
            ErrorEnvelope.model_validate_json(answer.content, strict=True)
            assert answer.json()["success"] is False
        return answer

    async def data(self, path: str, **parameters: Any) -> Any:
        """The data of an answer that must be good."""
        answer = await self.get(path, **parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    async def as_of(self, path: str, **parameters: Any) -> dict[str, Any]:
        """What a good answer says of its position."""
        answer = await self.get(path, **parameters)
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()["meta"]["as_of"]
        return told

    async def error(self, path: str, **parameters: Any) -> tuple[int, str]:
        """The status and code of an answer that must be an error."""
        answer = await self.get(path, **parameters)
        assert answer.status_code >= 400, answer.text
        return answer.status_code, answer.json()["error"]["code"]

    def _model_of(self, path: str) -> TypeAdapter[Any]:
        whole = unquote(_whole(path))
        return next(model for route, model in self._models if route.match(whole))


def _whole(path: str) -> str:
    return path if path.startswith("/") else f"{MARKET_DATA}/{path}"


def every_route(app: FastAPI) -> list[APIRoute]:
    """Every route that the server answers."""
    found: list[APIRoute] = []
    waiting = list(app.routes)
    while waiting:
        route = waiting.pop(0)
        if isinstance(route, APIRoute):
            found.append(route)
        else:
            inner = getattr(route, "original_router", None)
            waiting += getattr(inner, "routes", [])
    return found


def settings_of(stores: Stores, **others: Any) -> QueriesSettings:
    """Settings of a server before these databases, as their readers."""
    given = {
        "clickhouse_reader": stores.clickhouse_server.reader_url,
        "postgres_reader": stores.postgres_server.reader_dsn,
        "min_seq_timeout_s": 0.5,
        **others,
    }
    return QueriesSettings.model_validate(given)


@asynccontextmanager
async def client_of(stores: Stores, **others: Any) -> AsyncIterator[Client]:
    """A client of a server of its own."""
    app = create_app(settings_of(stores, **others))
    async with app.router.lifespan_context(app):
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://queries") as http:
            yield Client(app, http)
