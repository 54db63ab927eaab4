"""Windows of time that end at an answer's own time, cut into intervals with one row of each."""

from typing import Annotated

from pydantic import Field

from tidemill.gateway.queries.parameters import Asked
from tidemill.gateway.queries.problems import Problem
from tidemill.gateway.queries.stores import Bound, Stores

HOURS, HOURS_MAX = 24, 168
POINTS, POINTS_MAX = 500, 1_000
HOUR_NS = 3_600_000_000_000

Hours = Annotated[int, Field(ge=1, le=HOURS_MAX, description="How far back, from the answer.")]


class WindowAsked(Asked):
    """How far back, and how many points at most."""

    hours: Hours = HOURS
    limit: int = Field(
        POINTS, ge=1, le=POINTS_MAX, description="The window is cut into so many; one row of each."
    )


async def window(stores: Stores, bound: Bound, hours: int, points: int = 1) -> dict[str, int]:
    """Return ``from``, ``to`` and ``every_ns`` of a statement. Raises Problem before any time."""
    now_ns = await stores.time_of(bound)
    if now_ns is None:
        raise Problem(404, "NO_DATA", f"nothing was heard up to r {bound.root}")
    span_ns = hours * HOUR_NS
    return {"from": now_ns - span_ns, "to": now_ns, "every_ns": span_ns // points, "limit": points}
