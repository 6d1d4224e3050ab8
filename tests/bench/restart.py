"""How long nobody reads the queues after the operator was killed, and whether it then writes anything."""

import asyncio
from typing import Final

from tests.bench import api_server, fleet
from tests.bench.operator import Operator, operator
from tests.bench.result import Result, Target
from tests.bench.setting import Setting
from tests.bench.waiting import eventually

SAMPLES = 3
"""The kubelet waits 10 s before the second start of a container and twice as long before each further one."""
LOOK_SECONDS = 0.5
"""Between looks at the metrics, each of which keeps the operator from its work for some hundredths of a second."""
SETTLE_SECONDS = 25
"""Longer than it takes to believe that a queue is empty, and to say so."""
PATIENCE_SECONDS = 180
TARGETS: Final = {"blind_s": Target("<=", 5), "api_writes": Target("<=", 0)}


async def run(setting: Setting) -> Result:
    """Kill it some times; the worst counts."""
    many = await setting.fleet()
    cluster, size = many.stage.cluster, len(many.names)
    await many.asleep()
    before = api_server.writes(cluster, fleet.NAMESPACE)
    seconds, own = [], 0.0
    async with operator(cluster) as it:
        for _ in range(SAMPLES):
            await it.restart()
            seconds.append(await _sighted(it, size))
            await asyncio.sleep(SETTLE_SECONDS)
            own += await it.writes()
    figures = {
        "blind_s": max(seconds),
        "min_s": min(seconds),
        "api_writes": api_server.writes(cluster, fleet.NAMESPACE) - before,
        "operator_writes": own,
        "taskqueues": size,
    }
    return Result(figures, samples=SAMPLES, targets=TARGETS)


async def _sighted(it: Operator, queues: int) -> float:
    """Tell how long ago its process was started, once it has read that many queues."""

    async def all_read() -> bool:
        return len(await it.samples("taskqueue_queue_messages_ready")) >= queues

    await eventually(all_read, "every queue is read", seconds=PATIENCE_SECONDS, every=LOOK_SECONDS)
    return it.container.age()
