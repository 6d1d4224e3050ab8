"""Deletion ends, in any order, and loses nothing that its policy does not give up."""

import pytest

from .stage import Operator, Stage, eventually
from .test_invariants import ready


def gone(stage: Stage, name: str = "jobs") -> None:
    eventually(lambda: stage.get("taskqueue", name), {}, seconds=150)


def delete(stage: Stage, name: str = "jobs") -> None:
    stage.kubectl("delete", "taskqueue", name, "--wait=false")


def test_retain_leaves_queue_and_messages(stage: Stage) -> None:
    stage.secret()
    stage.taskqueue("jobs")
    ready(stage, "jobs")
    stage.publish("jobs", "jobs", 2)
    delete(stage)
    gone(stage)
    eventually(lambda: stage.get("deployment", "jobs"), {})
    eventually(lambda: stage.queue("jobs").get("messages"), 2)
    stage.taskqueue("jobs")
    ready(stage, "jobs")


def test_delete_removes_all_that_is_ours_with_its_messages(stage: Stage) -> None:
    stage.secret()
    stage.taskqueue("jobs", deletionPolicy="Delete", scaling={"mode": "Paused", "maxReplicas": 1})
    ready(stage, "jobs")
    stage.publish("jobs", "jobs", 2)
    delete(stage)
    gone(stage)
    assert leftovers(stage) == set()


def test_delete_if_empty_refuses_publishers_waits_and_goes_once_empty(stage: Stage) -> None:
    stage.secret()
    stage.taskqueue("jobs", deletionPolicy="DeleteIfEmpty", scaling={"mode": "Paused", "maxReplicas": 1})
    ready(stage, "jobs")
    stage.publish("jobs", "jobs", 3)
    delete(stage)
    message = eventually(lambda: said(stage, "NotEmpty", "holds 3 messages"))
    assert 'queue "jobs"' in message
    path = f"/exchanges/{stage.vhost}/jobs/publish"
    late = {"properties": {}, "routing_key": "jobs", "payload": "late", "payload_encoding": "string"}
    stage.http.post(path, json=late)
    assert stage.queue("jobs")["messages"] == 3
    stage.purge("jobs")
    gone(stage)
    assert leftovers(stage) == set()


def test_a_waiting_deletion_that_is_told_to_retain_lets_publishers_in_again(stage: Stage) -> None:
    stage.secret()
    stage.taskqueue("jobs", deletionPolicy="DeleteIfEmpty", scaling={"mode": "Paused", "maxReplicas": 1})
    ready(stage, "jobs")
    stage.publish("jobs", "jobs", 1)
    delete(stage)
    eventually(lambda: said(stage, "NotEmpty", "holds 1 messages"))
    stage.kubectl("patch", "taskqueue", "jobs", "--type=merge", "-p", '{"spec":{"deletionPolicy":"Retain"}}')
    gone(stage)
    stage.publish("jobs", "jobs", 1)
    eventually(lambda: stage.queue("jobs").get("messages"), 2)


def test_invariant_8_deletion_ends_when_the_secret_went_first(stage: Stage) -> None:
    stage.secret()
    stage.taskqueue("jobs", deletionPolicy="DeleteIfEmpty")
    ready(stage, "jobs")
    stage.publish("jobs", "jobs", 1)
    stage.kubectl("delete", "secret", "rabbitmq")
    delete(stage)
    gone(stage)
    assert stage.queue("jobs")


def test_invariant_8_deletion_ends_when_the_namespace_goes(stage: Stage) -> None:
    stage.secret()
    stage.taskqueue("jobs", deletionPolicy="DeleteIfEmpty")
    stage.taskqueue("more", deletionPolicy="Delete")
    ready(stage, "jobs")
    ready(stage, "more")
    stage.publish("jobs", "jobs", 1)
    stage.plane.kubectl("delete", "namespace", stage.namespace, "--wait=false")
    eventually(lambda: stage.plane.kubectl("get", "taskqueues", "-A", "--output=name"), "", seconds=200)
    assert stage.queue("jobs")


def test_invariant_8_deletion_ends_when_the_vhost_went_first(stage: Stage) -> None:
    stage.secret()
    stage.taskqueue("jobs", deletionPolicy="DeleteIfEmpty")
    ready(stage, "jobs")
    stage.http.delete(f"/vhosts/{stage.vhost}").raise_for_status()
    delete(stage)
    gone(stage)


@pytest.mark.fault
def test_a_deletion_that_was_cut_short_is_finished_by_the_next_operator(stage: Stage, operator: Operator) -> None:
    stage.secret()
    stage.taskqueue("jobs", deletionPolicy="DeleteIfEmpty", scaling={"mode": "Paused", "maxReplicas": 1})
    ready(stage, "jobs")
    stage.publish("jobs", "jobs", 1)
    delete(stage)
    eventually(lambda: said(stage, "NotEmpty", "holds 1 messages"))
    operator.kill()
    stage.purge("jobs")
    operator.start()
    gone(stage)
    assert leftovers(stage) == set()


def said(stage: Stage, reason: str, text: str) -> str:
    """Give the message of the Ready condition when it has this reason and text."""
    condition = stage.condition("jobs")
    return condition["message"] if condition.get("reason") == reason and text in condition["message"] else ""


def leftovers(stage: Stage) -> set[str]:
    """Name what the broker holds of queue and exchange `jobs`."""
    found = [*stage.http.get(f"/queues/{stage.vhost}").json(), *stage.http.get(f"/exchanges/{stage.vhost}").json()]
    return {each["name"] for each in found if each["name"].startswith("jobs")}
