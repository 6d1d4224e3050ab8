"""Several existing queues are scaled on as one, consumed by the same workers, and never changed."""

import json
from pathlib import Path
from typing import Any

from tests.integration.harness.eventually import eventually
from tests.integration.harness.fake_kubelet import FakeKubelet
from tests.integration.harness.tenant import Tenant
from tests.integration.worker.gate import Gate

from .test_deletion import delete, gone

SCALING = {
    "maxReplicas": 3,
    "readyPerReplica": 1,
    "idleSeconds": 1,
    "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
}
QUORUM = {"durable": True, "arguments": {"x-queue-type": "quorum"}}
CLASSIC = {"durable": True}


def declare(tenant: Tenant, name: str, body: dict[str, Any]) -> None:
    tenant.http.put(tenant.path("queues", name), json=body).raise_for_status()


def publish(tenant: Tenant, queue: str, *, type_: str = "work", **payload: object) -> None:
    properties = {"delivery_mode": 2, "type": type_}
    message = {"properties": properties, "routing_key": queue, "payload": json.dumps(payload)}
    path = f"/exchanges/{tenant.vhost}/amq.default/publish"
    assert tenant.http.post(path, json=message | {"payload_encoding": "string"}).json()["routed"]


def missing(tenant: Tenant, reason: str) -> str:
    eventually(lambda: tenant.condition("jobs").get("reason"), reason)
    return tenant.condition("jobs")["message"]


def test_workers_consume_all_external_queues_and_their_number_follows_the_sum(tenant: Tenant, tmp_path: Path) -> None:
    tenant.secret()
    declare(tenant, "celery", QUORUM)
    declare(tenant, "celery.dlq", QUORUM)
    tenant.taskqueue("jobs", externalQueues=["celery", "mails"], scaling=SCALING)
    assert 'External queue "mails" does not exist' in missing(tenant, "QueueNotFound")
    declare(tenant, "mails", CLASSIC)
    assert 'Declare queue "mails.dlq"' in missing(tenant, "DeadLetterQueueMissing")
    declare(tenant, "mails.dlq", CLASSIC)
    arguments = [tenant.queue(name)["arguments"] for name in ("celery", "mails")]
    kubelet, gate = FakeKubelet(tenant, "jobs", tenant.broker, tmp_path), Gate(tmp_path / "gate")
    try:
        eventually(lambda: tenant.replicas("jobs"), 0)
        tenant.taskqueue("jobs", externalQueues=["celery", "mails"], scaling=SCALING | {"minReplicas": 1})
        kubelet.until(lambda: tenant.condition("jobs").get("status"), "True")
        tenant.taskqueue("jobs", externalQueues=["celery", "mails"], scaling=SCALING)
        for n, queue in enumerate(("celery", "celery", "mails")):
            publish(tenant, queue, n=n, gate=str(gate))
        kubelet.until(lambda: tenant.replicas("jobs"), 3)
        kubelet.until(lambda: started(kubelet), {"started 0", "started 1", "started 2"})
        publish(tenant, "mails", type_="unknown")
        gate.open()
        kubelet.until(lambda: tenant.replicas("jobs"), 0)
        eventually(lambda: [tenant.queue(name).get("messages") for name in ("celery", "mails", "mails.dlq")], [0, 0, 1])
        delete(tenant)
        gone(tenant)
        assert [tenant.queue(name)["arguments"] for name in ("celery", "mails")] == arguments
        assert not tenant.read(tenant.path("exchanges", "celery.in"))
    finally:
        kubelet.close()


def started(kubelet: FakeKubelet) -> set[str]:
    workers = [*kubelet.running.values(), *kubelet.terminated]
    return set(workers[0].started) if workers else set()


def test_one_external_queue_that_cannot_be_read_keeps_the_workers(tenant: Tenant) -> None:
    """Unknown is not zero: the lost queue may hold messages, wherever it is."""
    tenant.secret()
    for name in ("celery", "celery.dlq", "mails", "mails.dlq"):
        declare(tenant, name, CLASSIC)
    tenant.taskqueue("jobs", externalQueues=["mails", "celery"], scaling=SCALING)
    eventually(lambda: tenant.replicas("jobs"), 0)
    tenant.mark_started("jobs")
    tenant.publish("amq.default", "celery", 2)
    eventually(lambda: tenant.replicas("jobs"), 2)
    tenant.http.delete(tenant.path("queues", "mails")).raise_for_status()
    message = missing(tenant, "QueueNotFound")
    assert 'External queue "mails" does not exist' in message
    tenant.purge("celery")
    eventually(lambda: tenant.condition("jobs", "ScalingActive").get("status"), "Unknown", "False")
    assert tenant.replicas("jobs") == 2
