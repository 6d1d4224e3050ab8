"""The manifest of the worker Deployment. `TASKQUEUE_RENEW_GOLDEN=1 pytest tests/unit/workers` renews its golden files.

A change of a golden file does not restart workers, as the template hash does not change. But the next change of a
TaskQueue rolls it out: review the difference.
"""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from taskqueue_operator.resource.faults import Reason, WorkersFault
from taskqueue_operator.resource.taskqueue import TaskQueue
from taskqueue_operator.workers.deployment import GRACE_MARGIN_SECONDS, deployment
from tests.approved import assert_approved

from .conftest import Make

INPUTS = sorted((Path(__file__).parent / "golden").glob("*.taskqueue.yaml"))


def container(manifest: dict[str, Any]) -> dict[str, Any]:
    containers = manifest["spec"]["template"]["spec"]["containers"]
    return next(item for item in containers if item["name"] == "worker")


def env(manifest: dict[str, Any]) -> dict[str, str]:
    return {variable["name"]: variable.get("value", "") for variable in container(manifest)["env"]}


@pytest.mark.parametrize("file", INPUTS, ids=lambda file: file.name.split(".")[0])
def test_the_manifest_is_equal_to_the_golden_file(file: Path) -> None:
    manifest = deployment(TaskQueue.parse(yaml.safe_load(file.read_text())), replicas=3)
    golden = file.with_name(file.name.replace(".taskqueue.", ".deployment."))
    if "TASKQUEUE_RENEW_GOLDEN" in os.environ:
        golden.write_text(yaml.safe_dump(manifest, sort_keys=False))
    assert manifest == yaml.safe_load(golden.read_text())


def test_with_linear_a_worker_is_told_to_reject_and_nothing_of_delays(make: Make) -> None:
    retry = {"maxAttempts": 3, "backoff": {"type": "Linear"}}
    variables = env(deployment(make(spec={"retry": retry}), replicas=1))
    told = {name: value for name, value in variables.items() if name.startswith("TASKQUEUE_RETRY")}
    assert (told, variables["TASKQUEUE_MAX_ATTEMPTS"]) == ({"TASKQUEUE_RETRY_TYPE": "Linear"}, "3")


def test_workers_consume_all_shards_and_publish_dead_letters_to_one_queue(make: Make) -> None:
    queue = {"name": "jobs", "shards": {"count": 3}}
    variables = env(deployment(make(spec={"queue": queue}), replicas=1))
    assert variables["TASKQUEUE_QUEUES"] == "jobs.0,jobs.1,jobs.2"
    assert variables["TASKQUEUE_DEAD_LETTER_ROUTING_KEY"] == "jobs.dlq"


def test_golden_files_exist() -> None:
    assert len(INPUTS) >= 3


def test_the_manifest_is_deterministic(make: Make) -> None:
    fields = {"env": [{"name": "B"}, {"name": "A"}], "podTemplate": {"metadata": {"labels": {"z": "1", "a": "2"}}}}
    first, second = (yaml.safe_dump(deployment(make(**fields), replicas=1), sort_keys=False) for _ in range(2))
    assert first == second


def test_the_manifest_has_a_resource_version_only_if_one_is_given(make: Make) -> None:
    assert "resourceVersion" not in deployment(make(), replicas=0)["metadata"]
    assert deployment(make(), replicas=0, resource_version="42")["metadata"]["resourceVersion"] == "42"


def test_the_selector_is_the_name_label_of_the_pods(make: Make) -> None:
    spec = deployment(make(), replicas=0)["spec"]
    assert spec["selector"]["matchLabels"] == {"taskqueue.dev/name": "thumbnails"}
    assert spec["template"]["metadata"]["labels"]["taskqueue.dev/name"] == "thumbnails"


def test_the_grace_period_exceeds_the_task_timeout(make: Make) -> None:
    pod = deployment(make(taskTimeoutSeconds=7), replicas=0)["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] == 7 + GRACE_MARGIN_SECONDS


def test_the_vhost_variable_is_set_only_if_the_spec_has_a_vhost(make: Make) -> None:
    assert "TASKQUEUE_VHOST" not in env(deployment(make(), replicas=0))
    spec = {"broker": {"secretRef": {"name": "rabbitmq"}, "vhost": "media"}}
    assert env(deployment(make(spec=spec), replicas=0))["TASKQUEUE_VHOST"] == "media"


def test_the_user_may_set_where_termination_messages_come_from(make: Make) -> None:
    containers = [{"name": "worker", "terminationMessagePolicy": "File"}]
    manifest = deployment(make(podTemplate={"spec": {"containers": containers}}), replicas=0)
    assert container(manifest)["terminationMessagePolicy"] == "File"
    assert container(deployment(make(), replicas=0))["terminationMessagePolicy"] == "FallbackToLogsOnError"


def test_names_that_look_like_variables_are_escaped(make: Make) -> None:
    manifest = deployment(make(spec={"queue": {"name": "$(HOME)$"}}), replicas=0)
    assert env(manifest)["TASKQUEUE_QUEUES"] == "$$(HOME)$$"  # the kubelet replaces $$ by $


def test_the_user_may_set_the_modules_variable(make: Make) -> None:
    variables = {"TASKQUEUE_MODULES": "app.tasks", "TASKQUEUE_LOG_LEVEL": "debug"}
    manifest = deployment(make(env=[{"name": name, "value": value} for name, value in variables.items()]), replicas=0)
    assert env(manifest).items() >= variables.items()


def test_the_secret_of_the_worker_overrides_that_of_the_broker(make: Make) -> None:
    def secret(taskqueue: TaskQueue) -> str:
        volumes = deployment(taskqueue, replicas=0)["spec"]["template"]["spec"]["volumes"]
        return next(str(volume["secret"]["secretName"]) for volume in volumes if "secret" in volume)

    assert secret(make()) == "rabbitmq"
    assert secret(make(secretRef={"name": "own"})) == "own"


@pytest.mark.parametrize(("prefetch", "value"), [(None, "3"), (8, "8"), ("Auto", "Auto")])
def test_workers_are_told_the_prefetch(make: Make, prefetch: object, value: str) -> None:
    container = deployment(make(concurrency=3, prefetch=prefetch), replicas=0)["spec"]["template"]["spec"][
        "containers"
    ][0]
    assert {"name": "TASKQUEUE_PREFETCH", "value": value} in container["env"]


@pytest.mark.parametrize(
    ("variable", "key"),
    [
        ("TASKQUEUE_PREFETCH", "worker_env.prefetch"),
        ("SERVICE_BINDING_ROOT", "worker_env.service_binding_root"),
        ("TASKQUEUE_ANYTHING", "worker_env.reserved_prefix"),
    ],
)
def test_a_reserved_variable_is_rejected(make: Make, variable: str, key: str) -> None:
    taskqueue = make(env=[{"name": variable, "value": "1"}])
    with pytest.raises(WorkersFault) as caught:
        deployment(taskqueue, replicas=0)
    assert (caught.value.reason, caught.value.terminal) == (Reason.FIELD_CONFLICT, True)
    assert_approved(key, caught.value.message)
