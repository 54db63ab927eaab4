"""Every subject of LOG and OUT as a channel: its address with parameters, and what travels there.

Channels of frames follow from the kinds and channels of events from the events' `channel`, so one
more of either needs no line here unless it travels on a new kind of subject.
"""

from typing import NamedTuple

from tidemill.schemas.events import EVENTS
from tidemill.schemas.frame import Kind
from tidemill.schemas.kinds import KINDS
from tidemill.streams.subjects import DERIVED, LOG_SUBJECTS

CHECKPOINT = "checkpoint"
"""Name of the message on ``ckpt.>``."""


class Channel(NamedTuple):
    """`address` has AsyncAPI's ``{parameters}``; `messages` are names of kinds, or tags."""

    address: str
    doc: str
    messages: tuple[str, ...]

    @property
    def stream(self) -> str:
        """LOG or OUT."""
        root = self.address.split(".")[0]
        return "LOG" if root in {subject.split(".")[0] for subject in LOG_SUBJECTS} else "OUT"


_EVENT_CHANNELS = {
    "md.instrument": (
        "md.instrument.{venue}.{symbol}.{partition}",
        "What an instrument is; always before the first record of it.",
    ),
    "md.event": (
        "md.event.{venue}.{name}.{partition}",
        "What a feed says of itself: of an instrument, or of a product (partition all).",
    ),
    "ctl": ("ctl.{what}.{graph}", "Facts about the running of the engine itself."),
    "feeds.stale": ("feeds.stale.{venue}.{product}.all", "A feed fell silent, or is heard again."),
    "dlq": ("dlq.{processor}.{partition}", "Records that a processor could not take."),
}
PARAMETERS = {
    "venue": "the venue, as BINANCE",
    "symbol": "the venue's symbol of the instrument, as BTCUSDT; or ALL over venues: the pair",
    "name": "a symbol, or the product of a feed, as SPOT",
    "product": "the product of a feed, as SPOT",
    "spec": "which of its kind: a bar's interval (1m), a window (24h)",
    "partition": "00 to 63: FNV-1a-32 of the pair modulo 64; or all",
    "graph": "the graph of processors",
    "processor": "the processor",
    "what": "what it is about",
}
"""Every parameter of an address, and what it says."""


def channels() -> dict[str, Channel]:
    """Return every channel by its name, in the order of the kinds, then of the events."""
    found = {_name(kind): _of_kind(kind) for kind in KINDS.values()}
    for name, (address, doc) in _EVENT_CHANNELS.items():
        tags = sorted(tag for tag, event in EVENTS.items() if event.channel == name)
        found[name] = Channel(address, doc, tuple(tags))
    found["ckpt"] = Channel(
        "ckpt.{graph}.{partition}", "How far a graph has committed a partition.", (CHECKPOINT,)
    )
    return found


def _root(kind: Kind) -> str | None:
    """The first token of a derived kind's subject; None for the kinds of LOG."""
    return next((root for root, name in DERIVED.items() if name == kind.name), None)


def _name(kind: Kind) -> str:
    return kind.name if kind.name == "time" else _root(kind) or f"md.{kind.name}"


def _of_kind(kind: Kind) -> Channel:
    root = _root(kind)
    if kind.name == "time":
        address = "time"
    elif root:
        address = f"{root}.{{spec}}.{{venue}}.{{symbol}}.{{partition}}"
    else:
        name = "name" if kind.name == "status" else "symbol"
        address = f"md.{kind.name}.{{venue}}.{{{name}}}.{{partition}}"
    return Channel(address, kind.doc, (kind.name,))
