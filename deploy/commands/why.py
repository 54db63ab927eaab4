"""`tidemill why`: from an event back to the raw frames of LOG that it was made of."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from tidemill.deploy.commands.output import Exit, say
from tidemill.deploy.embedded.servers import servers_on
from tidemill.deploy.roles.connections import streams
from tidemill.deploy.settings import archive_of
from tidemill.deploy.why.explaining import explain
from tidemill.deploy.why.naming import parse

_FIELDS_LEFT_OUT = ("at_r", "at_i", "n")


async def why(text: str, frames: int, data_dir: Path, json: bool) -> Exit:
    """Explain an event. HELD where everything that it says is what its inputs give."""
    named = parse(text)
    async with (
        servers_on(data_dir) as urls,
        streams(urls.nats_engine, "why", archive_of(data_dir)) as opened,
    ):
        say("deriving it again from the facts of its partition")
        found = await explain(opened.log, opened.out, named, frames)
    if json:
        print(orjson.dumps(_plain(found)).decode(), flush=True)
    else:
        print("\n".join(tree(found)), flush=True)
    return Exit.HELD if found["holds"] else Exit.DID_NOT_HOLD


def _plain(value: Any) -> Any:
    """Return it with integers beyond 64 bits as text, which JSON's readers would round."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return str(value) if isinstance(value, int) and not -(2**63) <= value < 2**64 else value


def tree(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield an explanation as lines of a tree."""
    event = found["event"]
    yield f"{event['name']}  {event.get('kind', '')}  {event['subject']}"
    if "why" in found:
        yield f"  {found['why']}"
        yield from _fields(event, "  ")
        return
    yield from _record(event["record"], "  ")
    by = found["processor"]
    yield f"├ made by {by['name']} v{by['version']}, depth {by['depth']}, at its cause:"
    cause = found["cause"]
    yield f"│   {_place(cause)}  {cause['subject']}  ({cause['held']})"
    yield from _record(cause.get("record", {}), "│   ")
    yield "├ of"
    yield from _inputs(found["inputs"], "│   ")
    yield from _checks(found["checks"], "")


def _inputs(inputs: Sequence[Mapping[str, Any]], indent: str) -> Iterator[str]:
    for one in inputs:
        frames = f" in {one['frames']} frames" if "frames" in one else ""
        span = f": {_place(one['first'])}" if "first" in one else ""
        if one.get("records", 0) > 1 and "last" in one:
            span += f" … {_place(one['last'])}"
        name = f"  {one['name']}" if "name" in one else ""
        yield f"{indent}{one['role']}: {one.get('records', 0)}{frames}{span}{name}"
        sums = {k: v for k, v in one.items() if k in ("volume", "quote_volume")}
        if sums:
            yield f"{indent}  " + "  ".join(f"{key} {value}" for key, value in sums.items())
        yield from _record(one.get("record", {}), indent + "  ")
        for raw in one.get("raw", ()):
            yield f"{indent}  {_raw(raw)}"
        yield from _inputs(one.get("inputs", ()), indent + "    ")
        yield from _checks(one.get("checks", ()), indent + "    ")


def _raw(raw: Mapping[str, Any]) -> str:
    if "ts_recv" in raw and "used" in raw:
        first, last = raw["i"]
        return (
            f"r={raw['r']} i={first}..{last} ({raw['used']} of {raw['records']})  {raw['subject']}"
            f"  source {raw['source_sequence']}  received {raw['ts_recv'][0]}  ({raw['held']})"
        )
    return "  ".join(f"{key} {value}" for key, value in raw.items())


def _checks(checks: Sequence[Mapping[str, Any]], indent: str) -> Iterator[str]:
    for one in checks:
        if one["holds"]:
            yield f"{indent}✓ {one['what']}: {one['event']}"
        else:
            yield f"{indent}✗ {one['what']}: it says {one['event']}, its inputs {one['inputs']}"


def _place(where: Mapping[str, Any]) -> str:
    return f"r={where['r']}" + (f",i={where['i']}" if "i" in where else "")


def _record(record: Mapping[str, Any], indent: str) -> Iterator[str]:
    said = {key: value for key, value in record.items() if key not in _FIELDS_LEFT_OUT}
    if said:
        yield indent + "  ".join(f"{key} {value}" for key, value in said.items())


def _fields(event: Mapping[str, Any], indent: str) -> Iterator[str]:
    for key, value in event.items():
        if key == "records":
            for index, record in enumerate(value):
                yield from _record({"i": index, **record}, indent)
        elif key != "name":
            yield f"{indent}{key} {value}"
