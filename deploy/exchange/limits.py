"""Limits a client IP: request weight in a window (429, then 418) and new connections.

The numbers are Binance spot's; other protocols have their own.

The documents leave open how often a client may ignore a 429 before its IP is banned:
`refusals_max` decides it here. A ban lasts two minutes, the shortest they name.
"""

from collections import deque
from dataclasses import dataclass, field

BAN_S = 120


@dataclass(frozen=True)
class Limits:
    """What a client may do."""

    weight_max: int = 6_000  # a window and IP
    window_s: int = 60
    refusals_max: int = 20  # requests answered 429 in a window before a ban
    connections_max: int = 300  # attempts in a window of their own and IP
    connections_window_s: float = 300.0
    incoming_max: int = 5  # WebSocket messages and control frames a second
    ping_interval_s: float | None = 20.0  # None: the server does not ping
    pong_timeout_s: float = 60.0
    silence_max_s: float | None = None  # without a message from the client
    connection_age_max_s: float = 86_400.0
    buffer_bytes_max: int = 8 << 20  # unread by a client: more, and it is disconnected
    stall_max_s: float = 10.0  # how long a slow client may hold back a full-speed market


@dataclass
class _Client:
    window: int = -1
    weight: int = 0
    refused: int = 0
    banned_until_s: float = 0.0
    connections: deque[float] = field(default_factory=deque)


@dataclass(frozen=True)
class Verdict:
    """What a request meets: status 200, 429 or 418; seconds to wait; weight used in this window."""

    status: int = 200
    retry_after_s: int = 0
    used_weight: int = 0
    handshake: bool = False  # it is about opening a WebSocket


class Meter:
    """Counts requests and connections by IP. Clients are few: this is a loopback server."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._clients: dict[str, _Client] = {}

    def request(self, ip: str, weight: int, now_s: float) -> Verdict:
        """Charge a request at `now_s` (UTC seconds: windows are the clock's)."""
        client = self._clients.setdefault(ip, _Client())
        if now_s < client.banned_until_s:
            return Verdict(418, int(client.banned_until_s - now_s) + 1, client.weight)
        window = int(now_s // self._limits.window_s)
        if window != client.window:
            client.window, client.weight, client.refused = window, 0, 0
        client.weight += weight
        if client.weight <= self._limits.weight_max:
            return Verdict(200, 0, client.weight)
        client.refused += 1
        if client.refused > self._limits.refusals_max:
            client.banned_until_s = now_s + BAN_S
            return Verdict(418, BAN_S, client.weight)
        return Verdict(429, int((window + 1) * self._limits.window_s - now_s) + 1, client.weight)

    def may_connect(self, ip: str, now_s: float) -> bool:
        """Count an attempt to open a WebSocket."""
        attempts = self._clients.setdefault(ip, _Client()).connections
        while attempts and attempts[0] <= now_s - self._limits.connections_window_s:
            attempts.popleft()
        attempts.append(now_s)
        return len(attempts) <= self._limits.connections_max
