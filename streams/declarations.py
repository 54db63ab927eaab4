"""The streams as data: what exists on the server, said once; the migrator makes it so.

No age limit and `discard: new`: nothing is ever dropped to make room. `republish` shows what is
committed on `live.>`; the streams' own subjects also carry attempts that are refused later.
"""

from dataclasses import dataclass
from typing import Any, Literal

from tidemill.streams.batch import MESSAGE_BYTES_MAX
from tidemill.streams.subjects import LOG_SUBJECTS, OUT_SUBJECTS

LEASES_BUCKET = "LEASES"
"""NATS KV bucket of the leases: a stream KV_<bucket> over $KV.<bucket>.>."""


@dataclass(frozen=True)
class Stream:
    """One stream. `replicas` is 1 (one server) or 3; `placement_tags` choose the servers.

    `transactional` streams hold checkpoints: the newest of a subject replaces the last one.
    `history_max` messages are kept of each subject, -1 for all.
    """

    name: str
    subjects: tuple[str, ...]
    transactional: bool = False
    live: bool = True
    history_max: int = -1
    replicas: Literal[1, 3] = 1
    placement_tags: tuple[str, ...] = ()
    compression: Literal["none", "s2"] = "none"
    bytes_max: int = -1

    def config(self) -> dict[str, Any]:
        """Return the server's configuration of this stream, without its identity."""
        config: dict[str, Any] = {
            "name": self.name,
            "subjects": list(self.subjects),
            "retention": "limits",
            "storage": "file",
            "num_replicas": self.replicas,
            "max_consumers": -1,
            "max_msgs": -1,
            "max_msgs_per_subject": self.history_max,
            "max_bytes": self.bytes_max,
            "max_age": 0,
            "max_msg_size": MESSAGE_BYTES_MAX,
            "discard": "new",
            "compression": self.compression,
            "allow_direct": True,
            "allow_atomic": True,
            "allow_rollup_hdrs": self.transactional,
            "allow_msg_ttl": self.transactional,
        }
        if self.live:
            config["republish"] = {"src": ">", "dest": "live.>"}
        if self.placement_tags:
            config["placement"] = {"tags": list(self.placement_tags)}
        return config


def streams(replicas: Literal[1, 3] = 1, prefix: str = "") -> tuple[Stream, ...]:
    """Return the streams of one engine: LOG, OUT and the leases, names led by `prefix`."""
    return (
        Stream(f"{prefix}LOG", LOG_SUBJECTS, replicas=replicas),
        Stream(f"{prefix}OUT", OUT_SUBJECTS, transactional=True, replicas=replicas),
        Stream(
            f"KV_{LEASES_BUCKET}",
            (f"$KV.{LEASES_BUCKET}.>",),
            transactional=True,
            live=False,
            history_max=1,
            replicas=replicas,
        ),
    )
