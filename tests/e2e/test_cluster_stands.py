"""What every end-to-end test takes for granted of the cluster under it."""

import json
from collections.abc import Iterator

import httpx
import pytest

from tests.cluster import Cluster
from tests.cluster.progress import until

pytestmark = pytest.mark.one_process

NAMESPACE = "bench-stands"


@pytest.fixture(scope="module")
def broker_url(real_cluster: Cluster) -> Iterator[str]:
    yield real_cluster.rabbitmq(NAMESPACE)
    real_cluster.kubectl("delete", "namespace", NAMESPACE)


def test_a_pod_finds_services_by_name_also_those_that_lead_to_itself(real_cluster: Cluster, broker_url: str) -> None:
    assert broker_url.endswith(f"@rabbitmq.{NAMESPACE}:5672/")
    reaches = "exec 3<>/dev/tcp/$0/$1 && echo reached"

    for host, port in (("rabbitmq", "5672"), ("kubernetes.default.svc.cluster.local", "443")):
        said = _in_pod(real_cluster, "bash", "-c", reaches, host, port)
        assert said.strip() == "reached"


def test_logs_and_exec_reach_into_pods(real_cluster: Cluster, broker_url: str) -> None:
    logs = real_cluster.kubectl("logs", f"--namespace={NAMESPACE}", "rabbitmq-0")

    assert broker_url
    assert "Time to start RabbitMQ" in logs
    assert _in_pod(real_cluster, "rabbitmqctl", "--quiet", "list_vhosts").split() == ["name", "/"]


def test_a_port_forward_leads_from_this_machine_to_a_service_and_outlives_its_pod(
    real_cluster: Cluster, broker_url: str
) -> None:
    assert broker_url
    with real_cluster.port_forward(NAMESPACE, "service/rabbitmq", 15672) as port:
        assert _answers(port)
        real_cluster.kubectl("delete", "pod", f"--namespace={NAMESPACE}", "rabbitmq-0", "--now")
        real_cluster.rabbitmq(NAMESPACE)
        until(lambda: _answers(port), "the forwarded broker answers again", seconds=30)


def test_helm_speaks_to_the_same_cluster(real_cluster: Cluster) -> None:
    assert json.loads(real_cluster.helm("list", "--all-namespaces", "--output=json")) is not None


def test_the_diagnosis_tells_of_pods_and_of_the_clusters_own_programs(real_cluster: Cluster, broker_url: str) -> None:
    assert broker_url

    assert "rabbitmq-0" in real_cluster.diagnosis()


def _in_pod(cluster: Cluster, *command: str) -> str:
    return cluster.kubectl("exec", f"--namespace={NAMESPACE}", "rabbitmq-0", "--", *command)


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/api/overview", auth=("guest", "guest")).status_code == 200
    except httpx.HTTPError:
        return False
