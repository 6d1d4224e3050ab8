"""Deletion ends, in any order, and loses nothing that its policy does not give up."""

import pytest

from taskqueue_operator.resource.names import OWNER_ARGUMENT
from taskqueue_operator.topology.objects import Exchange, Queue
from tests.integration.harness.eventually import eventually
from tests.integration.harness.operator_process import OperatorProcess
from tests.integration.harness.tenant import Tenant
from tests.unit.topology.builders import desired_topology

from .test_invariants import ready


def gone(tenant: Tenant, name: str = "jobs") -> None:
    eventually(lambda: tenant.get("taskqueue", name), {}, seconds=150)


def delete(tenant: Tenant, name: str = "jobs") -> None:
    tenant.kubectl("delete", "taskqueue", name, "--wait=false")


def test_retain_keeps_the_queue_and_its_messages(tenant: Tenant) -> None:
    tenant.secret()
    tenant.taskqueue("jobs")
    ready(tenant, "jobs")
    tenant.publish("jobs", "jobs", 2)
    delete(tenant)
    gone(tenant)
    eventually(lambda: tenant.get("deployment", "jobs"), {})
    eventually(lambda: tenant.queue("jobs").get("messages"), 2)
    tenant.taskqueue("jobs")
    eventually(lambda: tenant.replicas("jobs"), 1)


def test_delete_removes_all_owned_objects_and_messages(tenant: Tenant) -> None:
    tenant.secret_of_least_rights("jobs")
    tenant.taskqueue("jobs", deletionPolicy="Delete", scaling={"mode": "Paused", "maxReplicas": 1})
    ready(tenant, "jobs")
    tenant.publish("jobs", "jobs", 2)
    delete(tenant)
    gone(tenant)
    assert leftovers(tenant) == set()


def test_delete_if_empty_rejects_publishers_and_deletes_the_empty_queue(tenant: Tenant) -> None:
    tenant.secret_of_least_rights("jobs")
    tenant.taskqueue("jobs", deletionPolicy="DeleteIfEmpty", scaling={"mode": "Paused", "maxReplicas": 1})
    ready(tenant, "jobs")
    tenant.publish("jobs", "jobs", 3)
    delete(tenant)
    message = eventually(lambda: said(tenant, "NotEmpty", "holds 3 ready messages"))
    assert 'queue "jobs"' in message
    path = f"/exchanges/{tenant.vhost}/jobs/publish"
    late = {"properties": {}, "routing_key": "jobs", "payload": "late", "payload_encoding": "string"}
    tenant.http.post(path, json=late)
    assert tenant.queue("jobs")["messages"] == 3
    tenant.purge("jobs")
    gone(tenant)
    assert leftovers(tenant) == set()


def test_drain_starts_workers_for_the_last_messages_and_keeps_dead_letters(tenant: Tenant) -> None:
    tenant.secret_of_least_rights("jobs")
    tenant.taskqueue("jobs", deletionPolicy="Drain", scaling={"maxReplicas": 5, "activationReady": 10})
    ready(tenant, "jobs")
    tenant.publish("jobs", "jobs", 3)
    tenant.publish("amq.default", "jobs.dlq", 2)
    delete(tenant)
    eventually(lambda: said(tenant, "NotEmpty", "holds 3 ready messages"))
    eventually(lambda: tenant.replicas("jobs"), 1)
    tenant.purge("jobs")  # as a worker does
    gone(tenant)
    assert leftovers(tenant) == {"jobs.dlq"}
    assert tenant.queue("jobs.dlq")["messages"] == 2


def test_what_was_adopted_is_deleted_once_nothing_leads_past_the_fence(tenant: Tenant) -> None:
    tenant.secret()
    declare_as_a_user(tenant)
    tenant.http.put(tenant.path("exchanges", "legacy"), json={"type": "fanout"}).raise_for_status()
    tenant.http.post(f"/bindings/{tenant.vhost}/e/legacy/q/jobs", json={}).raise_for_status()
    tenant.taskqueue("jobs", adoptionPolicy="IfMatching", deletionPolicy="DeleteIfEmpty")
    ready(tenant, "jobs")
    assert 'did not create exchange "jobs", queue "jobs"' in tenant.condition("jobs", "TopologyReady")["message"]
    tenant.publish("legacy", "", 1)
    delete(tenant)
    eventually(lambda: said(tenant, "Deleting", 'exchange "legacy" is bound to queue "jobs"'))
    tenant.http.delete(tenant.path("exchanges", "legacy")).raise_for_status()
    eventually(lambda: said(tenant, "NotEmpty", "holds 1 ready messages"))
    tenant.purge("jobs")
    gone(tenant)
    assert leftovers(tenant) == set()


def declare_as_a_user(tenant: Tenant) -> None:
    """Declare exchange and queues of a TaskQueue `jobs` as the operator does, without an owner."""
    desired = desired_topology("jobs")
    items: list[Exchange | Queue] = [desired.exchanges["jobs"], *desired.queues.values()]
    for item in items:
        kind = "queues" if isinstance(item, Queue) else "exchanges"
        arguments = {name: value for name, value in item.arguments.items() if name != OWNER_ARGUMENT}
        body = {"type": "direct", "durable": True, "arguments": arguments}
        tenant.http.put(tenant.path(kind, item.name), json=body).raise_for_status()


def test_a_shared_exchange_goes_with_the_last_taskqueue_and_not_with_its_creator(tenant: Tenant) -> None:
    tenant.secret()
    for name in ("jobs", "more"):
        tenant.taskqueue(name, exchange={"name": "jobs.events", "type": "Topic"}, deletionPolicy="Delete")
        ready(tenant, name)
    delete(tenant)
    gone(tenant)
    assert leftovers(tenant) == {"jobs.events"}
    tenant.publish("jobs.events", "more.created", 1)
    delete(tenant, "more")
    gone(tenant, "more")
    assert leftovers(tenant) == set()


def test_delete_if_empty_waits_for_messages_that_wait_for_their_retry(tenant: Tenant) -> None:
    """Rejected messages of a queue with delayed retries are neither ready nor unacked."""
    tenant.secret()
    tenant.policy("retries", "^jobs$", {"delayed-retry-type": "failed", "delayed-retry-min": 3_600_000})
    tenant.taskqueue("jobs", deletionPolicy="DeleteIfEmpty", scaling={"mode": "Paused", "maxReplicas": 1})
    ready(tenant, "jobs")
    tenant.publish("jobs", "jobs", 5)
    rejected = {"count": 5, "ackmode": "reject_requeue_true", "encoding": "auto"}
    tenant.http.post(f"{tenant.path('queues', 'jobs')}/get", json=rejected).raise_for_status()
    delete(tenant)
    eventually(lambda: said(tenant, "NotEmpty", "holds 5 delayed"))
    assert tenant.queue("jobs")["messages"] == 5
    tenant.purge("jobs")


def test_a_policy_that_displaces_the_fence_delays_the_deletion_and_no_message_is_lost(tenant: Tenant) -> None:
    tenant.secret()
    tenant.policy("company", ".*", {"max-length": 100_000}, priority=5000)
    tenant.taskqueue("jobs", deletionPolicy="DeleteIfEmpty", scaling={"mode": "Paused", "maxReplicas": 1})
    ready(tenant, "jobs")
    delete(tenant)
    eventually(lambda: said(tenant, "PolicyConflict", 'policy "company" of priority 5000'))
    tenant.publish("jobs", "jobs", 1)
    tenant.http.delete(tenant.path("policies", "company")).raise_for_status()
    eventually(lambda: said(tenant, "NotEmpty", "holds 1 ready messages"))
    tenant.purge("jobs")
    gone(tenant)
    assert leftovers(tenant) == set()


def test_a_waiting_deletion_that_is_changed_to_retain_admits_publishers_again(tenant: Tenant) -> None:
    tenant.secret_of_least_rights("jobs")
    tenant.taskqueue("jobs", deletionPolicy="DeleteIfEmpty", scaling={"mode": "Paused", "maxReplicas": 1})
    ready(tenant, "jobs")
    tenant.publish("jobs", "jobs", 1)
    delete(tenant)
    eventually(lambda: said(tenant, "NotEmpty", "holds 1 ready messages"))
    tenant.kubectl("patch", "taskqueue", "jobs", "--type=merge", "-p", '{"spec":{"deletionPolicy":"Retain"}}')
    gone(tenant)
    tenant.publish("jobs", "jobs", 1)
    eventually(lambda: tenant.queue("jobs").get("messages"), 2)


def test_invariant_8_deletion_ends_after_the_secret_was_deleted(tenant: Tenant) -> None:
    tenant.secret()
    tenant.taskqueue("jobs", deletionPolicy="DeleteIfEmpty")
    ready(tenant, "jobs")
    tenant.publish("jobs", "jobs", 1)
    tenant.kubectl("delete", "secret", "rabbitmq")
    delete(tenant)
    gone(tenant)
    assert tenant.queue("jobs")


def test_invariant_8_deletion_ends_when_the_namespace_is_deleted(tenant: Tenant) -> None:
    tenant.secret()
    tenant.taskqueue("jobs", deletionPolicy="DeleteIfEmpty")
    tenant.taskqueue("more", deletionPolicy="Delete")
    ready(tenant, "jobs")
    ready(tenant, "more")
    tenant.publish("jobs", "jobs", 1)
    tenant.plane.kubectl("delete", "namespace", tenant.namespace, "--wait=false")
    eventually(lambda: tenant.plane.api.list("taskqueue", None), [], seconds=200)
    assert tenant.queue("jobs")


def test_invariant_8_deletion_ends_after_the_vhost_was_deleted(tenant: Tenant) -> None:
    tenant.secret()
    tenant.taskqueue("jobs", deletionPolicy="DeleteIfEmpty")
    ready(tenant, "jobs")
    tenant.http.delete(f"/vhosts/{tenant.vhost}").raise_for_status()
    delete(tenant)
    gone(tenant)


def test_invariant_8_a_foreground_deletion_ends_and_keeps_messages(tenant: Tenant) -> None:
    """The garbage collector deletes the workers, and only then the TaskQueue."""
    tenant.secret()
    tenant.taskqueue("jobs", deletionPolicy="DeleteIfEmpty", scaling={"mode": "Paused", "maxReplicas": 1})
    tenant.taskqueue("more", deletionPolicy="Delete", scaling={"mode": "Paused", "maxReplicas": 1})
    for name in ("jobs", "more"):
        ready(tenant, name)
        tenant.publish(name, name, 1)
        tenant.kubectl("delete", "taskqueue", name, "--cascade=foreground", "--wait=false")
    gone(tenant, "more")
    gone(tenant)
    assert tenant.queue("more") == tenant.get("deployment", "jobs") == {}
    tenant.publish("jobs", "jobs", 1)
    eventually(lambda: tenant.queue("jobs").get("messages"), 2)


@pytest.mark.fault
def test_the_next_operator_finishes_an_interrupted_deletion(tenant: Tenant, operator: OperatorProcess) -> None:
    tenant.secret()
    tenant.taskqueue("jobs", deletionPolicy="DeleteIfEmpty", scaling={"mode": "Paused", "maxReplicas": 1})
    ready(tenant, "jobs")
    tenant.publish("jobs", "jobs", 1)
    delete(tenant)
    eventually(lambda: said(tenant, "NotEmpty", "holds 1 ready messages"))
    operator.kill()
    tenant.purge("jobs")
    operator.start()
    gone(tenant)
    assert leftovers(tenant) == set()


def said(tenant: Tenant, reason: str, text: str) -> str:
    """Give the message of the Ready condition when it has this reason and text."""
    condition = tenant.condition("jobs")
    return condition["message"] if condition.get("reason") == reason and text in condition["message"] else ""


def leftovers(tenant: Tenant) -> set[str]:
    """Name what the broker holds of queue and exchange `jobs`."""
    found = [*tenant.http.get(f"/queues/{tenant.vhost}").json(), *tenant.http.get(f"/exchanges/{tenant.vhost}").json()]
    return {item["name"] for item in found if item["name"].startswith("jobs")}
