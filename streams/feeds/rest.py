"""A venue's REST interface, asked politely: a budget of requests, and waiting when told to."""

import asyncio
from types import TracebackType
from typing import Self

import httpx2

from tidemill.schemas.errors import Unavailable

TIMEOUT_S = 5.0
BODY_BYTES_MAX = 64 << 20
BURST_REQUESTS = 20
"""Requests that may be made at once after a quiet time; holes must be filled within 2 s."""
WAIT_S_DEFAULT = 10.0
"""How long to stay away after a 429 or 418 without Retry-After."""


class Rest:
    """GETs of one venue. `requests_per_s` is the lasting rate, with bursts of 20."""

    def __init__(self, endpoint: str, requests_per_s: float) -> None:
        self._client = httpx2.AsyncClient(base_url=endpoint.rstrip("/"), timeout=TIMEOUT_S)
        self._rate = requests_per_s
        self._budget = float(BURST_REQUESTS)
        self._at = 0.0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._client.aclose()

    async def get(self, path: str) -> bytes:
        """Return the body of a 200, or of a 4xx that says what is wrong with the request.

        Raises Unavailable for anything else: no answer, 5xx, 429, 418, a body over 64 MB.
        """
        await self._allowed()
        try:
            answer = await self._client.get(path)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise Unavailable(f"GET {path}: {type(error).__name__} {error}") from error
        if answer.status_code in (418, 429):
            wait = answer.headers.get("Retry-After", "")
            self._stay_away(float(wait) if wait.isdigit() else WAIT_S_DEFAULT)
            raise Unavailable(f"GET {path}: told to wait ({answer.status_code})")
        if answer.status_code != 200 and not 400 <= answer.status_code < 500:
            raise Unavailable(f"GET {path}: status {answer.status_code}")
        if len(answer.content) > BODY_BYTES_MAX:
            raise Unavailable(f"GET {path}: {len(answer.content)} bytes are too many")
        return answer.content

    async def _allowed(self) -> None:
        """Wait for the budget: a token bucket."""
        loop = asyncio.get_running_loop()
        while True:
            now = loop.time()
            if self._at:
                grown = self._budget + max(0.0, now - self._at) * self._rate
                self._budget = min(float(BURST_REQUESTS), grown)
            self._at = max(self._at, now)
            if self._budget >= 1 and self._at <= now:
                self._budget -= 1
                return
            await asyncio.sleep(max(self._at - now, (1 - self._budget) / self._rate, 0.01))

    def _stay_away(self, seconds: float) -> None:
        self._budget = 0.0
        self._at = asyncio.get_running_loop().time() + seconds
