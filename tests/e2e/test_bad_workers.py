"""Mistakes that only a kubelet or the scheduler detects: a condition names the cause, and scale-out stops."""

from collections import Counter

from tests.e2e.tenant import Body, Tenant

WRONG_IMAGE = "localhost:1/acme/thumbnials:1.4"
UP_TO_20: Body = {"minReplicas": 1, "maxReplicas": 20, "readyPerReplica": 1}
UNPROVEN_REPLICAS = 3
"""The limit while no worker of a version has started."""


def unavailable_message(tenant: Tenant, reason: str = "WorkersFailing") -> str:
    """Wait until Ready has the reason for which no worker is available; return its message."""
    ready = tenant.until_reason("Ready", reason)
    assert tenant.condition("WorkersAvailable")["status"] == "False"
    return str(ready["message"])


def limit_message(tenant: Tenant, reason: str) -> str:
    """Wait until scale-out has stopped for this reason; return the message."""
    limited = tenant.until_reason("ScalingLimited", reason)
    assert limited["status"] == "True"
    return str(limited["message"])


def has_replica_failure(tenant: Tenant) -> bool:
    conditions = (tenant.deployment() or {})["status"].get("conditions", [])
    return any(condition["type"] == "ReplicaFailure" for condition in conditions)


def test_an_image_that_cannot_be_pulled_stops_scale_out_until_it_is_corrected(tenant: Tenant) -> None:
    tenant.apply(worker={"image": WRONG_IMAGE}, **UP_TO_20)
    message = unavailable_message(tenant)
    assert f"ImagePullBackOff: {WRONG_IMAGE}" in message
    assert "spec.worker.image" in message
    tasks = Counter(tenant.publish(20, seconds=0.1))
    assert f"ImagePullBackOff: {WRONG_IMAGE}" in limit_message(tenant, "WorkersFailing")
    assert tenant.replicas() == UNPROVEN_REPLICAS
    tenant.patch({"worker": {"image": tenant.image}})
    tenant.until_replicas(lambda replicas: replicas > UNPROVEN_REPLICAS, "the scale-out continues")
    tenant.until(lambda: tenant.receipts("done") == tasks, "all tasks are done")
    tenant.until_ready()


def test_a_condition_names_an_invalid_image_name(tenant: Tenant) -> None:
    tenant.apply(worker={"image": "Acme/App:1.4"}, minReplicas=1)
    message = unavailable_message(tenant)
    assert "InvalidImageName: Acme/App:1.4" in message
    assert "spec.worker.image" in message


def test_a_worker_in_a_crash_loop_stops_scale_out_and_the_message_shows_how_to_read_its_log(tenant: Tenant) -> None:
    tenant.apply(worker={"env": [{"name": "TASKQUEUE_MODULES", "value": "nowhere"}]}, **UP_TO_20)
    log_command = f"kubectl -n {tenant.namespace} logs -l taskqueue.dev/name=work -c worker --tail=50"
    assert log_command in unavailable_message(tenant)
    tenant.publish(20, seconds=0.1)
    assert "CrashLoopBackOff: exit code " in limit_message(tenant, "WorkersFailing")
    assert tenant.replicas() == UNPROVEN_REPLICAS


def test_a_missing_secret_of_a_worker_stops_scale_out(tenant: Tenant) -> None:
    key: Body = {"secretKeyRef": {"name": "keys", "key": "api"}}
    tenant.apply(worker={"env": [{"name": "KEY", "valueFrom": key}]}, **UP_TO_20)
    problem = 'CreateContainerConfigError: secret "keys" not found'
    message = unavailable_message(tenant)
    assert problem in message
    assert "spec.worker" in message
    tenant.publish(20, seconds=0.1)
    assert problem in limit_message(tenant, "WorkersFailing")
    assert tenant.replicas() == UNPROVEN_REPLICAS


def test_an_exceeded_quota_stops_scale_out(tenant: Tenant) -> None:
    tenant.kubectl("create", "quota", "small", "--hard=pods=2")
    tenant.apply(**UP_TO_20)
    tenant.until_ready()
    tenant.publish_gated(6)
    tenant.until(lambda: has_replica_failure(tenant), "the ReplicaSet exceeds the quota")
    limit = tenant.replicas()
    assert 2 < limit <= 6
    tenant.publish_gated(20)
    message = limit_message(tenant, "QuotaExceeded")
    assert "small" in message
    assert "(requested: pods=1, limited: pods=2)" in message
    assert tenant.replicas() == limit


def test_workers_that_fit_no_node_stop_scale_out_until_a_node_fits(tenant: Tenant) -> None:
    template: Body = {"spec": {"nodeSelector": {"taskqueue.dev/moon": "dark"}}}
    tenant.apply(worker={"podTemplate": template}, **UP_TO_20)
    assert "(0/" in unavailable_message(tenant, "Unschedulable")
    tenant.publish(20, seconds=0.1)
    message = limit_message(tenant, "Unschedulable")
    assert "(0/" in message
    assert "didn't match Pod's node affinity/selector" in message
    assert tenant.replicas() == 1
    tenant.patch({"worker": {"podTemplate": None}})
    tenant.until_replicas(lambda replicas: replicas > 1, "the scale-out continues")
