"""How events travel: the log port, subjects, the runtime loop, and the feeds."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tidemill.streams.archive.scan import scan

__all__ = ["scan"]


def __getattr__(name: str) -> Any:
    """Load `scan`, for notebooks, when it is asked for: it brings pyarrow and numba along."""
    if name == "scan":
        from tidemill.streams.archive.scan import scan

        return scan
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
