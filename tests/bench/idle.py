"""What the operator takes, of its node, the API server and the broker, while nothing happens."""

import asyncio
import time
from typing import Final

from tests.bench import api_server, broker, fleet
from tests.bench.operator import Operator, operator
from tests.bench.result import Result, Target
from tests.bench.setting import Setting
from tests.bench.usage import Container
from tests.cluster.loan import BROKER
from tests.cluster.progress import step

SECONDS = 90
"""One and a half times the longest period of anything the operator does all the time, reading Secrets again."""
TARGETS: Final = {
    "cpu_cores": Target("<=", 0.2),
    "rss_mib": Target("<=", 200),
    "broker_cpu_cores": Target("<=", 0.15),
    "broker_http_per_s": Target("<=", 1),
    "broker_connections": Target("<=", 2),
    "api_writes_per_minute": Target("<=", 0),
}


async def run(setting: Setting) -> Result:
    """Look on."""
    many = await setting.fleet()
    cluster = many.stage.cluster
    await many.asleep()
    async with operator(cluster) as it, api_server.administrator(cluster) as client:
        rabbitmq = await Container.find(client, BROKER, "app=rabbitmq")
        broker.count_http_requests(cluster)
        began, written, own = time.monotonic(), api_server.writes(cluster, fleet.NAMESPACE), await it.writes()
        before = it.container.usage(), rabbitmq.usage()
        step(f"watching it do nothing for {SECONDS} s")
        await asyncio.sleep(SECONDS)
        after = it.container.usage(), rabbitmq.usage()
        own, written = await it.writes() - own, api_server.writes(cluster, fleet.NAMESPACE) - written
        seconds, requests = time.monotonic() - began, broker.http_requests(cluster)
        connections = broker.amqp_connections(cluster, fleet.VHOST)
        alone = await _alone(it, rabbitmq)
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


async def _alone(it: Operator, rabbitmq: Container) -> float:
    """Measure what the queues take of the broker by being there, with nobody connected."""
    async with it.absent():
        step(f"watching the broker without the operator for {SECONDS} s")
        before = rabbitmq.usage()
        await asyncio.sleep(SECONDS)
        return rabbitmq.usage().cores_since(before)
