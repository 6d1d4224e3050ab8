"""Invariants 1 and 4 on real pods: workers are added and removed, and no task is interrupted, lost or done twice."""

from collections import Counter

from tests.e2e.tenant import Tenant


def test_workers_scale_from_zero_to_n_to_zero_and_every_task_is_done_once(tenant: Tenant) -> None:
    tenant.apply(worker={"concurrency": 2})
    tenant.until_ready()
    assert not tenant.pods()
    tasks = Counter(tenant.publish(300, seconds=0.3))
    tenant.until_replicas(lambda replicas: replicas == 4, "the Deployment has its maximum of four replicas")
    tenant.until_scaled_to_zero()
    assert tenant.receipts("done") == tasks
    assert tenant.receipts("started") == tasks
    assert {name: queue["messages"] for name, queue in tenant.queues().items()} == {"work": 0, "work.dlq": 0}


def test_a_worker_whose_pod_is_deleted_finishes_its_task_first(tenant: Tenant) -> None:
    tasks = tenant.start_gated_tasks(1)
    (pod,) = tenant.pods()
    name = pod["metadata"]["name"]
    tenant.kubectl("delete", "pod", name, "--wait=false")
    tenant.until(lambda: '"in_flight":1' in tenant.kubectl("logs", name), "the worker has received SIGTERM")
    tenant.open_gate()
    tenant.until(lambda: name not in {left["metadata"]["name"] for left in tenant.pods()}, "the pod is deleted")
    assert tenant.receipts("done") == tasks
    assert tenant.receipts("started") == tasks


def test_new_credentials_are_used_without_a_rollout(tenant: Tenant) -> None:
    tenant.apply(minReplicas=1)
    tenant.until_ready()
    first = Counter(tenant.publish(5, seconds=0.1))
    tenant.until(lambda: tenant.receipts("done") == first, "the first tasks are done")
    before, workers = tenant.deployment(), {pod["metadata"]["uid"] for pod in tenant.pods()}

    tenant.use_credentials(f"{tenant.namespace}-next", "second")
    tenant.broker.delete_user(tenant.namespace)
    second = Counter(tenant.publish(30, seconds=0.1))
    tenant.until(lambda: tenant.receipts("done") == first + second, "all tasks are done with the new credentials")
    tenant.until_ready()

    after = tenant.deployment()
    assert before
    assert after
    assert after["spec"]["template"] == before["spec"]["template"]
    assert workers <= {pod["metadata"]["uid"] for pod in tenant.pods()}
    assert not [pod for pod in tenant.pods() if pod["status"]["containerStatuses"][0]["restartCount"]]
