from typing import Any

import pytest

from taskqueue_operator.resource.names import LABEL_NAME
from taskqueue_operator.workers.api_objects import Deployment, Pod

from .pod_statuses import READY, UNSCHEDULABLE, container, waiting

REPLICA_SET = {"kind": "ReplicaSet", "name": "thumbnails-5d8c", "uid": "r", "controller": True}


def parsed(status: dict[str, Any], *, node: str = "n", **annotations: str) -> Pod:
    metadata = {
        "namespace": "media",
        "name": "thumbnails-1",
        "uid": "u",
        "resourceVersion": "1",
        "annotations": {name.replace("__", "/").replace("_", "-"): value for name, value in annotations.items()},
        "labels": {LABEL_NAME: "thumbnails"},
        "ownerReferences": [REPLICA_SET],
    }
    return Pod.parse({"metadata": metadata, "spec": {"nodeName": node} if node else {}, "status": status})


def cost(value: str, ours: str | None = None) -> Pod:
    extra = {} if ours is None else {"taskqueue.dev__pod_deletion_cost": ours}
    return parsed(READY, **{"controller.kubernetes.io__pod_deletion_cost": value}, **extra)


@pytest.mark.parametrize(
    "status",
    [
        {},
        {"phase": "Pending"},
        UNSCHEDULABLE,
        {"phase": "Pending"} | waiting("ContainerCreating"),
        waiting("CrashLoopBackOff"),
        {"phase": "Running"} | container({"terminated": {"exitCode": 1}}),
    ],
)
def test_the_container_is_stopped_if_the_kubelet_reports_that_it_does_not_run(status: dict[str, Any]) -> None:
    assert parsed(status).container_stopped


@pytest.mark.parametrize(
    "status",
    [
        READY,
        {"phase": "Running"} | container({"running": {}}),
        {"phase": "Pending"} | container({"running": {}}),
        {"phase": "Unknown"} | waiting("CrashLoopBackOff"),
        {"phase": "Running"} | container({}),
        {"phase": "Running"},
    ],
    ids=["no word", "runs", "runs before the others", "node out of reach", "no state", "no containers"],
)
def test_the_container_is_not_stopped_if_it_runs_or_may_run(status: dict[str, Any]) -> None:
    assert not parsed(status).container_stopped


def test_sidecars_are_ignored() -> None:
    status = container({"waiting": {"reason": "CrashLoopBackOff"}}, restartCount=3)
    status["containerStatuses"].append({"name": "proxy", "state": {"running": {}}, "restartCount": 9})
    pod = parsed({"phase": "Running"} | status)
    assert (pod.container_stopped, pod.restarts) == (True, 3)


def test_a_pod_has_its_own_addresses() -> None:
    assert parsed({"podIP": "10.0.0.1"}).addresses == ("10.0.0.1",)
    assert parsed({"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]}).addresses == (
        "10.0.0.1",
        "fd00::1",
    )
    assert parsed({"phase": "Pending"}).addresses == ()


def test_a_pod_on_the_host_network_has_no_own_address() -> None:
    metadata = {"namespace": "media", "name": "thumbnails-1", "resourceVersion": "1"}
    status = {"podIP": "192.0.2.10", "podIPs": [{"ip": "192.0.2.10"}]}
    assert Pod.parse({"metadata": metadata, "spec": {"hostNetwork": True}, "status": status}).addresses == ()


def test_a_pod_has_a_replica_set_and_may_be_assigned_to_a_node() -> None:
    assert (parsed({}).replica_set, parsed({}).assigned, parsed({}, node="").assigned) == ("r", True, False)


@pytest.mark.parametrize(("value", "means"), [("-5", -5), ("0", 0), ("7", 7), ("-2147483648", -(2**31)), ("-08", -8)])
def test_a_deletion_cost_is_parsed_as_kubernetes_does(value: str, means: int) -> None:
    assert cost(value).cost == means


@pytest.mark.parametrize("value", ["", "+5", "08", "1.5", "-", "high", "2147483648"])
def test_an_invalid_deletion_cost_is_none(value: str) -> None:
    assert cost(value).cost is None


def test_a_deletion_cost_is_managed_if_the_annotation_of_the_operator_is_equal() -> None:
    assert cost("-5", "-5").cost_is_managed
    assert not cost("-5").cost_is_managed
    assert not cost("-5", "-6").cost_is_managed
    assert not parsed(READY).cost_is_managed


def test_a_deployment_has_a_fencing_token_updated_replicas_and_a_stuck_rollout() -> None:
    metadata = {"namespace": "media", "name": "thumbnails", "uid": "d", "resourceVersion": "1", "generation": 4}
    body = {
        "metadata": metadata | {"annotations": {"taskqueue.dev/drain": "7.1"}},
        "spec": {"replicas": 3},
        "status": {
            "observedGeneration": 4,
            "replicas": 4,
            "updatedReplicas": 1,
            "conditions": [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}],
        },
    }
    seen = Deployment.parse(body)
    assert (seen.drain_token, seen.current_replicas, seen.updated, seen.progress_deadline_exceeded, seen.observed) == (
        "7.1",
        4,
        1,
        True,
        True,
    )
    fresh = Deployment.parse({"metadata": metadata, "spec": {}, "status": {"observedGeneration": 3}})
    assert (fresh.drain_token, fresh.progress_deadline_exceeded, fresh.observed) == ("", False, False)


@pytest.mark.parametrize(
    ("owner", "shown"),
    [
        (REPLICA_SET, ("r", "thumbnails")),
        (None, ("", "")),
        (REPLICA_SET | {"name": "other-app-5d8c"}, ("r", "other-app")),
        (REPLICA_SET | {"kind": "StatefulSet"}, ("", "")),
        (REPLICA_SET | {"controller": False}, ("", "")),
    ],
    ids=["ours", "without an owner", "of another Deployment", "of another kind", "released"],
)
def test_a_pod_belongs_to_the_deployment_that_its_replica_set_is_named_after(
    owner: dict[str, Any] | None, shown: tuple[str, str]
) -> None:
    metadata = {
        "namespace": "media",
        "name": "p",
        "resourceVersion": "1",
        "labels": {LABEL_NAME: "thumbnails"},
        "ownerReferences": [owner] if owner else [],
    }
    pod = Pod.parse({"metadata": metadata})
    assert (pod.replica_set, pod.deployment) == shown


def running(ready: str, since: str, **fields: object) -> dict[str, Any]:
    """A running worker whose container started at 10:00:05."""
    condition = {"type": "Ready", "status": ready, "lastTransitionTime": f"2026-01-01T10:00:{since}Z"}
    started = {"running": {"startedAt": "2026-01-01T10:00:05Z"}}
    return {"phase": "Running", "conditions": [condition]} | container(started, **{"started": True} | fields)


@pytest.mark.parametrize(
    ("status", "never_ready"),
    [
        (running("False", "01"), True),
        (running("False", "05"), True),
        (running("False", "06"), False),
        (running("True", "01"), False),
        (running("False", "01", started=False), False),
        (waiting("CrashLoopBackOff"), False),
        (READY, False),
        ({}, False),
    ],
    ids=["never", "same second", "was ready", "ready", "no endpoints yet", "no container", "no times", "nothing shown"],
)
def test_a_worker_was_never_ready_if_it_is_unready_since_before_it_started(
    status: dict[str, Any],
    never_ready: bool,  # noqa: FBT001  what is expected
) -> None:
    assert parsed(status, **{"taskqueue.dev__template_digest": "new"}).never_ready is never_ready
