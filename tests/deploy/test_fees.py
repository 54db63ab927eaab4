"""Fees become facts: once, where LOG does not say them already."""

from tidemill.deploy.commands.fees import charge, configured
from tidemill.deploy.settings import FeedSettings
from tidemill.schemas import events
from tidemill.schemas.events.fees import FeesDefined
from tidemill.streams.memory import MemoryLog
from tidemill.streams.subjects import LOG_SUBJECTS


def feed(product: str, taker_ppm: int | None, maker_ppm: int | None = None) -> FeedSettings:
    return FeedSettings(
        venue="V", product=product, symbols=("S",), websocket="ws://v", rest="http://v",
        taker_ppm=taker_ppm, maker_ppm=maker_ppm,
    )  # fmt: skip


def test_a_feed_without_fees_says_nothing_and_a_maker_pays_as_a_taker_unless_said_otherwise() -> (
    None
):
    found = configured([feed("SPOT", 1_000), feed("SWAP", 500, -50), feed("OTHER", None)])
    assert [(one.product, one.taker_ppm, one.maker_ppm) for one in found] == [
        ("SPOT", 1_000, 1_000),
        ("SWAP", 500, -50),
    ]


async def test_fees_are_appended_when_they_change_and_only_then() -> None:
    log = MemoryLog("LOG", LOG_SUBJECTS)
    spot = FeesDefined(venue="V", product="SPOT", taker_ppm=1_000, maker_ppm=0)
    swap = FeesDefined(venue="V", product="SWAP", taker_ppm=500, maker_ppm=0)
    lower = spot.model_copy(update={"taker_ppm": 900})
    assert await charge(log, [spot, swap]) == [spot, swap]
    assert await charge(log, [spot, swap]) == []
    assert await charge(log, [lower, swap]) == [lower]
    held = [(m.subject, events.decode(m.payload)) for m in log.slice(1, log.end) if m is not None]
    assert held == [
        ("ctl.fees.V.SPOT", spot),
        ("ctl.fees.V.SWAP", swap),
        ("ctl.fees.V.SPOT", lower),
    ]
