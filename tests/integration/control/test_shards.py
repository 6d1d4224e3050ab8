"""Shards of a queue with a real operator, broker and workers: scaled on as one, consumed by all, deleted as one."""

import json
from pathlib import Path
from typing import Any, Final

from tests.integration.harness.eventually import eventually
from tests.integration.harness.fake_kubelet import FakeKubelet
from tests.integration.harness.tenant import Tenant
from tests.integration.worker.gate import Gate

from .test_deletion import delete, gone, leftovers
from .test_external_queues import SCALING, started
from .test_invariants import ready

COUNT: Final = 3
SHARDED: Final = {"name": "jobs", "shards": {"count": COUNT, "hashOn": "tenant"}}
NAMES: Final = [f"jobs.{number}" for number in range(COUNT)]


def publish(tenant: Tenant, team: str, *, type_: str = "work", **payload: object) -> None:
    properties = {"delivery_mode": 2, "type": type_, "headers": {"tenant": team}}
    message = {"properties": properties, "routing_key": "jobs", "payload": json.dumps(payload)}
    path = f"/exchanges/{tenant.vhost}/jobs/publish"
    assert tenant.http.post(path, json=message | {"payload_encoding": "string"}).json()["routed"]


def taken_from(tenant: Tenant, name: str) -> bool:
    """Take a message from a shard, and return whether there was one."""
    body = {"count": 1, "ackmode": "ack_requeue_false", "encoding": "auto"}
    return bool(tenant.http.post(f"{tenant.path('queues', name)}/get", json=body).json())


def a_team_of_each_shard(tenant: Tenant) -> dict[str, str]:
    """Return one tenant for each shard."""
    found: dict[str, str] = {}
    for number in range(50):
        if len(found) < COUNT:
            publish(tenant, f"team-{number}")
            shard = eventually(lambda: next((name for name in NAMES if taken_from(tenant, name)), None))
            found.setdefault(shard, f"team-{number}")
    return found


def test_workers_consume_all_shards_and_a_deletion_waits_until_all_are_empty(tenant: Tenant, tmp_path: Path) -> None:
    tenant.secret_of_least_rights("jobs")
    paused: dict[str, Any] = {"mode": "Paused", "maxReplicas": COUNT, "pausedReplicas": 0}
    tenant.taskqueue("jobs", queue=SHARDED, deletionPolicy="Drain", scaling=paused)
    eventually(lambda: tenant.condition("jobs", "TopologyReady").get("status"), "True")
    teams = a_team_of_each_shard(tenant)
    kubelet, gate = FakeKubelet(tenant, "jobs", tenant.broker, tmp_path), Gate(tmp_path / "gate")
    try:
        tenant.taskqueue("jobs", queue=SHARDED, deletionPolicy="Drain", scaling=SCALING | {"minReplicas": 1})
        kubelet.until(lambda: tenant.condition("jobs").get("status"), "True")
        for n, team in enumerate(teams.values()):
            publish(tenant, team, n=n, gate=str(gate))
        kubelet.until(lambda: tenant.replicas("jobs"), COUNT)
        kubelet.until(lambda: started(kubelet), {"started 0", "started 1", "started 2"})
        for name in NAMES:
            publish(tenant, teams[name], type_="unknown")
        delete(tenant)
        gate.open()
        kubelet.until(lambda: tenant.get("taskqueue", "jobs"), {}, seconds=150)
        assert leftovers(tenant) == {"jobs.dlq"}
        assert tenant.queue("jobs.dlq")["messages"] == COUNT
    finally:
        kubelet.close()


def test_a_lost_shard_is_declared_again_and_further_shards_join(tenant: Tenant) -> None:
    tenant.secret_of_least_rights("jobs")
    scaling = {"mode": "Paused", "maxReplicas": 1, "pausedReplicas": 0}
    tenant.taskqueue("jobs", queue=SHARDED, deletionPolicy="DeleteIfEmpty", scaling=scaling)
    ready(tenant, "jobs")
    tenant.publish("amq.default", "jobs.1", 2)
    eventually(lambda: tenant.get("taskqueue", "jobs")["status"].get("backlog", {}).get("ready"), 2, seconds=120)
    tenant.publish("amq.default", "jobs.dlq", 1)
    eventually(lambda: tenant.get("taskqueue", "jobs")["status"].get("deadLetters"), 1, seconds=120)
    tenant.http.delete(tenant.path("queues", "jobs.1")).raise_for_status()
    eventually(lambda: [text for reason, text in tenant.events("jobs") if reason == "TopologyRepaired"])
    (text,) = (text for reason, text in tenant.events("jobs") if reason == "TopologyRepaired")
    assert 'queue "jobs.1" was missing (the 2 messages that were last seen in it are lost)' in text
    more = {"name": "jobs", "shards": {"count": COUNT + 1, "hashOn": "tenant"}}
    tenant.taskqueue("jobs", queue=more, deletionPolicy="DeleteIfEmpty", scaling=scaling)
    eventually(lambda: bool(tenant.queue("jobs.3")))
    tenant.publish("amq.default", "jobs.3", 1)
    tenant.purge("jobs.dlq")
    delete(tenant)
    eventually(lambda: 'queue "jobs.3" holds' in tenant.condition("jobs").get("message", ""), seconds=120)
    tenant.purge("jobs.3")
    gone(tenant)
    assert leftovers(tenant) == set()
