"""What golden logs are made of: facts as feeds, markets and commands of this version write them.

They matter on the day a log is written; from then on its file is what counts.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from tidemill.schemas import events, kinds
from tidemill.schemas.events import EVENTS
from tidemill.schemas.events.instrument import InstrumentDefined, InstrumentDefinedV1
from tidemill.schemas.identifiers import ALL, partition
from tidemill.schemas.kinds import KINDS
from tidemill.streams.subjects import md
from tidemill.tests.flow import simulated
from tidemill.tests.flow.sources import source
from tidemill.tests.flow.test_derived_markets import Markets
from tidemill.tests.schemas.golden import CORPUS, version_of
from tidemill.tests.schemas.golden_logs import Facts

TRADES_MESSAGES = 1_500
MARKETS_SECONDS = 14


def all_sources() -> dict[str, Facts]:
    """Every source by its name."""
    feeds = traded()
    return {
        "trades": feeds,
        "first-definitions": in_first_definitions(feeds),
        "markets": Markets(10).make(MARKETS_SECONDS),
        "corpus": of_the_corpus(),
    }


def traded() -> Facts:
    """Trades and quotes of two venues as the feeds append them, with holes, fills and statuses."""
    with TemporaryDirectory() as folder:
        files = {venue: (simulated.write(Path(folder), venue),) for venue in simulated.SHARE}
        return source("golden", files, exact=False).facts[:TRADES_MESSAGES]


def in_first_definitions(facts: Facts) -> Facts:
    """The same log with every definition as the first version wrote them."""
    return [(subject, _first(subject, payload)) for subject, payload in facts]


def _first(subject: str, payload: bytes) -> bytes:
    if not subject.startswith("md.instrument."):
        return payload
    event = events.decode(payload)
    assert isinstance(event, InstrumentDefined)
    known = InstrumentDefinedV1.model_fields
    return events.encode(InstrumentDefinedV1(**{name: getattr(event, name) for name in known}))


def of_the_corpus() -> Facts:
    """Every kind and event that travels in LOG, in every version that was published, in turn."""
    instrument = next(
        event
        for path in sorted(CORPUS.glob("InstrumentDefined.*.json"), reverse=True)
        if isinstance(event := events.decode(path.read_bytes()), InstrumentDefined)
    )
    pair = partition(instrument.pair)
    facts: Facts = []
    for path in sorted(CORPUS.glob("*.json")):
        tag = path.name.removesuffix(".json")
        if tag in EVENTS and (subject := _subject(tag, path.read_bytes(), pair)):
            facts.append((subject, path.read_bytes()))
    facts.sort(key=lambda fact: not fact[0].startswith("md.instrument."))
    for path in sorted(CORPUS.glob("*.example.sbe")):
        kind = kinds.decode(path.read_bytes()).kind
        if "at_r" in (kind.dtype.names or ()) or version_of(path.name) > kind.version:
            continue
        facts.append((_place(kind.name, instrument, pair), path.read_bytes()))
    time = next(payload for subject, payload in facts if subject == "time")
    return [*facts, ("time", time)]


def _place(kind: str, instrument: InstrumentDefined, pair: int) -> str:
    if kind == "time":
        return kind
    if kind == "status":
        return md(kind, instrument.venue, instrument.product, ALL)
    assert kind in KINDS
    return md(kind, instrument.venue, instrument.symbol, pair)


def _subject(tag: str, payload: bytes, pair: int) -> str:
    event = events.decode(payload)
    if event.channel == "ctl":
        return f"ctl.golden.{tag.split('.')[0]}"
    venue, symbol = getattr(event, "venue", ""), getattr(event, "symbol", "")
    if event.channel == "md.instrument":
        assert isinstance(event, InstrumentDefined)
        return md("instrument", venue, symbol, partition(event.pair))
    if event.channel == "md.event":
        product = getattr(event, "product", "")
        return md("event", venue, symbol or product, pair if symbol else ALL)
    return ""
