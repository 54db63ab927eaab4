"""The role graph: one shard of one graph, held by a lease, stepping LOG into OUT."""

import asyncio
import contextlib
import gc
import importlib
import os
import socket
import uuid

from tidemill.deploy.graphs import graphs
from tidemill.deploy.roles.connections import streams
from tidemill.deploy.roles.gauges import show
from tidemill.deploy.settings import Missing, Settings
from tidemill.schemas.errors import Unavailable
from tidemill.streams.lease import Lease
from tidemill.streams.moments import Recent
from tidemill.streams.runtime.shard import Shard, shard_of


async def run(settings: Settings, name: str, index: int, count: int) -> None:
    """Wait for the lease, recover, and step until cancelled; a cancelled one commits what it has.

    Raises Missing for a graph that there is not, Fenced when another process took over.
    """
    settings.require("nats_engine")
    known = graphs(settings.graphs)
    if name not in known:
        raise Missing(f"there is no graph {name}; there are {', '.join(known)}")
    # A set may ask for any of them in a step, where to compile one would cost the lease.
    for kernels in (
        "activity_bars",
        "composite_bars",
        "indicator_catalog",
        "screen_plan",
        "screen_run",
    ):
        importlib.import_module(f"tidemill.processors.kernels.{kernels}")
    # Kernels live as long as the process: a collection that looked at them took 0.3 s of a step.
    gc.collect()
    gc.freeze()
    owner = settings.owner or f"{socket.gethostname()}-{os.getpid()}"
    client = f"graph-{name}-{index}"
    async with streams(settings.nats_engine, client, settings.archive) as opened:
        lease = Lease(opened.leases, f"graph.{name}.{index}of{count}", owner)
        await lease.wait()
        shard = Shard(
            opened.log,
            opened.out,
            known[name],
            shard_of(index, count),
            settings.data_dir / "snapshots",
            writer=f"{owner}-{uuid.uuid4().hex[:8]}",
        )
        recent = Recent(opened.log)
        show(
            f"graph-{name}",
            position=lambda: shard.done,
            lag=lambda: shard.lag,
            messages=lambda: shard.stepped,
            retries=lambda: shard.retries,
            behind_s=lambda: recent.behind_s(shard.done),
        )
        stop = asyncio.Event()
        keeping = asyncio.create_task(lease.keep())
        stepping = asyncio.create_task(shard.run(stop=stop))
        following = asyncio.create_task(recent.run())
        try:
            await asyncio.wait({keeping, stepping}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            stop.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(5.0):
                    await stepping
            raise
        finally:
            keeping.cancel()
            stepping.cancel()
            following.cancel()
            ends = await asyncio.gather(keeping, stepping, following, return_exceptions=True)
            with contextlib.suppress(Unavailable):
                await lease.release()
        for end in ends:
            if isinstance(end, Exception):
                raise end
