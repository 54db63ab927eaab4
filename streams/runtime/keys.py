"""Keys: which row of a state belongs to which instrument or feed, in the order LOG named them."""

from typing import Any

import numpy as np

from tidemill.schemas.decimals import INT64_MAX, parse_decimal
from tidemill.schemas.events.fees import FeesDefined
from tidemill.schemas.events.instrument import InstrumentDefined
from tidemill.schemas.identifiers import partition
from tidemill.schemas.run import INSTRUMENT_KINDS, INSTRUMENTS, Records

INSTRUMENTS_MAX = 100_000
FEEDS_MAX = 1_000


class Keys:
    """Slots of instruments and feeds of one process, grown by facts only.

    `instruments` (S,) has dtype INSTRUMENTS. Raises ValueError where a definition would move an
    instrument to another pair, or its multiplier cannot be; OverflowError where a bound is passed,
    which no fact is to blame for: it depends on how many a process owns, so it stops the process.
    """

    def __init__(self) -> None:
        self.definitions: list[InstrumentDefined] = []
        self.feeds: list[tuple[str, str]] = []
        self.pairs: list[str] = []
        self.pair_slot: list[int] = []
        """First slot of each pair: the one that outputs of the whole pair are written under."""
        self.fees: dict[tuple[str, str], tuple[int, int]] = {}
        """Venue and product to (taker, maker) in 1e-6, as LOG last said."""
        self._slots: dict[tuple[str, str], int] = {}
        self._feeds: dict[tuple[str, str], int] = {}
        self._pairs: dict[str, int] = {}
        self._table = np.zeros(64, INSTRUMENTS)

    @property
    def instruments(self) -> Records:
        """The slots that exist, (S,) of dtype INSTRUMENTS."""
        return self._table[: len(self.definitions)]

    @property
    def partitions(self) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """Partition of each slot (S,)."""
        return self.instruments["partition"]

    def slot(self, venue: str, symbol: str) -> int:
        """Return the slot of an instrument, -1 where LOG has not defined it."""
        return self._slots.get((venue, symbol), -1)

    def feed(self, venue: str, product: str) -> int:
        """Return the number of a feed, -1 where it is new."""
        return self._feeds.get((venue, product), -1)

    def pair(self, name: str) -> int:
        """Return the first slot of a pair, -1 where it is new."""
        number = self._pairs.get(name, -1)
        return -1 if number < 0 else self.pair_slot[number]

    def add_feed(self, venue: str, product: str) -> int:
        """Number a feed when a record of its own first names it, not when an instrument does.

        Every shard reads feeds' records, but only its own instruments' definitions: so the order
        of feeds is the same in all of them.
        """
        number = self._feeds.get((venue, product), len(self.feeds))
        if number == len(self.feeds):
            if number >= FEEDS_MAX:
                raise OverflowError(f"more than {FEEDS_MAX} feeds")
            self._feeds[venue, product] = number
            self.feeds.append((venue, product))
            of = (self.instruments["venue"] == venue.encode()) & (
                self.instruments["product"] == product.encode()
            )
            self.instruments["feed"][of] = number
        return number

    def charge(self, event: FeesDefined) -> None:
        """Take note of what a venue's product costs from here on."""
        self.set_fees(event.venue, event.product, event.taker_ppm, event.maker_ppm)

    def set_fees(self, venue: str, product: str, taker_ppm: int, maker_ppm: int) -> None:
        """Set the fees of a venue's product, for instruments that are and that will be."""
        self.fees[venue, product] = (taker_ppm, maker_ppm)
        table = self.instruments
        of = (table["venue"] == venue.encode()) & (table["product"] == product.encode())
        table["fees_known"][of] = 1
        table["taker_ppm"][of], table["maker_ppm"][of] = taker_ppm, maker_ppm

    def define(self, event: InstrumentDefined) -> int:
        """Give an instrument its slot, or change what is known of it; return the slot."""
        multiplier = _multiplier(event.contract_multiplier)
        slot = self._slots.get((event.venue, event.symbol), len(self.definitions))
        if slot == len(self.definitions):
            self._grow(slot)
            self._slots[event.venue, event.symbol] = slot
            self.definitions.append(event)
        elif self.definitions[slot].pair != event.pair:
            raise ValueError(
                f"{event.instrument_id} is {self.definitions[slot].pair}; it cannot become"
                f" {event.pair}: define a new symbol"
            )
        self.definitions[slot] = event
        pair = self._pairs.setdefault(event.pair, len(self.pairs))
        if pair == len(self.pairs):
            self.pairs.append(event.pair)
            self.pair_slot.append(slot)
        fees = self.fees.get((event.venue, event.product))
        self._table[slot] = (
            partition(event.pair),
            self.feed(event.venue, event.product),
            pair,
            event.venue.encode(),
            event.product.encode(),
            event.price_exponent,
            event.quantity_exponent,
            event.symbol.encode(),
            event.quote.encode(),
            INSTRUMENT_KINDS.index(event.kind),
            event.inverse,
            event.status == "TRADING",
            *multiplier,
            event.funding_interval_s,
            fees is not None,
            *(fees or (0, 0)),
        )
        return slot

    def _grow(self, slot: int) -> None:
        if slot >= INSTRUMENTS_MAX:
            raise OverflowError(f"more than {INSTRUMENTS_MAX} instruments")
        if slot == len(self._table):
            self._table = np.concatenate([self._table, np.zeros(slot, INSTRUMENTS)])


def _multiplier(text: str) -> tuple[int, int]:
    """Return (mantissa, exponent) without zeros at the end. Raises ValueError."""
    mantissa, exponent = parse_decimal(text)
    while mantissa and mantissa % 10 == 0:
        mantissa, exponent = mantissa // 10, exponent + 1
    if not 0 < mantissa <= INT64_MAX:
        raise ValueError(f"a contract multiplier of {text} cannot be")
    return mantissa, exponent
