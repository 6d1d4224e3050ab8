"""Faults while workers drain, on real pods: only a task of a worker that is killed itself is interrupted."""

import json

import pytest

from tests.cluster.provider import Cluster
from tests.e2e.cluster_broker import ClusterBroker
from tests.e2e.installed_operator import REMOVED_PODS, InstalledOperator
from tests.e2e.node_kill import kill_process
from tests.e2e.tenant import Body, Tenant

NODE_SHARE = 0.4
"""The CPU request of a worker, as a share of the largest node."""


@pytest.mark.fault
def test_a_worker_killed_while_it_drains_interrupts_no_task_but_its_own(tenant: Tenant, real_cluster: Cluster) -> None:
    tasks = tenant.start_gated_tasks(3)
    tenant.patch({"scaling": {"minReplicas": 0, "maxReplicas": 1}})
    tenant.until(tenant.draining, "workers drain")
    killed = tenant.draining()[0]
    kill_process(real_cluster, killed, "taskqueue_worker")
    tenant.open_gate()
    tenant.until(lambda: tenant.receipts("done") == tasks, "all tasks are done")
    tenant.until_scaled_to_zero()
    (again,) = (tenant.receipts("started") - tasks).elements()
    # The restarted container of the same pod may consume the same task.
    assert tenant.interrupted() <= {(again, killed["metadata"]["name"])}


@pytest.mark.fault
def test_a_broker_restart_while_workers_drain_interrupts_no_task(
    tenant_of_own_broker: Tenant, own_broker: ClusterBroker
) -> None:
    """The broker requeues unacknowledged messages: it cannot know that their tasks are done."""
    tenant = tenant_of_own_broker
    tasks = tenant.start_gated_tasks(2)
    tenant.patch({"scaling": {"minReplicas": 0, "mode": "Paused", "pausedReplicas": 0}})
    tenant.until(lambda: len(tenant.draining()) == 2, "both workers drain")
    own_broker.restart()
    tenant.open_gate()
    tenant.until_scaled_to_zero()
    assert tenant.receipts("done") == tasks
    assert tenant.receipts("started") == tasks
    assert not tenant.interrupted()
    tenant.until(lambda: not tenant.drain_token(), "the fencing token is removed: nothing drains any more")
    assert tenant.queues()["work"]["messages"] == 2


def test_on_a_full_cluster_pods_without_a_node_are_removed_first(
    tenant: Tenant, real_cluster: Cluster, operator: InstalledOperator
) -> None:
    removed_before = operator.metric(REMOVED_PODS, state="no_container")
    nodes = json.loads(real_cluster.kubectl("get", "nodes", "--output=json"))["items"]
    sizes = [cores(node["status"]["allocatable"]["cpu"]) for node in nodes]
    large: Body = {"resources": {"requests": {"cpu": f"{int(1000 * NODE_SHARE * max(sizes))}m"}}}
    capacity = int(1 / NODE_SHARE) * len(sizes)
    count = capacity + 2
    tenant.apply(worker=large, minReplicas=count, maxReplicas=count, readyPerReplica=1)
    tenant.until(lambda: len(tenant.pods()) == count, "the Deployment has more pods than the nodes can hold")
    tenant.until(
        lambda: len(scheduled(tenant)) == tenant.ready_replicas() == count - len(unscheduled(tenant)),
        "all scheduled pods are ready",
    )
    running = scheduled(tenant)
    tasks = tenant.publish_gated(len(running))
    tenant.until(lambda: len(tenant.receipts("started")) == len(running), "every running worker has a task")

    tenant.patch({"scaling": {"minReplicas": 0}})
    tenant.until(lambda: not unscheduled(tenant), "the pods without a node are deleted")
    assert scheduled(tenant) == running
    assert not tenant.receipts("done"), "the gated tasks still run"
    tenant.open_gate()
    tenant.until_scaled_to_zero()
    assert tenant.receipts("done") == tenant.receipts("started") == dict.fromkeys(tasks, 1)
    assert operator.removed_pods(tenant.taskqueue_key)["no_container"] == count - len(running)
    removed = operator.metric(REMOVED_PODS, state="no_container")
    assert removed >= removed_before + count - len(running)


def cores(quantity: str) -> float:
    """Parse an amount of CPU as nodes report it: whole cores, or thousandths."""
    return int(quantity.removesuffix("m")) / 1000 if quantity.endswith("m") else float(quantity)


def unscheduled(tenant: Tenant) -> list[str]:
    """Name the pods without a node."""
    return [pod["metadata"]["name"] for pod in tenant.pods() if not pod["spec"].get("nodeName")]


def scheduled(tenant: Tenant) -> list[str]:
    """Name the pods with a node."""
    return sorted(pod["metadata"]["name"] for pod in tenant.pods() if pod["spec"].get("nodeName"))
