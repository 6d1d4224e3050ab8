"""A Deployment of others: the page shows one that is ready, and what is taken from its template."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from taskqueue_operator.resource.taskqueue import TaskQueue
from taskqueue_operator.workers.api_objects import Deployment, Pod
from taskqueue_operator.workers.referenced import environment_missing, not_scaled, unsafe
from taskqueue_operator.workers.worker_template import worker_container_name

from .pod_statuses import container
from .test_api_objects import running

PAGE = Path(__file__).parents[3] / "docs/existing-deployments.md"
IDENTITY = {"namespace": "shop", "uid": "u", "resourceVersion": "1"}
PROBED: dict[str, Any] = {
    "name": "worker",
    "env": [{"name": "TASKQUEUE_NAME", "value": "shop/celery"}],
    "readinessProbe": {"httpGet": {"path": "/readyz", "port": 8080}},
}


def probed(**fields: object) -> dict[str, Any]:
    return PROBED | {"readinessProbe": PROBED["readinessProbe"] | fields}


NAMED = [{"name": "http", "containerPort": 8080}]
OTHER_PORT = [*PROBED["env"], {"name": "TASKQUEUE_HTTP_PORT", "value": "9000"}]


def example(kind: str) -> dict[str, Any]:
    """Return the object of a kind that the page shows."""
    blocks = map(yaml.safe_load, re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE))
    (found,) = (block for block in blocks if block.get("kind") == kind)
    return {**found, "metadata": IDENTITY | found["metadata"]}


def test_the_deployment_of_the_page_is_scaled_and_drained_by_the_taskqueue_of_the_page() -> None:
    taskqueue, deployment = TaskQueue.parse(example("TaskQueue")), Deployment.parse(example("Deployment"))
    assert deployment.serves(taskqueue)
    assert not_scaled(taskqueue, deployment) is None
    assert environment_missing(taskqueue, deployment) is None
    assert unsafe(taskqueue, deployment) is None


def test_a_variable_of_another_taskqueue_is_missing() -> None:
    body = example("Deployment")
    body["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"] = "shop/mails"
    fault = environment_missing(TaskQueue.parse(example("TaskQueue")), Deployment.parse(body))
    assert fault is not None
    assert 'TASKQUEUE_NAME (value: "shop/celery")' in fault.message
    assert "TASKQUEUE_POD_UID" not in fault.message


def test_plain_workers_need_no_variables() -> None:
    body, taskqueue = example("Deployment"), example("TaskQueue")
    del body["spec"]["template"]["spec"]["containers"][0]["env"]
    taskqueue["spec"]["worker"]["protocol"] = "Plain"
    assert environment_missing(TaskQueue.parse(taskqueue), Deployment.parse(body)) is None


@pytest.mark.parametrize(
    ("names", "annotation", "found"),
    [
        (["proxy", "worker"], "proxy", "worker"),
        (["proxy", "app"], "app", "app"),
        (["app", "proxy"], "", "app"),
        (["app", "proxy"], "gone", "app"),
        ([], "", "worker"),
    ],
    ids=["by name", "by annotation", "first", "annotation of no container", "no containers"],
)
def test_the_container_that_runs_the_tasks(names: list[str], annotation: str, found: str) -> None:
    metadata = {"annotations": {"kubectl.kubernetes.io/default-container": annotation}}
    assert worker_container_name(metadata, {"containers": [{"name": name} for name in names]}) == found


@pytest.mark.parametrize(
    ("fields", "never_ready"),
    [
        (PROBED, True),
        (probed(httpGet={"path": "/readyz", "port": "http"}) | {"ports": NAMED}, True),
        (probed(initialDelaySeconds=30, periodSeconds=5, successThreshold=2), True),
        (PROBED | {"env": []}, False),
        (PROBED | {"readinessProbe": {"exec": {}}}, False),
        (probed(httpGet={"path": "/readyz", "port": 9000}), False),
        (PROBED | {"env": OTHER_PORT}, False),
        (probed(httpGet={"path": "/readyz", "port": 8080, "host": "example.org"}), False),
        (probed(initialDelaySeconds=60), False),
        (probed(periodSeconds=60), False),
    ],
    ids=[
        "by the contract",
        "by the name of its port",
        "as late as it may be",
        "without the environment",
        "another probe",
        "another port",
        "another port of the worker",
        "another host",
        "late",
        "seldom",
    ],
)
def test_a_pod_of_others_has_never_consumed_only_by_the_probe_of_the_contract(
    fields: dict[str, Any],
    never_ready: bool,  # noqa: FBT001  what is expected
) -> None:
    pod = Pod.parse(
        {"metadata": IDENTITY | {"name": "p"}, "spec": {"containers": [fields]}, "status": running("False", "01")}
    )
    assert pod.never_ready is never_ready


@pytest.mark.parametrize(
    ("gates", "sidecar_is_ready", "never_ready"),
    [([], True, True), ([], False, False), ([{"conditionType": "example.org/load-balancer"}], True, False)],
    ids=["the worker alone", "another container", "a readiness gate"],
)
def test_a_pod_that_something_else_keeps_from_being_ready_may_have_consumed(
    gates: list[dict[str, str]],
    sidecar_is_ready: bool,  # noqa: FBT001
    never_ready: bool,  # noqa: FBT001  what is expected
) -> None:
    status = running("False", "01")
    status["containerStatuses"].append({"name": "proxy", "ready": sidecar_is_ready, "state": {"running": {}}})
    spec = {"containers": [PROBED, {"name": "proxy"}], "readinessGates": gates}
    assert Pod.parse({"metadata": IDENTITY | {"name": "p"}, "spec": spec, "status": status}).never_ready is never_ready


def test_the_state_of_a_pod_is_that_of_the_container_that_runs_the_tasks() -> None:
    status = container({"running": {}})
    status["containerStatuses"] = [
        {"name": "app", "state": {"terminated": {"exitCode": 143}}},
        {"name": "proxy", "state": {"running": {}}},
    ]
    spec = {"containers": [{"name": "app"}, {"name": "proxy"}]}
    pod = Pod.parse({"metadata": IDENTITY | {"name": "p"}, "spec": spec, "status": {"phase": "Running"} | status})
    assert (pod.container_stopped, pod.exit_code) == (True, 143)
