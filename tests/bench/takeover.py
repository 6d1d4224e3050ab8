"""How long nobody decides after the operator that leads has ended, in order or killed, while another one stands by."""

import asyncio
import os
import signal
import time
from asyncio import to_thread
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from kubernetes.aio.client import ApiClient, CoordinationV1Api

from tests.bench import api_server
from tests.bench.backlog import Backlog, backlog
from tests.bench.operator import scale
from tests.bench.result import Result, Target
from tests.bench.setting import Setting
from tests.bench.usage import Container
from tests.bench.waiting import eventually
from tests.cluster.installation import RELEASE, SYSTEM
from tests.cluster.lane import Cluster

SAMPLES: Final = 4
"""Of each kind. The kubelet waits longer before each further start of a container."""
PATIENCE_SECONDS: Final = 60
SETTLE_SECONDS: Final = 25
"""Longer than it takes to believe that a queue is empty, and to say so."""
TARGETS: Final = {"clean_max_s": Target("<=", 2), "killed_max_s": Target("<=", 20)}


async def run(setting: Setting) -> Result:
    """End whoever leads some times, and count from its end until a queue that fills then is seen to."""
    fleet = await setting.fleet()
    cluster, names = fleet.stage.cluster, iter(fleet.names)
    await fleet.asleep()
    async with api_server.administrator(cluster) as client, backlog(fleet) as queues:
        await scale(client, 2)
        try:
            clean = [await _takeover(client, cluster, queues, names, signal.SIGTERM) for _ in range(SAMPLES)]
            killed = [await _takeover(client, cluster, queues, names, signal.SIGKILL) for _ in range(SAMPLES)]
        finally:
            await scale(client, 1)
    figures = {
        **{f"clean_{which}_s": of(clean) for which, of in (("min", min), ("max", max))},
        **{f"killed_{which}_s": of(killed) for which, of in (("min", min), ("max", max))},
        "taskqueues": len(fleet.names),
    }
    return Result(figures, samples=2 * SAMPLES, targets=TARGETS)


async def _takeover(client: ApiClient, cluster: Cluster, queues: Backlog, names: Iterator[str], how: int) -> float:
    """Tell the seconds from the end of its process to the first worker asked for by whoever leads then."""
    name, pod = next(names), await _leader(client)
    pid = (await Container.of(client, SYSTEM, pod)).processes()[0]

    async def has_ended() -> bool:
        return not _runs(pid)

    os.kill(pid, how)
    await eventually(has_ended, "the end of the leader", seconds=PATIENCE_SECONDS, every=0.01)
    ended = time.monotonic()
    await queues.add(name, 1, replicas=1)
    seconds = time.monotonic() - ended
    await queues.purge(name)
    await to_thread(cluster.kubectl, "rollout", "status", f"deployment/{RELEASE}", f"--namespace={SYSTEM}")
    await asyncio.sleep(SETTLE_SECONDS)
    return seconds


def _runs(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def _leader(client: ApiClient) -> str:
    lease = await CoordinationV1Api(client).read_namespaced_lease(RELEASE, SYSTEM)
    return str(lease.spec and lease.spec.holder_identity).partition("_")[0]
