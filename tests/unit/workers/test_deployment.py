"""The manifest, whole, against golden files. To renew them: `TASKQUEUE_RENEW_GOLDEN=1 pytest tests/unit/workers`.

A golden file that changes restarts nobody's workers by itself (the digest does not move), but it changes what the next
edit of any TaskQueue rolls out: read the difference.
"""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from taskqueue_operator.resource.faults import Reason, WorkersFault
from taskqueue_operator.resource.taskqueue import TaskQueue
from taskqueue_operator.workers.deployment import GRACE_MARGIN_SECONDS, deployment

from .conftest import Make

INPUTS = sorted((Path(__file__).parent / "golden").glob("*.taskqueue.yaml"))


def container(manifest: dict[str, Any]) -> dict[str, Any]:
    return next(each for each in manifest["spec"]["template"]["spec"]["containers"] if each["name"] == "worker")


def env(manifest: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each.get("value", "") for each in container(manifest)["env"]}


@pytest.mark.parametrize("file", INPUTS, ids=lambda file: file.name.split(".")[0])
def test_the_manifest_is_the_golden_one(file: Path) -> None:
    manifest = deployment(TaskQueue.parse(yaml.safe_load(file.read_text())), replicas=3)
    golden = file.with_name(file.name.replace(".taskqueue.", ".deployment."))
    if "TASKQUEUE_RENEW_GOLDEN" in os.environ:
        golden.write_text(yaml.safe_dump(manifest, sort_keys=False))
    assert manifest == yaml.safe_load(golden.read_text())


def test_there_are_golden_files() -> None:
    assert len(INPUTS) >= 3


def test_it_is_the_same_every_time(make: Make) -> None:
    fields = {"env": [{"name": "B"}, {"name": "A"}], "podTemplate": {"metadata": {"labels": {"z": "1", "a": "2"}}}}
    first, second = (yaml.safe_dump(deployment(make(**fields), replicas=1), sort_keys=False) for _ in range(2))
    assert first == second


def test_the_condition_of_the_write_is_in_the_manifest_only_if_there_is_one(make: Make) -> None:
    assert "resourceVersion" not in deployment(make(), replicas=0)["metadata"]
    assert deployment(make(), replicas=0, resource_version="42")["metadata"]["resourceVersion"] == "42"


def test_the_selector_is_one_label_of_the_pods(make: Make) -> None:
    spec = deployment(make(), replicas=0)["spec"]
    assert spec["selector"]["matchLabels"] == {"taskqueue.dev/name": "thumbnails"}
    assert spec["template"]["metadata"]["labels"]["taskqueue.dev/name"] == "thumbnails"


def test_the_grace_period_outlasts_the_longest_task(make: Make) -> None:
    pod = deployment(make(taskTimeoutSeconds=7), replicas=0)["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] == 7 + GRACE_MARGIN_SECONDS


def test_the_vhost_is_told_only_if_the_spec_says_it(make: Make) -> None:
    assert "TASKQUEUE_VHOST" not in env(deployment(make(), replicas=0))
    spec = {"broker": {"secretRef": {"name": "rabbitmq"}, "vhost": "media"}}
    assert env(deployment(make(spec=spec), replicas=0))["TASKQUEUE_VHOST"] == "media"


def test_names_that_look_like_variables_reach_the_worker_as_they_are(make: Make) -> None:
    manifest = deployment(make(spec={"queue": {"name": "$(HOME)$"}}), replicas=0)
    assert env(manifest)["TASKQUEUE_QUEUES"] == "$$(HOME)$$"  # the kubelet reads $$ as $


def test_users_may_name_the_modules(make: Make) -> None:
    manifest = deployment(make(env=[{"name": "TASKQUEUE_MODULES", "value": "app.tasks"}]), replicas=0)
    assert env(manifest)["TASKQUEUE_MODULES"] == "app.tasks"


def test_the_workers_own_secret_takes_the_place_of_the_brokers(make: Make) -> None:
    def secret(taskqueue: TaskQueue) -> str:
        volumes = deployment(taskqueue, replicas=0)["spec"]["template"]["spec"]["volumes"]
        return next(str(each["secret"]["secretName"]) for each in volumes if "secret" in each)

    assert secret(make()) == "rabbitmq"
    assert secret(make(secretRef={"name": "own"})) == "own"


@pytest.mark.parametrize(
    ("variable", "message"),
    [
        (
            "TASKQUEUE_PREFETCH",
            (
                "spec.worker.env[name=TASKQUEUE_PREFETCH] and spec.worker.prefetch say the same. "
                "Remove the variable, and set spec.worker.prefetch."
            ),
        ),
        (
            "SERVICE_BINDING_ROOT",
            (
                "spec.worker.env[name=SERVICE_BINDING_ROOT] and spec.worker.secretRef say the same. "
                "Remove the variable, and set spec.worker.secretRef."
            ),
        ),
        (
            "TASKQUEUE_ANYTHING",
            (
                "spec.worker.env[name=TASKQUEUE_ANYTHING]: names that begin with TASKQUEUE_ are set by the operator. "
                "Rename or remove the variable."
            ),
        ),
    ],
)
def test_the_contract_is_not_for_users_to_set(make: Make, variable: str, message: str) -> None:
    taskqueue = make(env=[{"name": variable, "value": "1"}])
    with pytest.raises(WorkersFault) as refused:
        deployment(taskqueue, replicas=0)
    assert (refused.value.reason, refused.value.message, refused.value.terminal) == (
        Reason.FIELD_CONFLICT,
        message,
        True,
    )
