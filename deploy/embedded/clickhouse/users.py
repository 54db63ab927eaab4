"""Who may ask: an owner and readers, with passwords that never stand on a command line."""

import base64
import binascii
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass

from tidemill.deploy.embedded.clickhouse.refusals import AUTHENTICATION_FAILED, refusal

_FAILED = "Authentication failed: password is incorrect, or there is no user with such name"


@dataclass(frozen=True)
class User:
    """A name, its password, and whether it may only read."""

    name: str
    password: str
    readonly: bool


def parse_users(text: str) -> dict[str, User]:
    """Users from JSON: `{"name": {"password": "...", "readonly": false}, ...}`.

    Raises ValueError for anything else, and for an empty password.
    """
    users = {}
    raw = json.loads(text)
    if not isinstance(raw, dict) or not raw:
        raise ValueError("users: a JSON object with one entry per user is expected")
    for name, entry in raw.items():
        if not isinstance(entry, dict) or set(entry) != {"password", "readonly"}:
            raise ValueError(f"user {name!r}: exactly `password` and `readonly` are expected")
        password, readonly = entry["password"], entry["readonly"]
        if not isinstance(password, str) or not password or not isinstance(readonly, bool):
            raise ValueError(f"user {name!r}: a non-empty password and a true or false readonly")
        users[name] = User(name, password, readonly)
    return users


def authenticate(
    users: Mapping[str, User], headers: Mapping[str, str], params: Mapping[str, str]
) -> User:
    """The user that a request proves to be, by exactly one of ClickHouse's three ways."""
    claims = [claim for claim in (_basic(headers), _keyed(headers), _given(params)) if claim]
    if len(claims) > 1:
        raise refusal(AUTHENTICATION_FAILED, "Invalid authentication: several ways used at once")
    name, password = claims[0] if claims else ("default", "")
    user = users.get(name)
    # Compared even for unknown names: the time taken tells nothing.
    expected = user.password if user else "\0"
    same = hmac.compare_digest(password.encode(), expected.encode())
    if user is None or not same:
        raise refusal(AUTHENTICATION_FAILED, f"{name}: {_FAILED}")
    return user


def _basic(headers: Mapping[str, str]) -> tuple[str, str] | None:
    header = headers.get("Authorization")
    if header is None:
        return None
    scheme, _, value = header.partition(" ")
    if scheme.lower() != "basic":
        raise refusal(AUTHENTICATION_FAILED, f"Invalid authentication: {scheme!r} is not supported")
    try:
        name, _, password = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise refusal(AUTHENTICATION_FAILED, "Invalid authentication: not base64") from None
    return name, password


def _keyed(headers: Mapping[str, str]) -> tuple[str, str] | None:
    if "X-ClickHouse-User" not in headers and "X-ClickHouse-Key" not in headers:
        return None
    return headers.get("X-ClickHouse-User", "default"), headers.get("X-ClickHouse-Key", "")


def _given(params: Mapping[str, str]) -> tuple[str, str] | None:
    if "user" not in params and "password" not in params:
        return None
    return params.get("user", "default"), params.get("password", "")
