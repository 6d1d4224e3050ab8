"""Properties of the cluster that every end-to-end test assumes."""

import json

import httpx

from tests.cluster import Cluster
from tests.cluster.progress import until
from tests.e2e.cluster_broker import POD, ClusterBroker


def test_a_pod_resolves_and_reaches_services_even_its_own_service(broker: ClusterBroker) -> None:
    connect = "exec 3<>/dev/tcp/$0/$1 && echo connected"

    for host, port in (("rabbitmq", "5672"), ("kubernetes.default.svc.cluster.local", "443")):
        assert broker.exec("bash", "-c", connect, host, port).strip() == "connected"


def test_logs_and_exec_work_in_pods(real_cluster: Cluster, broker: ClusterBroker) -> None:
    logs = real_cluster.kubectl("logs", f"--namespace={broker.namespace}", POD)

    assert "Time to start RabbitMQ" in logs
    assert broker.exec("rabbitmqctl", "--quiet", "eval", "6 * 7.").split() == ["42"]


def test_a_port_forward_connects_this_machine_to_a_service_and_outlives_its_pod(
    real_cluster: Cluster, own_broker: ClusterBroker
) -> None:
    here = f"--namespace={own_broker.namespace}"
    with real_cluster.port_forward(own_broker.namespace, "service/rabbitmq", 15672) as port:
        assert serves_management(port)
        real_cluster.kubectl("delete", "pod", here, POD, "--now")
        real_cluster.rabbitmq(own_broker.namespace)
        until(lambda: serves_management(port), "the broker responds again through the port-forward", seconds=180)


def test_helm_uses_the_same_cluster(real_cluster: Cluster) -> None:
    assert json.loads(real_cluster.helm("list", "--all-namespaces", "--output=json")) is not None


def test_the_diagnosis_lists_pods(real_cluster: Cluster, broker: ClusterBroker) -> None:
    assert broker.namespace == "rabbitmq"
    assert POD in real_cluster.diagnosis()


def serves_management(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/api/overview", auth=("guest", "guest")).status_code == 200
    except httpx.HTTPError:
        return False
