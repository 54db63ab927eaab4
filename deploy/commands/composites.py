"""`tidemill composites`: facts of which venues' bars are put together into bars of a pair.

A composite is an instrument that no venue defines; so who asks for one appends its definition too,
at the finest exponents of its members, before the fact that asks.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from tidemill.deploy.commands.output import Exit, answer
from tidemill.deploy.commands.sets import COMPOSITES, define, defined
from tidemill.deploy.embedded.servers import servers_on
from tidemill.deploy.roles.connections import streams
from tidemill.deploy.settings import archive_of
from tidemill.schemas import events
from tidemill.schemas.errors import Unreadable
from tidemill.schemas.events.composites import VENUE, CompositeDefined, CompositeRemoved
from tidemill.schemas.events.instrument import InstrumentDefined
from tidemill.schemas.identifiers import InstrumentId, partition
from tidemill.streams import subjects
from tidemill.streams.appender import Appender
from tidemill.streams.log import Log


async def change(
    name: str, fields: Mapping[str, object] | None, remove: bool, data_dir: Path, json: bool
) -> Exit:
    """Define the composite of a name by its fields, or remove it; list those that LOG then has.

    `instrument` may be empty: then it is the pair's name. Raises ValueError for what is no
    composite, or could not be made.
    """
    if bool(name) != (remove or fields is not None) or (remove and fields):
        raise ValueError("name a composite and its members, or --remove it")
    async with (
        servers_on(data_dir) as urls,
        streams(urls.nats_engine, "composites", archive_of(data_dir)) as opened,
    ):
        changed: list[str] = []
        if remove:
            changed = await define(opened.log, COMPOSITES, [CompositeRemoved(name=name)])
        elif fields:
            changed = await compose(opened.log, {"name": name, **fields})
        listed = await defined(opened.log, COMPOSITES)
    sets = {name: one.model_dump(exclude={"sequence", "name"}) for name, one in listed.items()}
    answer({"sets": sets, "changed": changed}, json)
    return Exit.HELD


async def compose(log: Log, fields: Mapping[str, object]) -> list[str]:
    """Append the composite that `fields` say, unless LOG says it already, and before it the
    definition of its instrument; return the names that changed.

    Raises ValueError, and appends nothing, where its members cannot be put together.
    """
    named = fields.get("instrument")
    try:
        asked = CompositeDefined.read({**fields, "instrument": named or f"ANY.{VENUE}"})
        definition = composed([await _known(log, one) for one in asked.member_ids])
        if named:
            definition = definition.model_copy(update={"symbol": asked.instrument_id.symbol})
        event = asked.model_copy(update={"instrument": str(definition.instrument_id)})
    except Unreadable as error:
        raise ValueError(str(error)) from error
    return await establish(log, event, definition)


async def establish(log: Log, event: CompositeDefined, definition: InstrumentDefined) -> list[str]:
    """Append a composite and the definition of its instrument; return the names that changed.

    Raises ValueError, and appends nothing, where another composite has that instrument.
    """
    before = await _defined(log, event.instrument_id)
    if before is not None and before.pair != definition.pair:
        raise ValueError(
            f"{event.instrument} is a composite of {before.pair}: name one of {definition.pair}"
            f" otherwise, with --as"
        )
    others = (await defined(log, COMPOSITES)) | {event.name: event}
    if wrong := COMPOSITES.problems([others[name] for name in sorted(others)]):
        raise ValueError("; ".join(wrong))
    if before != definition:
        place = (definition.venue, definition.symbol, partition(definition.pair))
        appender = Appender(log, subjects.md("instrument", *place))
        await appender.own()
        await appender.append([(appender.subject, events.encode(definition))])
    return await define(log, COMPOSITES, [event])


def composed(members: Sequence[InstrumentDefined]) -> InstrumentDefined:
    """Return the instrument that a composite of these members is, under the name of its pair.

    Raises ValueError where they are not of one pair, kind and unit, or no exponents fit them all.
    """
    first = members[0]
    for one in members:
        if one.inverse:
            raise ValueError(f"{one.instrument_id} is inverse: its quantities are no volume")
        for what in ("pair", "kind", "contract_multiplier"):
            mine, theirs = getattr(first, what), getattr(one, what)
            if mine != theirs:
                raise ValueError(
                    f"{first.instrument_id} and {one.instrument_id} are not of one {what}:"
                    f" {mine}, {theirs}"
                )
    price = min(one.price_exponent for one in members)
    quantity = min(one.quantity_exponent for one in members)
    if price + quantity < -18:
        raise ValueError(
            f"members have {-price} decimals of price and {-quantity} of quantity: together more"
            " than 18; leave out who has the most"
        )
    return InstrumentDefined(
        venue=VENUE,
        symbol=first.base + first.quote,
        product=VENUE,
        kind=first.kind,
        base=first.base,
        quote=first.quote,
        price_exponent=price,
        quantity_exponent=quantity,
        contract_multiplier=first.contract_multiplier,
        source="CONFIGURED",
    )


async def _known(log: Log, member: InstrumentId) -> InstrumentDefined:
    found = await _defined(log, member)
    if found is None:
        raise ValueError(f"LOG does not know {member}: subscribe to it first, then compose it")
    return found


async def _defined(log: Log, one: InstrumentId) -> InstrumentDefined | None:
    """Return the newest definition of an instrument."""
    found = None
    for message in await log.lasts(f"md.instrument.{one.venue}.{one.symbol}.*"):
        event = events.decode(message.payload)
        if isinstance(event, InstrumentDefined):
            found = event.model_copy(update={"sequence": 0})
    return found
