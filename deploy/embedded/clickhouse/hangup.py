"""Queries whose client went away are cancelled, as cancel_http_readonly_queries_on_client_close."""

import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

POLL_MS = 250
_GONE = select.POLLRDHUP | select.POLLHUP | select.POLLERR


class Hangups:
    """Watches the sockets of running queries from one thread."""

    def __init__(self) -> None:
        self._watched: dict[int, Callable[[], None]] = {}
        self._poll = select.poll()
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="hangups", daemon=True)
        self._thread.start()

    @contextmanager
    def cancelling(self, client: socket.socket, cancel: Callable[[], None]) -> Iterator[None]:
        """Call `cancel` once if `client` hangs up while this is open."""
        descriptor = client.fileno()
        with self._lock:
            self._watched[descriptor] = cancel
            self._poll.register(descriptor, select.POLLRDHUP)
        try:
            yield
        finally:
            self._forget(descriptor)

    def _forget(self, descriptor: int) -> Callable[[], None] | None:
        with self._lock:
            cancel = self._watched.pop(descriptor, None)
            if cancel is not None:
                self._poll.unregister(descriptor)
            return cancel

    def _watch(self) -> None:
        while not self._stopped.wait(POLL_MS / 1000):
            with self._lock:
                gone = [descriptor for descriptor, event in self._poll.poll(0) if event & _GONE]
            for descriptor in gone:
                cancel = self._forget(descriptor)
                if cancel is not None:
                    cancel()

    def close(self) -> None:
        """Stop watching."""
        self._stopped.set()
        self._thread.join()
