"""How long no decision is made after the end of the leader, in good order or killed, with a standby."""

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
from tests.bench.context import Context
from tests.bench.operator_process import scale
from tests.bench.polling import eventually
from tests.bench.result import Result, Target
from tests.bench.usage import Container
from tests.cluster.installation import RELEASE, SYSTEM
from tests.cluster.provider import Cluster

SAMPLES: Final = 4
"""Of each kind. The kubelet waits longer before each further restart of a container."""
TIMEOUT_SECONDS: Final = 60
SETTLE_SECONDS: Final = 25
"""Longer than the operator takes to treat a queue as empty and to update the status."""
TARGETS: Final = {"clean_max_s": Target("<=", 2), "killed_max_s": Target("<=", 20)}


async def run(context: Context) -> Result:
    """End the leader several times; measure from its end until a queue that is filled then is scaled out."""
    fleet = await context.fleet()
    cluster, names = fleet.cluster, iter(fleet.names)
    await fleet.scale_to_zero()
    async with api_server.admin_client(cluster) as client, backlog(fleet) as queues:
        await scale(client, 2)
        try:
            clean = [await _takeover(client, cluster, queues, names, signal.SIGTERM) for _ in range(SAMPLES)]
            killed = [await _takeover(client, cluster, queues, names, signal.SIGKILL) for _ in range(SAMPLES)]
        finally:
            await scale(client, 1)
    figures = {
        **{f"clean_{name}_s": function(clean) for name, function in (("min", min), ("max", max))},
        **{f"killed_{name}_s": function(killed) for name, function in (("min", min), ("max", max))},
        "taskqueues": len(fleet.names),
    }
    return Result(figures, samples=2 * SAMPLES, targets=TARGETS)


async def _takeover(
    client: ApiClient, cluster: Cluster, queues: Backlog, names: Iterator[str], signal_number: int
) -> float:
    """Return the seconds from the end of the leader's process to the first replica of the next leader."""
    name, pod = next(names), await _leader(client)
    pid = (await Container.of(client, SYSTEM, pod)).processes()[0]

    async def has_ended() -> bool:
        return not _is_running(pid)

    os.kill(pid, signal_number)
    await eventually(has_ended, "the end of the leader", seconds=TIMEOUT_SECONDS, every=0.01)
    ended = time.monotonic()
    await queues.add(name, 1, replicas=1)
    seconds = time.monotonic() - ended
    await queues.purge(name)
    await to_thread(cluster.kubectl, "rollout", "status", f"deployment/{RELEASE}", f"--namespace={SYSTEM}")
    await asyncio.sleep(SETTLE_SECONDS)
    return seconds


def _is_running(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def _leader(client: ApiClient) -> str:
    lease = await CoordinationV1Api(client).read_namespaced_lease(RELEASE, SYSTEM)
    return str(lease.spec and lease.spec.holder_identity).partition("_")[0]
