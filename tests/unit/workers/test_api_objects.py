from typing import Any

import pytest

from taskqueue_operator.workers.api_objects import Deployment, Pod

from .pod_statuses import READY, UNSCHEDULABLE, container, waiting


def parsed(status: dict[str, Any], *, node: str = "n", **annotations: str) -> Pod:
    metadata = {
        "namespace": "media",
        "name": "thumbnails-1",
        "uid": "u",
        "resourceVersion": "1",
        "annotations": {name.replace("__", "/").replace("_", "-"): value for name, value in annotations.items()},
        "ownerReferences": [{"kind": "ReplicaSet", "uid": "r", "controller": True}],
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
def test_a_pod_is_bare_when_the_kubelet_says_that_its_container_does_not_run(status: dict[str, Any]) -> None:
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
def test_a_pod_whose_container_runs_or_may_run_is_not_bare(status: dict[str, Any]) -> None:
    assert not parsed(status).container_stopped


def test_a_sidecar_says_nothing_about_the_worker() -> None:
    status = container({"waiting": {"reason": "CrashLoopBackOff"}}, restartCount=3)
    status["containerStatuses"].append({"name": "proxy", "state": {"running": {}}, "restartCount": 9})
    pod = parsed({"phase": "Running"} | status)
    assert (pod.container_stopped, pod.restarts) == (True, 3)


def test_a_pod_knows_the_addresses_that_are_its_own() -> None:
    assert parsed({"podIP": "10.0.0.1"}).addresses == ("10.0.0.1",)
    assert parsed({"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]}).addresses == (
        "10.0.0.1",
        "fd00::1",
    )
    assert parsed({"phase": "Pending"}).addresses == ()


def test_an_address_of_the_node_is_not_the_pods_own() -> None:
    metadata = {"namespace": "media", "name": "thumbnails-1", "resourceVersion": "1"}
    status = {"podIP": "192.0.2.10", "podIPs": [{"ip": "192.0.2.10"}]}
    assert Pod.parse({"metadata": metadata, "spec": {"hostNetwork": True}, "status": status}).addresses == ()


def test_a_pod_knows_its_replica_set_and_whether_it_has_a_node() -> None:
    assert (parsed({}).replica_set, parsed({}).assigned, parsed({}, node="").assigned) == ("r", True, False)


@pytest.mark.parametrize(("value", "means"), [("-5", -5), ("0", 0), ("7", 7), ("-2147483648", -(2**31)), ("-08", -8)])
def test_a_deletion_cost_is_read_as_kubernetes_reads_it(value: str, means: int) -> None:
    assert cost(value).cost == means


@pytest.mark.parametrize("value", ["", "+5", "08", "1.5", "-", "high", "2147483648"])
def test_what_kubernetes_takes_for_no_deletion_cost_is_none(value: str) -> None:
    assert cost(value).cost is None


def test_a_deletion_cost_is_ours_when_our_note_says_the_same() -> None:
    assert cost("-5", "-5").cost_is_managed
    assert not cost("-5").cost_is_managed
    assert not cost("-5", "-6").cost_is_managed
    assert not parsed(READY).cost_is_managed


def test_a_deployment_shows_its_mark_its_newest_pods_and_a_stuck_rollout() -> None:
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
