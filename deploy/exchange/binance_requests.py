"""What a client may ask over its WebSocket: SUBSCRIBE, UNSUBSCRIBE, LIST_SUBSCRIPTIONS and the
property `combined`. Answers and errors after "Live Subscribing/Unsubscribing to streams" of the
WebSocket stream document. As there, a stream that does not exist is accepted and stays silent."""

from typing import Any

import orjson

from tidemill.deploy.exchange.binance_streams import Variant
from tidemill.deploy.exchange.sessions import Hub, Session

STREAMS_MAX = 1_024
METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")


class Refused(Exception):
    """A request that gets an error for an answer."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.answer = {"code": code, "msg": text}


def answer(hub: Hub, session: Session, message: str | bytes) -> str:
    """Do what a request says; the answer as JSON text."""
    try:
        request = _parsed(message)
        result = _done(hub, session, request["method"], request.get("params", []))
        reply: dict[str, Any] = {"result": result, "id": request["id"]}
    except Refused as refused:
        reply = refused.answer
    return orjson.dumps(reply).decode()


def _parsed(message: str | bytes) -> dict[str, Any]:
    try:
        request = orjson.loads(message)
    except orjson.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}"
        raise Refused(3, f"Invalid JSON: expected value at {where}") from error
    end = f"line 1 column {len(message)}"
    if not isinstance(request, dict) or "method" not in request:
        raise Refused(2, f"Invalid request: missing field `method` at {end}")
    if request["method"] not in METHODS:
        known = ", ".join(f"`{method}`" for method in METHODS)
        found = f"unknown variant `{request['method']}`, expected one of {known}"
        raise Refused(2, f"Invalid request: {found} at line 1 column 28")
    if "id" not in request or not _is_id(request["id"]):
        raise Refused(2, "Invalid request: request ID must be an unsigned integer")
    if not isinstance(request.get("params", []), list):
        raise Refused(2, f"Invalid request: params must be an array at {end}")
    return request


def _is_id(value: object) -> bool:
    if isinstance(value, str):
        return value.isalnum() and len(value) <= 36
    is_int = isinstance(value, int) and not isinstance(value, bool)
    return value is None or is_int


def _done(hub: Hub, session: Session, method: str, params: list[Any]) -> Any:
    if method == "LIST_SUBSCRIPTIONS":
        return list(session.streams)
    if method in ("SET_PROPERTY", "GET_PROPERTY"):
        return _property(hub, session, method, params)
    if not all(isinstance(stream, str) for stream in params):
        raise Refused(2, "Invalid request: stream names must be strings")
    if method == "UNSUBSCRIBE":
        hub.unsubscribe(session, params)
    elif len({*session.streams, *params}) > STREAMS_MAX:
        raise Refused(2, f"Invalid request: more than {STREAMS_MAX} streams")
    else:
        hub.subscribe(session, params)
    return None


def _property(hub: Hub, session: Session, method: str, params: list[Any]) -> Any:
    if not params or not isinstance(params[0], str):
        raise Refused(2, "Invalid request: property name must be a string")
    if params[0] != "combined":
        raise Refused(0, "Unknown property")
    assert isinstance(session.variant, Variant)
    if method == "GET_PROPERTY":
        return session.variant.combined
    if len(params) > 2:
        raise Refused(2, "Invalid request: too many parameters")
    if len(params) < 2 or not isinstance(params[1], bool):
        raise Refused(1, "Invalid value type: expected Boolean")
    hub.set_variant(session, session.variant._replace(combined=params[1]))
    return None
