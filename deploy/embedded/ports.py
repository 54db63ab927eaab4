"""Loopback ports: chosen once, below the range the kernel gives to outgoing connections."""

import random
import socket
from collections import deque
from pathlib import Path

LOOPBACK = "127.0.0.1"
_KERNEL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST = 20_000
_given: deque[int] = deque(maxlen=1_000)
"""Ports given lately: nobody may listen on them yet, but somebody will."""


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """A port nobody listens on, and that no outgoing connection takes while its server restarts.

    Not one of the last thousand that this process was given. Raises OSError when a hundred tries
    find none.
    """
    below = int(_KERNEL_RANGE.read_text().split()[0]) if _KERNEL_RANGE.exists() else 32_768
    highest = below - 1 if below > _LOWEST + 1_000 else 65_535
    for _ in range(100):
        port = random.randint(_LOWEST, highest)
        if port not in _given and is_free(port):
            _given.append(port)
            return port
    raise OSError(f"no free loopback port between {_LOWEST} and {highest}")
