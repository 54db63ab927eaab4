"""LOG's digest chain: one number at every position that all messages up to there determine.

chain(0) = SHA-256("tidemill" || UUID of LOG)
chain(r) = SHA-256(chain(r-1) || u32 bytes of subject || subject
                              || u32 bytes of payload || payload || u64 r)      little endian
"""

import struct
from collections.abc import Iterable
from hashlib import sha256

from tidemill.streams.log import Message

_BYTES = struct.Struct("<I")
_R = struct.Struct("<Q")


def begin(log_uuid: str) -> bytes:
    """Return the chain before the first message."""
    return sha256(b"tidemill" + log_uuid.encode()).digest()


def extend(chain: bytes, messages: Iterable[Message]) -> bytes:
    """Return the chain after `messages`, of which the first follows the end of `chain`."""
    for r, subject, payload in messages:
        name = subject.encode()
        sizes = _BYTES.pack(len(name)), _BYTES.pack(len(payload))
        parts = (chain, sizes[0], name, sizes[1], payload, _R.pack(r))
        chain = sha256(b"".join(parts)).digest()
    return chain
