"""The load of the operator on its node, the API server and the broker while nothing happens."""

import asyncio
import time
from typing import Final

from tests.bench import api_server, broker, fleet
from tests.bench.context import Context
from tests.bench.operator_process import OperatorProcess, operator_process
from tests.bench.result import Result, Target
from tests.bench.usage import Container
from tests.cluster.cluster_lease import BROKER
from tests.cluster.progress import step

SECONDS = 90
"""One and a half times the longest period of the operator, after which it reads Secrets again."""
TARGETS: Final = {
    "cpu_cores": Target("<=", 0.2),
    "rss_mib": Target("<=", 200),
    "broker_cpu_cores": Target("<=", 0.15),
    "broker_http_per_s": Target("<=", 1),
    "broker_connections": Target("<=", 2),
    "api_writes_per_minute": Target("<=", 0),
}


async def run(context: Context) -> Result:
    """Measure."""
    many = await context.fleet()
    cluster = many.cluster
    await many.scale_to_zero()
    async with operator_process(cluster) as operator, api_server.admin_client(cluster) as client:
        rabbitmq = await Container.find(client, BROKER, "app=rabbitmq")
        broker.count_http_requests(cluster)
        began, written, own = time.monotonic(), api_server.writes(cluster, fleet.NAMESPACE), await operator.writes()
        before = operator.container.usage(), rabbitmq.usage()
        step(f"measuring the idle operator for {SECONDS} s")
        await asyncio.sleep(SECONDS)
        after = operator.container.usage(), rabbitmq.usage()
        own, written = await operator.writes() - own, api_server.writes(cluster, fleet.NAMESPACE) - written
        seconds, requests = time.monotonic() - began, broker.http_requests(cluster)
        connections = broker.amqp_connections(cluster, fleet.VHOST)
        alone = await _broker_without_operator(operator, rabbitmq)
    figures = {
        "cpu_cores": after[0].cores_since(before[0]),
        "rss_mib": after[0].rss_mib,
        "broker_cpu_cores": after[1].cores_since(before[1]),
        "broker_cpu_without_operator_cores": alone,
        "broker_http_per_s": requests / seconds,
        "broker_connections": connections,
        "api_writes_per_minute": written / seconds * 60,
        "operator_writes_per_minute": own / seconds * 60,
        "taskqueues": len(many.names),
    }
    return Result(figures, samples=1, targets=TARGETS)


async def _broker_without_operator(operator: OperatorProcess, rabbitmq: Container) -> float:
    """Return the cores that the broker uses for the queues alone, without any connection."""
    async with operator.scaled_to_zero():
        step(f"measuring the broker without the operator for {SECONDS} s")
        before = rabbitmq.usage()
        await asyncio.sleep(SECONDS)
        return rabbitmq.usage().cores_since(before)
