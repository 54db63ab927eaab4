"""Processors that make every mistake of order visible, and logs that tempt to make one."""

import numpy as np

from tidemill.processors.processor import Emit, Processor, Records, Run
from tidemill.schemas import events, frame
from tidemill.schemas.events.feed import FeedStale
from tidemill.schemas.events.instrument import InstrumentDefined
from tidemill.schemas.identifiers import ALL, partition
from tidemill.schemas.kinds.bar import BAR
from tidemill.schemas.kinds.price import PRICE
from tidemill.schemas.kinds.quote import QUOTE
from tidemill.schemas.kinds.status import STATUS
from tidemill.schemas.kinds.time import TIME
from tidemill.schemas.kinds.trade import TRADE
from tidemill.streams import subjects

COUNTED = np.dtype([("count", "<u8"), ("hash", "<u8"), ("status", "<u8")])
MASK = (1 << 64) - 1


def _mix(value: int, *words: int) -> int:
    """Roll a hash whose value depends on the order of everything mixed in."""
    for word in words:
        value = ((value ^ (word & MASK)) * 0x9E3779B97F4A7C15 + 1) & MASK
    return value


def _emit(kind: str, rows: list[tuple[int, int, int, dict[str, int]]]) -> list[Emit]:
    """Emit records (r, i, slot, fields)."""
    if not rows:
        return []
    shape = {"bar": BAR, "price": PRICE}[kind]
    records = shape.empty(len(rows))
    for record, (r, i, _, fields) in zip(records, rows, strict=True):
        record["at_r"], record["at_i"] = r, i
        for name, value in fields.items():
            record[name] = value
    slots = np.array([slot for _, _, slot, _ in rows], np.int32)
    return [Emit(kind, slots, np.zeros(len(rows), np.uint8), records)]


def _count(state: Records, run: Run) -> list[Emit]:
    """Every third trade of an instrument, and every status of its feed, makes a bar."""
    rows = []
    for row in run.frames:
        r, i0, slot = int(row["r"]), int(row["i"]), int(row["slot"])
        if run.kind == "status":
            slots = [slot] if slot >= 0 else np.flatnonzero(run.instruments["feed"] == row["feed"])
            for one in slots:
                state["status"][one] += 1
                state["hash"][one] = _mix(int(state["hash"][one]), r)
                rows.append((r, i0, int(one), {"trade_count": int(state["count"][one])}))
            continue
        for j in range(int(row["count"])):
            trade = run.records[int(row["start"]) + j]
            state["count"][slot] += 1
            state["hash"][slot] = _mix(int(state["hash"][slot]), int(trade["trade_id"]))
            if state["count"][slot] % 3 == 0:
                value = int(state["hash"][slot]) >> 1
                rows.append((r, i0 + j, slot, {"close": value, "open": int(trade["price"])}))
    return _emit("bar", rows)


def _follow(state: Records, run: Run) -> list[Emit]:
    """A price for each bar, with the hash of all trades, quotes and bars of the key before it."""
    rows = []
    for row in run.frames:
        slot = int(row["slot"])
        for j in range(int(row["count"])):
            record = run.records[int(row["start"]) + j]
            at = (int(row["r"]), int(row["i"]) + j)
            if run.kind == "time":
                continue
            word = int(record["close"]) if run.kind == "bar" else int(record["flags"])
            state["hash"][slot] = _mix(int(state["hash"][slot]), *at, word)
            state["count"][slot] += 1
            if run.kind == "bar":
                rows.append((*at, slot, {"best_bid": int(state["hash"][slot]) >> 1}))
    return _emit("price", rows)


def _beat(state: Records, run: Run) -> list[Emit]:
    """An event of each feed at every status, and of all feeds that spoke at every fifth time."""
    made, slots = [], []
    for row in run.frames:
        feeds = [int(row["feed"])]
        if run.kind == "time":
            feeds = [int(f) for f in np.flatnonzero(state["count"])] if row["r"] % 5 == 0 else []
        for feed in feeds:
            state["count"][feed] += run.kind == "status"
            made.append(
                FeedStale(
                    at_r=int(row["r"]),
                    at_i=0,
                    venue="V",
                    product="P",
                    ts=int(state["count"][feed]),
                    silent_ns=0,
                    state="STALE",
                )
            )
            slots.append(feed)
    empty = np.zeros(0, np.dtype([]))
    spec = np.zeros(len(slots), np.uint8)
    return [Emit("feed", np.array(slots, np.int32), spec, empty, made)] if made else []


def _refuse(run: Run) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Frames that begin with a trade of price 13 are not valid."""
    if run.kind != "trade":
        return np.zeros(len(run.frames), np.bool_)
    refused: np.ndarray[tuple[int], np.dtype[np.bool_]] = (
        run.records["price"][run.frames["start"]] == 13
    )
    return refused


COUNT = Processor(
    "count", 1, "pair", ("trade", "status"), ("bar",), COUNTED, _count, specs=("1m",), poison="skip"
)
FOLLOW = Processor(
    "follow",
    1,
    "pair",
    ("trade", "quote", "bar", "time"),
    ("price",),
    COUNTED,
    _follow,
    subject="instrument",
    specs=("24h",),
    poison="park",
    check=_refuse,
)
BEAT = Processor(
    "beat",
    1,
    "global",
    ("status", "time"),
    ("feed",),
    COUNTED,
    _beat,
    key="feed",
    subject="feed",
    specs=("stale",),
    poison="skip",
)

PAIRS = [("BTC", "USDT"), ("ETH", "USDT"), ("SOL", "USDT"), ("XRP", "BTC"), ("ADA", "EUR")]
VENUES = ("BINANCE", "BINANCE_US")


def random_log(seed: int, length: int, poison: bool = True) -> list[tuple[str, bytes]]:
    """Return a log of `length` random facts: (subject, payload)."""
    random = np.random.default_rng(seed)
    facts: list[tuple[str, bytes]] = []
    defined: list[tuple[str, str, int]] = []
    rest = [(venue, *pair) for pair in PAIRS for venue in VENUES]
    random.shuffle(rest)
    trade_id = 0
    while len(facts) < length:
        choice = random.integers(0, 10)
        if (choice == 0 or not defined) and rest:
            venue, base, quote = rest.pop()
            event = InstrumentDefined(
                venue=venue, symbol=base + quote, product="SPOT", base=base, quote=quote
            )
            where = partition(f"{base}/{quote}")
            defined.append((venue, base + quote, where))
            subject = subjects.md("instrument", venue, base + quote, where)
            facts.append((subject, events.encode(event)))
            continue
        venue, symbol, where = defined[int(random.integers(len(defined)))]
        if choice <= 4:
            records = TRADE.empty(int(random.integers(1, 9)))
            records["trade_id"] = trade_id + 1 + np.arange(len(records))
            records["price"] = random.integers(20, 90, len(records))
            if poison and random.random() < 0.004:
                records["price"][0] = 13
            trade_id += len(records)
            payload = frame.encode(TRADE, records, trade_id, -2, -2)
            if poison and random.random() < 0.004:
                payload = payload[:-3]
            facts.append((subjects.md("trade", venue, symbol, where), payload))
        elif choice <= 6:
            records = QUOTE.empty(int(random.integers(1, 4)))
            records["flags"] = random.integers(0, 9, len(records))
            facts.append(
                (subjects.md("quote", venue, symbol, where), frame.encode(QUOTE, records, 1))
            )
        elif choice == 7:
            whole = random.random() < 0.7
            subject = subjects.md(
                "status", venue, "SPOT" if whole else symbol, ALL if whole else where
            )
            facts.append((subject, frame.encode(STATUS, STATUS.empty(1), 1)))
        else:
            time = TIME.empty(1)
            time["ts"] = len(facts) * 100_000_000
            facts.append(("time", frame.encode(TIME, time, 1)))
    time = TIME.empty(1)
    time["ts"] = len(facts) * 100_000_000
    facts.append(("time", frame.encode(TIME, time, 1)))
    return facts
