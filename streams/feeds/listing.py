"""The list of all instruments of a venue, joined from the answers of one round. Pure.

Some venues list by status, and in pages: an instrument that one answer does not name may be on
another. Only a round in which every path of `Venue.listing_paths` was answered, in their order and
each to its last page, says what is not listed any more.
"""

from collections.abc import Sequence

from tidemill.streams.feeds.feed import Page


class Listing:
    """The round that runs. A page of the first of `paths` begins one, too."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = tuple(paths)
        self._left: tuple[str, ...] = ()
        self._symbols: frozenset[str] = frozenset()

    @property
    def awaited(self) -> str:
        """The path that the round waits for; empty when it is complete."""
        return self._left[0] if self._left else ""

    def begin(self) -> None:
        """Begin a round: what an unfinished one listed is forgotten."""
        self._left, self._symbols = self._paths, frozenset()

    def take(self, page: Page) -> frozenset[str] | None:
        """Take a page; return all symbols that are listed when it completes the round."""
        if page.path == self._paths[0]:
            self.begin()
        if page.path != self.awaited:
            return None
        self._symbols |= page.symbols
        self._left = (page.following, *self._left[1:]) if page.following else self._left[1:]
        return None if self._left else self._symbols
