"""The network between the engine's processes and one server: slow, cut, silent, deaf."""

import asyncio
import time
from random import Random

from tidemill.tests.faults.proxy import some
from tidemill.tests.faults.stage import PROXIED, Stage, Struck

SLOW_MOST_S = (0.005, 0.05, 0.3)
TRIES = 10
LASTS_S = (0.3, 1.0, 3.0, 6.0)
"""Shorter and longer than requests wait (5 s) and heartbeats are missed (2.5 s)."""


async def slow(stage: Stage, random: Random) -> Struck:
    """Delay what passes on some links, at random, for a while."""
    server = random.choice(PROXIED)
    proxy = stage.proxies[server]
    links = some(random, proxy.links())
    most_s, for_s = random.choice(SLOW_MOST_S), random.choice(LASTS_S)
    delayed = await proxy.slow(links, random, most_s, for_s)
    assert delayed, (server, len(links))
    what = f"{server}: up to {most_s * 1e3:g} ms on {len(links)} links for {for_s:g} s"
    return Struck(what, f"{delayed} pieces delayed", time.time_ns())


async def cut(stage: Stage, random: Random) -> Struck:
    """Reset some links, up to three times at random moments."""
    server = random.choice(PROXIED)
    proxy, times, count = stage.proxies[server], random.randint(1, 3), 0
    for _ in range(times):
        await asyncio.sleep(random.uniform(0, 0.5))
        count += proxy.cut(some(random, proxy.links()))
    assert count
    return Struck(f"{server}: links reset, {times} times", f"{count} links cut", time.time_ns())


async def silent(stage: Stage, random: Random) -> Struck:
    """Hold everything back on some links for a while; then it comes late, or never."""
    server = random.choice(PROXIED)
    proxy = stage.proxies[server]
    links = some(random, proxy.links())
    for_s, then_cut = random.choice(LASTS_S), random.random() < 0.5
    held = await proxy.silent(links, for_s, then_cut)
    assert held, (server, len(links))
    then = "then reset" if then_cut else "then all of it late"
    what = f"{server}: {len(links)} links silent for {for_s:g} s, {then}"
    return Struck(what, f"{held} pieces held back", time.time_ns())


async def half_open(stage: Stage, random: Random) -> Struck:
    """Let some links be silent for ever: whoever hangs on one has to notice by itself."""
    server = random.choice(PROXIED)
    proxy = stage.proxies[server]
    links = some(random, proxy.links())
    began, before = time.time_ns(), proxy.did["held"]
    silence = asyncio.create_task(proxy.silent(links, 3_600.0, then_cut=True))
    try:
        await asyncio.sleep(1.0)
        flowed = await stage.flows()
        held = proxy.did["held"] - before
        assert held, (server, len(links))
    finally:
        silence.cancel()
        await asyncio.gather(silence, return_exceptions=True)
        proxy.cut(links)
    what = f"{server}: {len(links)} links half open"
    return Struck(what, f"{held} pieces held back, and never passed", began, flowed)


async def deaf(stage: Stage, random: Random) -> Struck:
    """Throw away what a server answers on some links for a while, then reset them."""
    server = random.choice(PROXIED)
    proxy = stage.proxies[server]
    for_s = random.choice(LASTS_S)
    for _ in range(TRIES):  # a link may be idle, or just have ended
        links = some(random, proxy.links())
        swallowed = await proxy.deaf(links, for_s)
        if swallowed:
            break
    assert swallowed, (server, len(links))
    what = f"{server}: answers on {len(links)} links thrown away for {for_s:g} s, then reset"
    return Struck(what, f"{swallowed:,} bytes thrown away", time.time_ns())
