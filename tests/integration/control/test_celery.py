"""The operator drains Celery workers that have the adapter as it drains those of the worker package."""

import json
from pathlib import Path
from uuid import uuid4

from typing_extensions import override

from tests.integration.celery.running_celery import RunningCelery
from tests.integration.harness.fake_kubelet import FakeKubelet
from tests.integration.harness.tenant import Tenant
from tests.integration.worker.gate import Gate

SCALING = {
    "maxReplicas": 2,
    "readyPerReplica": 1,
    "idleSeconds": 1,
    "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
}


class CeleryKubelet(FakeKubelet[RunningCelery]):
    """Starts Celery in the pods, with the adapter."""

    @override
    def _process(self, directory: Path, uid: str, variables: dict[str, str]) -> RunningCelery:
        variables["RABBITMQ_URL"] += variables["TASKQUEUE_VHOST"]
        variables["QUEUE"] = variables["TASKQUEUE_QUEUES"]
        options = ("--concurrency=1", f"--hostname={uid}@pod", "--without-mingle", "-I", "taskqueue_drain.celery")
        return RunningCelery(directory, uid, *options, variables=variables)


def publish(tenant: Tenant, **arguments: object) -> None:
    """Publish a task as Celery does."""
    headers = {"lang": "py", "task": "work", "id": uuid4().hex, "retries": 0}
    properties = {
        "delivery_mode": 2,
        "content_type": "application/json",
        "content_encoding": "utf-8",
        "correlation_id": headers["id"],
        "headers": headers,
    }
    message = {"properties": properties, "routing_key": "jobs", "payload": json.dumps([[], arguments, {}])}
    path = f"/exchanges/{tenant.vhost}/amq.default/publish"
    assert tenant.http.post(path, json=message | {"payload_encoding": "string"}).json()["routed"]


def test_an_idle_celery_worker_is_removed_and_a_busy_one_finishes(tenant: Tenant, tmp_path: Path) -> None:
    tenant.secret()
    tenant.taskqueue("jobs", scaling=SCALING | {"minReplicas": 2})
    kubelet, gate = CeleryKubelet(tenant, "jobs", tenant.broker, tmp_path), Gate(tmp_path / "gate")
    try:
        kubelet.until(lambda: tenant.condition("jobs").get("status"), "True")
        kubelet.until(lambda: sum(worker.is_ready for worker in kubelet.running.values()), 2)
        publish(tenant, n=1, gate=str(gate))
        kubelet.until(lambda: ledger(kubelet), ["started 1"])
        tenant.taskqueue("jobs", scaling=SCALING | {"minReplicas": 1})
        kubelet.until(lambda: tenant.replicas("jobs"), 1)
        kubelet.until(lambda: len(kubelet.terminated), 1)
        tenant.taskqueue("jobs", scaling=SCALING)
        gate.open()
        kubelet.until(lambda: tenant.replicas("jobs"), 0)
        kubelet.until(lambda: all(worker.has_ended for worker in kubelet.terminated))
        assert ledger(kubelet) == ["started 1", "finished 1"]
    finally:
        kubelet.close()


def ledger(kubelet: CeleryKubelet) -> list[str]:
    """Return the ledger that all workers write."""
    return next(iter([*kubelet.running.values(), *kubelet.terminated])).ledger
