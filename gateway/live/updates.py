"""Committed frames as updates: decoded once, written as JSON once, whoever takes them."""

from typing import Any, NamedTuple

import orjson

from tidemill.gateway.live.protocol import Topic
from tidemill.schemas.frame import Frame
from tidemill.schemas.kinds.composite_bar import venues_of
from tidemill.schemas.rows import Row, readable
from tidemill.streams.subjects import Subject

FILTERS = (
    *("md.trade.*.*.*", "md.quote.*.*.*", "time"),
    *("bars.*.*.*.*", "activity_bars.*.*.*.*", "resampled_bars.*.*.*.*"),
    *("composite_bars.*.*.*.*", "indicators.*.*.*.*", "signals.*.*.*.*"),
    "anomalies.*.*.*.*",
)
"""Subjects that are listened to; `time` says how far LOG is where nothing else happens."""
_CHANNELS = {
    "trade": "trades",
    "quote": "quotes",
    "bar": "bars",
    "activity_bar": "bars",
    "resampled_bar": "bars",
    "composite_bar": "bars",
    "indicator": "indicators",
    "signal": "signals",
    "anomaly": "anomalies",
}
DERIVED = frozenset({"bars", "indicators", "signals", "anomalies"})
"""Channels whose records carry the position of their cause."""
_EXACT = {"price", "quantity", "notional"}
_MS = 1_000_000


class Update(NamedTuple):
    """One update. Of those that wait with the same `slot` only the latest counts; None: all do."""

    topic: Topic
    body: bytes
    slot: Any


def topic_of(subject: Subject) -> Topic | None:
    """Return what a subject's frames are updates of, None for the clock."""
    channel = _CHANNELS.get(subject.kind)
    if channel is None:
        return None
    if channel == "signals":
        return Topic(channel, subject.symbol, subject.venue, screen=subject.spec)
    if channel == "anomalies":
        return Topic(channel, subject.symbol, subject.venue)
    return Topic(channel, subject.symbol, subject.venue, subject.spec)


def updates_of(frame: Frame, topic: Topic, sequence: int) -> list[Update]:
    """Return the updates of a frame; `sequence` is that of its stream."""
    match topic.channel:
        case "trades":
            data = [_trade(row, sequence, i) for i, row in enumerate(_rows(frame))]
            return [_update(topic, sequence, data, None)]
        case "quotes":
            last = len(frame.records) - 1
            (row,) = _rows(frame._replace(records=frame.records[last:]))
            return [_update(topic, sequence, [_quote(row, sequence, last)], topic)]
        case "indicators":
            return [_told(topic, row) for row in readable(frame)]
        case "signals" | "anomalies":
            return [_of_bar(topic, row) for row in readable(frame)]
    return [_update(topic, row["at_r"], [_bar(row)], (topic, _key(row))) for row in _rows(frame)]


def _told(topic: Topic, row: Row) -> Update:
    same = ("n", "ts_open", "ts_close", "revision", "indicator", "output", "value", "flags")
    data = {"r": row["at_r"], "i": row["at_i"], **{name: row[name] for name in same}}
    named = (row["indicator"], row["output"])
    return _update(topic, row["at_r"], [data], (topic, row["ts_open"], *named))


def _of_bar(topic: Topic, row: Row) -> Update:
    data = {"r": row.pop("at_r"), "i": row.pop("at_i"), **row}
    slot = (topic, row.get("detector"), row["bars"], row["ts_open"], row["sequence"])
    return _update(topic, data["r"], [data], slot)


def _key(row: Row) -> Any:
    """Return what the revisions of one bar share."""
    return row.get("sequence", row["ts_open"])


def _update(topic: Topic, root: int, data: list[Row], slot: Any) -> Update:
    return Update(topic, orjson.dumps({**topic.fields(), "r": root, "data": data}), slot)


def _rows(frame: Frame) -> list[Row]:
    """Return readable rows, exact numbers as queries write them: without zeros at the end."""
    rows = readable(frame)
    for field in frame.kind.fields:
        if field.unit in _EXACT:
            for row in rows:
                text = row[field.name]
                row[field.name] = text.rstrip("0").rstrip(".") if "." in text else text
    return rows


def _trade(row: Row, r: int, i: int) -> Row:
    return {
        "r": r,
        "i": i,
        "id": row["trade_id"],
        "price": row["price"],
        "quantity": row["quantity"],
        "aggressor_side": row["aggressor_side"],
        "ts_event": row["ts_event"],
        "ts_recv": row["ts_recv"],
        "time": row["ts_event"] // _MS,
        "flags": row["flags"],
    }


def _quote(row: Row, r: int, i: int) -> Row:
    empty = {side: row[f"{side}_quantity"] == "0" for side in ("bid", "ask")}
    return {
        "r": r,
        "i": i,
        "bid": None if empty["bid"] else row["bid_price"],
        "bid_quantity": row["bid_quantity"],
        "ask": None if empty["ask"] else row["ask_price"],
        "ask_quantity": row["ask_quantity"],
        "ts_event": row["ts_event"],
        "ts_recv": row["ts_recv"],
        "time": row["ts_recv"] // _MS,
        "flags": row["flags"],
    }


def _bar(row: Row) -> Row:
    same = ("open", "high", "low", "close", "volume", "quote_volume", "taker_buy_volume")
    return {
        "r": row["at_r"],
        "i": row["at_i"],
        "n": row["n"],
        "ts_open": row["ts_open"],
        "time": row["ts_open"] // _MS,
        "revision": row["revision"],
        **{name: row[name] for name in same},
        "trades": row["trade_count"],
        "flags": row["flags"],
        **{name: row[name] for name in ("sequence", "ts_close") if name in row},
        **venues_of(row),
    }
