"""Subject filters: which subjects a fence, a reader or a stream means.

Tokens are separated by dots; ``*`` stands for exactly one token, a last ``>`` for one or more.
"""

from collections.abc import Sequence


def matches(pattern: str, subject: str) -> bool:
    """Return whether the filter `pattern` takes `subject`, which has no wildcards."""
    return covers(pattern, subject)


def covers(pattern: str, other: str) -> bool:
    """Return whether `pattern` takes every subject that `other`, itself a filter, takes."""
    wanted, given = pattern.split("."), other.split(".")
    for at, token in enumerate(wanted):
        if at >= len(given):
            return False
        if token == ">":
            return True
        if given[at] == ">" or token not in ("*", given[at]):
            return False
    return len(wanted) == len(given)


def collide(one: str, other: str) -> bool:
    """Return whether some subject is taken by both filters."""
    left, right = one.split("."), other.split(".")
    for a, b in zip(left, right, strict=False):
        if a == ">" or b == ">":
            return True
        if a != b and "*" not in (a, b):
            return False
    return len(left) == len(right)


def distinct(filters: Sequence[str]) -> tuple[str, ...]:
    """Return `filters` without those that another one covers, in their order.

    Raises ValueError for no filters, and for two that overlap without covering (JetStream refuses
    them in one consumer).
    """
    if not filters:
        raise ValueError("a reader needs at least one filter")
    kept: list[str] = []
    for one in dict.fromkeys(filters):
        if not any(covers(other, one) for other in filters if other != one):
            kept.append(one)
    for at, one in enumerate(kept):
        for other in kept[at + 1 :]:
            if collide(one, other):
                raise ValueError(f"filters {one!r} and {other!r} overlap")
    return tuple(kept)


def within(filters: Sequence[str], subjects: Sequence[str], stream: str) -> tuple[str, ...]:
    """Return the distinct `filters`. Raises ValueError for one that `stream` has no subject for."""
    kept = distinct(filters)
    for one in kept:
        if not any(collide(one, subject) for subject in subjects):
            raise ValueError(f"stream {stream} has no subject for filter {one!r}")
    return kept


class Matcher:
    """Remembers which subjects a set of filters takes; `taken` is one dictionary look-up."""

    def __init__(self, filters: Sequence[str]) -> None:
        self._filters = tuple(filters)
        self._known: dict[str, bool] = {}
        self.takes_all = ">" in self._filters

    def taken(self, subject: str) -> bool:
        """Return whether one of the filters takes `subject`."""
        known = self._known.get(subject)
        if known is None:
            known = any(matches(pattern, subject) for pattern in self._filters)
            self._known[subject] = known
        return known
