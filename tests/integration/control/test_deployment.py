"""What becomes of the workers' Deployment: it follows the spec, keeps its replicas, and is not taken from others."""

from typing import Any

from .stage import Operator, Stage, eventually
from .test_invariants import ready


def test_scaling_changes_and_operator_restarts_never_restart_workers(stage: Stage, operator: Operator) -> None:
    stage.secret()
    stage.taskqueue("jobs")
    ready(stage, "jobs")
    template = stage.get("deployment", "jobs")["spec"]["template"]
    stage.taskqueue("jobs", scaling={"maxReplicas": 7, "minReplicas": 7, "readyPerReplica": 3})
    eventually(lambda: stage.replicas("jobs"), 7)
    assert operator.stop() == 0
    operator.start()
    eventually(lambda: stage.condition("jobs").get("observedGeneration"), 2)
    assert stage.get("deployment", "jobs")["spec"]["template"] == template


def test_a_new_image_at_7_workers_leaves_7_and_a_removed_variable_goes(stage: Stage) -> None:
    stage.secret()
    seven = {"maxReplicas": 7, "minReplicas": 7}
    env = [{"name": "COLOUR", "value": "red"}, {"name": "SIZE", "value": "L"}]
    stage.taskqueue("jobs", scaling=seven, worker={"image": "acme/app:1", "env": env})
    eventually(lambda: stage.replicas("jobs"), 7)
    assert {"COLOUR", "SIZE"} <= variables(stage)
    stage.taskqueue("jobs", scaling=seven, worker={"image": "acme/app:2", "env": env[1:]})
    eventually(lambda: container(stage)["image"], "acme/app:2")
    assert stage.replicas("jobs") == 7
    assert "COLOUR" not in variables(stage)
    assert "SIZE" in variables(stage)


def test_a_deployment_that_was_deleted_comes_back(stage: Stage) -> None:
    stage.secret()
    stage.taskqueue("jobs", scaling={"maxReplicas": 3, "minReplicas": 2})
    eventually(lambda: stage.replicas("jobs"), 2)
    stage.kubectl("delete", "deployment", "jobs")
    eventually(lambda: stage.replicas("jobs"), 2)


def test_replicas_changed_by_hand_go_back_to_what_the_queue_needs(stage: Stage) -> None:
    stage.secret()
    stage.taskqueue("jobs", scaling={"maxReplicas": 5, "readyPerReplica": 1})
    ready(stage, "jobs")
    stage.publish("jobs", "jobs", 3)
    eventually(lambda: stage.replicas("jobs"), 3)
    stage.kubectl("scale", "deployment", "jobs", "--replicas=1")
    eventually(lambda: stage.replicas("jobs"), 3)


def container(stage: Stage) -> dict[str, Any]:
    return stage.get("deployment", "jobs")["spec"]["template"]["spec"]["containers"][0]  # type: ignore[no-any-return]


def variables(stage: Stage) -> set[str]:
    return {each["name"] for each in container(stage)["env"]}
