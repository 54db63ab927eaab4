"""Ports for servers that are about to start."""

import random
import socket

import pytest

from tidemill.deploy.embedded.ports import LOOPBACK, free_port


def draw_first(monkeypatch: pytest.MonkeyPatch, drawn: list[int]) -> None:
    """Have these ports drawn before others."""
    real = random.randint
    monkeypatch.setattr(
        random, "randint", lambda low, high: drawn.pop() if drawn else real(low, high)
    )


def test_a_port_is_not_given_again_before_its_server_listens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One configuration asks for several before any of its servers starts."""
    given = [free_port(), free_port()]
    drawn = list(given)
    draw_first(monkeypatch, drawn)
    assert free_port() not in given and not drawn


def test_a_port_on_which_somebody_listens_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server((LOOPBACK, 0)) as listening:
        port = listening.getsockname()[1]
        drawn = [port]
        draw_first(monkeypatch, drawn)
        assert free_port() != port and not drawn
