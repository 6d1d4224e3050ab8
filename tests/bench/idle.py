"""What the operator takes, of its node, the API server and the broker, while nothing happens."""

import asyncio
import time

from prometheus_client.parser import text_string_to_metric_families

from tests.bench import api_server, broker, fleet
from tests.bench.result import Result
from tests.bench.setting import Setting
from tests.bench.usage import Container
from tests.cluster.installation import RELEASE, SYSTEM
from tests.cluster.lane import Cluster
from tests.cluster.loan import BROKER
from tests.cluster.progress import step

SECONDS = 90
"""One and a half times the longest period of anything the operator does all the time, reading Secrets again."""


async def run(setting: Setting) -> Result:
    """Look on."""
    cluster = setting.cluster
    async with fleet.asleep(setting):
        operator = Container(cluster, SYSTEM, f"app.kubernetes.io/instance={RELEASE}")
        rabbitmq = Container(cluster, BROKER, "app=rabbitmq")
        broker.count_http_requests(cluster)
        began, written, own = time.monotonic(), api_server.writes(cluster), _own_writes(cluster, operator)
        before = operator.usage(), rabbitmq.usage()
        step(f"watching it do nothing for {SECONDS} s")
        await asyncio.sleep(SECONDS)
        after = operator.usage(), rabbitmq.usage()
        written, own = api_server.writes(cluster) - written, _own_writes(cluster, operator) - own
        seconds, requests = time.monotonic() - began, broker.http_requests(cluster)
        figures = {
            "rss_mib": after[0].rss_mib,
            "cpu_cores": after[0].cores_since(before[0]),
            "api_writes_per_minute": written / seconds * 60,
            "operator_writes_per_minute": own / seconds * 60,
            "broker_http_requests_per_second": requests / seconds,
            "broker_amqp_connections": broker.amqp_connections(cluster, fleet.VHOST),
            "broker_cpu_cores": after[1].cores_since(before[1]),
        }
    return Result(figures, samples=1)


def _own_writes(cluster: Cluster, operator: Container) -> float:
    """Count, by the operator's own account, what it wrote to Kubernetes and RabbitMQ."""
    page = cluster.kubectl("get", f"--raw=/api/v1/namespaces/{SYSTEM}/pods/{operator.pod}:8080/proxy/metrics")
    samples = (sample for family in text_string_to_metric_families(page) for sample in family.samples)
    return sum(sample.value for sample in samples if sample.name == "taskqueue_writes_total")
