"""How long no queue is read after a kill of the operator, and whether the restarted operator writes anything."""

import asyncio
from typing import Final

from tests.bench import api_server, fleet
from tests.bench.context import Context
from tests.bench.operator_process import OperatorProcess, operator_process
from tests.bench.polling import eventually
from tests.bench.result import Result, Target

SAMPLES = 3
"""The kubelet waits 10 s before the second start of a container and twice as long before each further one."""
POLL_SECONDS = 0.5
"""Each scrape of the metrics delays the operator by some hundredths of a second."""
SETTLE_SECONDS = 25
"""Longer than the operator takes to treat a queue as empty and to update the status."""
TIMEOUT_SECONDS = 180
TARGETS: Final = {"blind_s": Target("<=", 5), "api_writes": Target("<=", 0)}


async def run(context: Context) -> Result:
    """Kill the operator several times; the worst sample counts."""
    many = await context.fleet()
    cluster, size = many.cluster, len(many.names)
    await many.scale_to_zero()
    before = api_server.writes(cluster, fleet.NAMESPACE)
    seconds, own = [], 0.0
    async with operator_process(cluster) as operator:
        for _ in range(SAMPLES):
            await operator.restart()
            seconds.append(await _time_until_all_read(operator, size))
            await asyncio.sleep(SETTLE_SECONDS)
            own += await operator.writes()
    figures = {
        "blind_s": max(seconds),
        "min_s": min(seconds),
        "api_writes": api_server.writes(cluster, fleet.NAMESPACE) - before,
        "operator_writes": own,
        "taskqueues": size,
    }
    return Result(figures, samples=SAMPLES, targets=TARGETS)


async def _time_until_all_read(operator: OperatorProcess, queues: int) -> float:
    """Wait until the operator has read so many queues; return the age of its process."""

    async def all_read() -> bool:
        return len(await operator.samples("taskqueue_queue_messages_ready")) >= queues

    await eventually(all_read, "every queue is read", seconds=TIMEOUT_SECONDS, every=POLL_SECONDS)
    return operator.container.age()
