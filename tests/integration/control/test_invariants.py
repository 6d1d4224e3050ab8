"""The invariants of the design that can be shown without nodes, each by its name."""

import time
from functools import partial

import pytest

from .stage import Operator, Stage, eventually


def ready(stage: Stage, name: str) -> None:
    eventually(lambda: stage.condition(name).get("status"), "True")


@pytest.mark.fault
def test_invariant_2_a_broker_that_is_away_takes_no_worker_away(stage: Stage) -> None:
    stage.secret()
    quick = {"maxReplicas": 5, "idleSeconds": 1, "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}}
    stage.taskqueue("jobs", scaling=quick)
    ready(stage, "jobs")
    stage.publish("jobs", "jobs", 50)
    eventually(lambda: stage.replicas("jobs"), 3)
    stage.broker.pause()
    try:
        eventually(lambda: stage.condition("jobs", "BrokerReachable").get("status"), "False")
        assert stage.replicas("jobs") == 3
        assert stage.condition("jobs", "BrokerReachable")["reason"] in {"BrokerUnreachable", "ManagementUnreachable"}
    finally:
        stage.broker.resume()
    eventually(lambda: stage.condition("jobs", "BrokerReachable").get("status"), "True")
    assert stage.replicas("jobs") == 3
    stage.purge("jobs")
    eventually(lambda: stage.replicas("jobs"), 0)


def test_invariant_3_replicas_stay_within_the_bounds_of_the_spec(stage: Stage) -> None:
    stage.secret()
    stage.taskqueue("jobs", scaling={"minReplicas": 2, "maxReplicas": 4, "readyPerReplica": 1})
    ready(stage, "jobs")
    assert stage.replicas("jobs") == 2
    stage.publish("jobs", "jobs", 30)
    eventually(lambda: stage.replicas("jobs"), 4)
    stage.taskqueue("jobs", scaling={"minReplicas": 1, "maxReplicas": 3, "readyPerReplica": 1})
    eventually(lambda: stage.replicas("jobs"), 3)
    stage.taskqueue("jobs", scaling={"mode": "Paused", "pausedReplicas": 0, "maxReplicas": 3})
    eventually(lambda: stage.replicas("jobs"), 0)
    eventually(lambda: stage.condition("jobs", "ScalingActive").get("reason"), "Paused")


def test_invariant_4_what_is_not_ours_is_used_if_equal_and_never_changed_or_deleted(stage: Stage) -> None:
    stage.secret()
    stage.http.put(stage.path("exchanges", "shop"), json={"type": "topic", "durable": True}).raise_for_status()
    stage.taskqueue("orders", exchange={"name": "shop", "type": "Topic"}, deletionPolicy="Delete")
    ready(stage, "orders")
    stage.publish("shop", "order.created", 1)
    eventually(lambda: stage.queue("orders").get("messages"), 1)
    assert "x-taskqueue-owner" not in stage.read(stage.path("exchanges", "shop"))["arguments"]
    stage.kubectl("delete", "taskqueue", "orders", "--timeout=60s")
    assert not stage.queue("orders")
    assert stage.read(stage.path("exchanges", "shop"))["type"] == "topic"


def test_invariant_5_no_change_no_write_and_a_restart_with_nothing_to_do_writes_nothing(
    stage: Stage, operator: Operator
) -> None:
    stage.secret()
    for number in range(3):
        stage.taskqueue(f"jobs-{number}", deletionPolicy="DeleteIfEmpty")
    for number in range(3):
        ready(stage, f"jobs-{number}")
        eventually(partial(stage.condition, f"jobs-{number}", "ScalingActive"))
    still(operator)
    assert operator.stop() == 0
    operator.start()
    still(operator)
    assert operator.writes() == {}


def still(operator: Operator) -> None:
    """Wait until nothing has been written for longer than any period of the operator's."""
    seen = (time.monotonic(), operator.writes())

    def unchanged() -> bool:
        nonlocal seen
        if operator.writes() != seen[1]:
            seen = (time.monotonic(), operator.writes())
        return time.monotonic() - seen[0] > 35

    eventually(unchanged, seconds=150)


@pytest.mark.fault
def test_invariant_7_kill_9_at_any_time_converges_after(stage: Stage, operator: Operator) -> None:
    stage.secret()
    for number in range(12):
        stage.taskqueue(f"jobs-{number}", deletionPolicy="Delete")
        operator.kill()
        operator.start()
    for number in range(12):
        ready(stage, f"jobs-{number}")
        assert stage.queue(f"jobs-{number}")
    stage.publish("jobs-0", "jobs-0", 90)
    operator.kill()
    operator.start()
    eventually(lambda: stage.replicas("jobs-0"), 5)
    stage.kubectl("delete", "taskqueue", "--all", "--wait=false")
    operator.kill()
    operator.start()
    eventually(lambda: [name for name in map("jobs-{}".format, range(12)) if stage.queue(name)], [])
    eventually(lambda: stage.plane.api.list("taskqueue", stage.namespace), [])


def test_invariant_10_the_password_is_in_no_log_no_status_and_no_event(stage: Stage, operator: Operator) -> None:
    password = "s3cr3t p@ss/w:rd%#?"
    stage.broker.ctl("add_user", f"app-{stage.vhost}", password)
    stage.broker.ctl("set_user_tags", f"app-{stage.vhost}", "management")
    stage.broker.ctl("set_permissions", "-p", stage.vhost, f"app-{stage.vhost}", ".*", ".*", ".*")
    host, port = "127.0.0.1", str(stage.broker.amqp_port)
    keys = {"host": host, "port": port, "username": f"app-{stage.vhost}", "management-uri": stage.broker.management_url}
    stage.secret(**keys, password=password)
    stage.taskqueue("jobs", broker={"secretRef": {"name": "rabbitmq"}, "vhost": stage.vhost})
    ready(stage, "jobs")
    stage.secret(**keys, password=f"{password}, but wrong")
    eventually(lambda: stage.condition("jobs", "BrokerReachable").get("reason"), "AuthenticationFailed", seconds=150)
    said = stage.kubectl("get", "taskqueues,deployments,events", "--output=yaml") + operator.log.read_text()
    for secret in (password, "s3cr3t", "p%40ss"):
        assert secret not in said
