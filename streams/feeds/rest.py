"""A venue's REST interface, asked politely: within its weights, with patience and a breaker.

Two budgets hold at once: ours, a token bucket of the venue's weights, and what the venue says in
its headers that it counted (`Venue.used`): near its limit we slow down, because others may share
our address. What would wait too long is refused at once: the caller knows better what to do.
"""

import asyncio
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import NamedTuple, Self

import httpx2

from tidemill.schemas.errors import Unavailable
from tidemill.streams.feeds.breaker import Breaker

TIMEOUT_S = 5.0
BODY_BYTES_MAX = 64 << 20
WAIT_S_DEFAULT = 10.0
"""How long to stay away after a 429, 418 or 403 (too often, by some) without Retry-After."""
WAIT_S_MAX, PATIENT_S_MAX = 5.0, 30.0
"""What would have to wait longer is refused: what is urgent, and what is not."""
USED_SLOW, USED_MAX = 0.6, 0.95
"""From this part of the venue's own budget on we slow down; from that one on we stay away."""
USED_WAIT_S = 5.0
SLOWEST = 0.05


def nothing_told(headers: Mapping[str, str]) -> float | None:
    """The headers of a venue that tells nothing of its budget."""
    return None


class Answer(NamedTuple):
    """A body, and whether it answers (200) or says what is wrong with the request (4xx)."""

    body: bytes
    good: bool


class Rest:
    """GETs of one venue. `weights_per_s` is the lasting rate, with bursts of `burst_s` of it.

    `used` reads the used part (0 to 1) of the venue's budget out of an answer's headers.
    """

    def __init__(
        self,
        endpoint: str,
        weights_per_s: float,
        used: Callable[[Mapping[str, str]], float | None] = nothing_told,
        burst_s: float = 5.0,
    ) -> None:
        self._client = httpx2.AsyncClient(base_url=endpoint.rstrip("/"), timeout=TIMEOUT_S)
        self._rate = weights_per_s
        self._burst = max(1.0, weights_per_s * burst_s)
        self._budget = self._burst
        self._slow = 1.0
        self._used = used
        self._at = 0.0
        self._away_until = 0.0
        self._breaker: Breaker | None = None
        self.refusals = 0

    async def __aenter__(self) -> Self:
        self._breaker = Breaker(asyncio.get_running_loop().time)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._client.aclose()

    async def get(self, path: str, weight: float = 1.0, urgent: bool = True) -> Answer:
        """Return the body of a 200, or of a 4xx that says what is wrong with the request.

        What is not `urgent` leaves half of the budget to what is. Raises Unavailable for anything
        else: no answer, 5xx, 429, 418, 403, a body over 64 MB; at once while the breaker is open,
        or where the budget would take too long.
        """
        assert self._breaker is not None, "enter it first"
        await self._allowed(path, weight, urgent)
        if not self._breaker.pass_():
            raise Unavailable(f"GET {path}: not asked, {self._client.base_url} does not answer")
        try:
            answer = await self._client.get(path)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            self._breaker.failed()
            raise Unavailable(f"GET {path}: {type(error).__name__} {error}") from error
        except asyncio.CancelledError:
            self._breaker.forgotten()
            raise
        (self._breaker.succeeded if answer.status_code < 500 else self._breaker.failed)()
        return self._judged(path, answer)

    def _judged(self, path: str, answer: httpx2.Response) -> Answer:
        if answer.status_code in (403, 418, 429):
            wait = answer.headers.get("Retry-After", "")
            self._stay_away(float(wait) if wait.isdigit() else WAIT_S_DEFAULT)
            self.refusals += 1
            raise Unavailable(f"GET {path}: told to wait ({answer.status_code})")
        self._heed(answer.headers)
        if answer.status_code != 200 and not 400 <= answer.status_code < 500:
            raise Unavailable(f"GET {path}: status {answer.status_code}")
        if len(answer.content) > BODY_BYTES_MAX:
            raise Unavailable(f"GET {path}: {len(answer.content)} bytes are too many")
        return Answer(answer.content, answer.status_code == 200)

    def _heed(self, headers: Mapping[str, str]) -> None:
        """Slow down as the venue's own budget is used up."""
        used = self._used(headers)
        if used is None:
            return
        left = (USED_MAX - used) / (USED_MAX - USED_SLOW)
        self._slow = min(1.0, max(SLOWEST, left))
        if used >= USED_MAX:
            self._stay_away(USED_WAIT_S)

    async def _allowed(self, path: str, weight: float, urgent: bool) -> None:
        """Wait for the budget, a token bucket. Raises Unavailable where it would take too long.

        What is urgent takes its turn at once and waits for it, in the order asked; the rest waits
        until half of the budget is there.
        """
        loop = asyncio.get_running_loop()
        weight = min(weight, self._burst)
        spare = 0.0 if urgent else min(self._burst / 2, self._burst - weight)
        deadline = loop.time() + (WAIT_S_MAX if urgent else PATIENT_S_MAX)
        while (wait_s := self._wait_s(loop.time(), weight + spare)) > 0:
            if loop.time() + wait_s > deadline:
                raise Unavailable(f"GET {path}: not asked, the budget is used for {wait_s:.0f} s")
            if urgent:
                break
            await asyncio.sleep(max(wait_s, 0.01))
        self._budget -= weight
        if wait_s > 0:
            await asyncio.sleep(wait_s)

    def _wait_s(self, now: float, needed: float) -> float:
        """How long it takes until `needed` is there."""
        rate = self._rate * self._slow
        if self._at:
            self._budget = min(self._burst, self._budget + (now - self._at) * rate)
        self._at = now
        return max(self._away_until - now, (needed - self._budget) / rate, 0.0)

    def _stay_away(self, seconds: float) -> None:
        """Ask nothing for a while; afterwards begin slowly."""
        self._budget = min(self._budget, 0.0)
        self._away_until = asyncio.get_running_loop().time() + seconds
