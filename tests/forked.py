"""Processes for tests to kill, forked from one that is loaded.

A Python that imports the engine needs seconds; a fork of a process that has everything needs none,
and is a process like any other: its memory, sockets and files are its own, and `kill -9` is what
it is.
"""

import multiprocessing
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from typing import Any

CONTEXT = multiprocessing.get_context("forkserver")
_LOADED = ["__main__"]


def load(*modules: str) -> None:
    """Have modules loaded in what all processes are forked from, if it does not run yet."""
    _LOADED.extend(modules)
    CONTEXT.set_forkserver_preload(_LOADED)


def forked(target: Callable[..., object], *arguments: Any) -> ForkServerProcess:
    """Run a function of a module in a process of its own, which ends with this one."""
    process = CONTEXT.Process(target=target, args=arguments, daemon=True)
    process.start()
    return process
