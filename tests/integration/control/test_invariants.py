"""The invariants of the design that can be shown without nodes, each by its name."""

import time
from functools import partial

import pytest

from tests.integration.harness.eventually import eventually
from tests.integration.harness.operator_process import OperatorProcess
from tests.integration.harness.tenant import Tenant


def ready(tenant: Tenant, name: str) -> None:
    eventually(lambda: tenant.condition(name).get("status"), "True")


def starting(tenant: Tenant, name: str) -> None:
    """Wait until everything is as declared but the workers, which no kubelet starts here."""
    eventually(lambda: tenant.condition(name).get("reason"), "WorkersStarting")


@pytest.mark.fault
def test_invariant_2_an_unreachable_broker_removes_no_worker(tenant: Tenant) -> None:
    tenant.secret()
    quick = {"maxReplicas": 5, "idleSeconds": 1, "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}}
    tenant.taskqueue("jobs", scaling=quick)
    ready(tenant, "jobs")
    tenant.publish("jobs", "jobs", 50)
    eventually(lambda: tenant.replicas("jobs"), 3)
    tenant.broker.pause()
    try:
        eventually(lambda: tenant.condition("jobs", "BrokerReachable").get("status"), "False")
        assert tenant.replicas("jobs") == 3
        assert tenant.condition("jobs", "BrokerReachable")["reason"] in {"BrokerUnreachable", "ManagementUnreachable"}
    finally:
        tenant.broker.resume()
    eventually(lambda: tenant.condition("jobs", "BrokerReachable").get("status"), "True")
    assert tenant.replicas("jobs") == 3
    tenant.purge("jobs")
    eventually(lambda: tenant.replicas("jobs"), 0)


def test_invariant_3_replicas_stay_within_the_bounds_of_the_spec(tenant: Tenant) -> None:
    tenant.secret()
    tenant.taskqueue("jobs", scaling={"minReplicas": 2, "maxReplicas": 4, "readyPerReplica": 1})
    eventually(lambda: tenant.replicas("jobs"), 2)
    starting(tenant, "jobs")
    tenant.mark_started("jobs")
    tenant.publish("jobs", "jobs", 30)
    eventually(lambda: tenant.replicas("jobs"), 4)
    tenant.taskqueue("jobs", scaling={"minReplicas": 1, "maxReplicas": 3, "readyPerReplica": 1})
    eventually(lambda: tenant.replicas("jobs"), 3)
    tenant.taskqueue("jobs", scaling={"mode": "Paused", "pausedReplicas": 0, "maxReplicas": 3})
    eventually(lambda: tenant.replicas("jobs"), 0)
    eventually(lambda: tenant.condition("jobs", "ScalingActive").get("reason"), "Paused")


def test_invariant_4_foreign_objects_are_used_if_equal_and_never_changed_or_deleted(tenant: Tenant) -> None:
    tenant.secret()
    tenant.http.put(tenant.path("exchanges", "shop"), json={"type": "topic", "durable": True}).raise_for_status()
    tenant.taskqueue("orders", exchange={"name": "shop", "type": "Topic"}, deletionPolicy="Delete")
    ready(tenant, "orders")
    tenant.publish("shop", "order.created", 1)
    eventually(lambda: tenant.queue("orders").get("messages"), 1)
    assert "x-taskqueue-owner" not in tenant.read(tenant.path("exchanges", "shop"))["arguments"]
    tenant.kubectl("delete", "taskqueue", "orders", "--timeout=120s")
    assert not tenant.queue("orders")
    assert tenant.read(tenant.path("exchanges", "shop"))["type"] == "topic"


def test_invariant_5_without_a_change_neither_operation_nor_restart_writes(
    tenant: Tenant, operator: OperatorProcess
) -> None:
    tenant.secret()
    for number in range(3):
        tenant.taskqueue(f"jobs-{number}", deletionPolicy="DeleteIfEmpty")
    for number in range(3):
        ready(tenant, f"jobs-{number}")
        eventually(partial(tenant.condition, f"jobs-{number}", "ScalingActive"))
    still(operator)
    assert operator.stop() == 0
    operator.start()
    still(operator)
    assert operator.writes() == {}


def still(operator: OperatorProcess) -> None:
    """Wait until nothing has been written for longer than any period of the operator's."""
    seen = (time.monotonic(), operator.writes())

    def unchanged() -> bool:
        nonlocal seen
        if operator.writes() != seen[1]:
            seen = (time.monotonic(), operator.writes())
        return time.monotonic() - seen[0] > 35

    eventually(unchanged, seconds=150)


@pytest.mark.fault
def test_invariant_7_the_operator_converges_after_a_kill_at_any_time(tenant: Tenant, operator: OperatorProcess) -> None:
    tenant.secret()
    for number in range(12):
        tenant.taskqueue(f"jobs-{number}", deletionPolicy="Delete")
        operator.kill()
        operator.start()
    for number in range(12):
        ready(tenant, f"jobs-{number}")
        assert tenant.queue(f"jobs-{number}")
    tenant.mark_started("jobs-0")
    tenant.publish("jobs-0", "jobs-0", 90)
    operator.kill()
    operator.start()
    eventually(lambda: tenant.replicas("jobs-0"), 5)
    tenant.kubectl("delete", "taskqueue", "--all", "--wait=false")
    operator.kill()
    operator.start()
    eventually(lambda: [name for name in map("jobs-{}".format, range(12)) if tenant.queue(name)], [])
    eventually(lambda: tenant.plane.api.list("taskqueue", tenant.namespace), [])


def test_invariant_10_no_log_status_or_event_contains_the_password(tenant: Tenant, operator: OperatorProcess) -> None:
    password = "s3cr3t p@ss/w:rd%#?"
    tenant.broker.ctl("add_user", f"app-{tenant.vhost}", password)
    tenant.broker.ctl("set_user_tags", f"app-{tenant.vhost}", "management")
    tenant.broker.ctl("set_permissions", "-p", tenant.vhost, f"app-{tenant.vhost}", ".*", ".*", ".*")
    host, port = "127.0.0.1", str(tenant.broker.amqp_port)
    keys = {
        "host": host,
        "port": port,
        "username": f"app-{tenant.vhost}",
        "management-uri": tenant.broker.management_url,
    }
    tenant.secret(**keys, password=password)
    tenant.taskqueue("jobs", broker={"secretRef": {"name": "rabbitmq"}, "vhost": tenant.vhost})
    ready(tenant, "jobs")
    tenant.secret(**keys, password=f"{password}, but wrong")
    eventually(lambda: tenant.condition("jobs", "BrokerReachable").get("reason"), "AuthenticationFailed", seconds=150)
    said = tenant.kubectl("get", "taskqueues,deployments,events", "--output=yaml") + operator.log.read_text()
    for secret in (password, "s3cr3t", "p%40ss"):
        assert secret not in said
