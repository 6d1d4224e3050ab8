from typing import Any

import pytest

from taskqueue_operator.resource.faults import Reason, WorkersFault
from taskqueue_operator.workers.api_objects import Deployment, Pod
from taskqueue_operator.workers.startup_problems import obstacle, trouble

from .states import CRASHED, QUOTA, READY, UNSCHEDULABLE, container, refused, waiting

INIT_CONTAINER = {
    "initContainerStatuses": [
        {"name": "migrate", "image": "acme/db:1", "state": {"waiting": {"reason": "ErrImagePull"}}}
    ]
}
KILLED = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
BETWEEN_CRASHES = container({"running": {}}, lastState=KILLED, restartCount=1)
VIOLATION = 'pods "thumbnails-1" is forbidden: violates PodSecurity "restricted:latest": host namespaces.'


def deployment(replicas: int = 2, digest: str = "new", refusal: str = "") -> Deployment:
    annotations = {"taskqueue.dev/template-digest": digest}
    metadata = {"namespace": "media", "name": "thumbnails", "uid": "d", "resourceVersion": "1"}
    return Deployment.parse(
        {
            "metadata": metadata | {"annotations": annotations},
            "spec": {"replicas": replicas},
            "status": {
                "conditions": [{"type": "Available", "status": "True"}, *([refused(refusal)] if refusal else ())]
            },
        }
    )


def pod(status: dict[str, Any], *, digest: str = "new", name: str = "thumbnails-new-1", **metadata: object) -> Pod:
    labels, annotations = {"taskqueue.dev/name": "thumbnails"}, {"taskqueue.dev/template-digest": digest}
    named = {"namespace": "media", "name": name, "resourceVersion": "1", "labels": labels, "annotations": annotations}
    return Pod.parse({"metadata": named | metadata, "status": status})


def said(fault: WorkersFault | None) -> tuple[Reason, str] | None:
    return None if fault is None else (fault.reason, fault.message)


@pytest.mark.parametrize(
    ("status", "what", "way_out"),
    [
        (
            waiting("ImagePullBackOff"),
            "ImagePullBackOff: acme/app:1.5",
            (
                "Correct spec.worker.image, or name the registry's credentials in "
                "spec.worker.podTemplate.spec.imagePullSecrets."
            ),
        ),
        (
            INIT_CONTAINER,
            "ImagePullBackOff: acme/db:1",
            (
                "Correct the image of container migrate in spec.worker.podTemplate, or name the registry's credentials "
                "in spec.worker.podTemplate.spec.imagePullSecrets."
            ),
        ),
        (
            container({"waiting": {"reason": "CrashLoopBackOff"}}, lastState=CRASHED, restartCount=3),
            "CrashLoopBackOff: exit code 1",
            "See: kubectl -n media logs -l taskqueue.dev/name=thumbnails -c worker --tail=50",
        ),
        (
            BETWEEN_CRASHES,
            "CrashLoopBackOff: OOMKilled, exit code 137",
            "See: kubectl -n media logs -l taskqueue.dev/name=thumbnails -c worker --tail=50",
        ),
        (
            waiting("CreateContainerConfigError", 'secret "keys" not found'),
            'CreateContainerConfigError: secret "keys" not found',
            "Correct spec.worker, or create what is missing.",
        ),
        (
            waiting("RunContainerError"),
            "RunContainerError",
            "Correct spec.worker, or create what is missing.",
        ),
    ],
    ids=["image", "init container", "crash loop", "between two crashes", "config", "no words"],
)
def test_a_worker_that_fails_is_told_with_the_way_out_and_stops_scaling_out(
    status: dict[str, Any], what: str, way_out: str
) -> None:
    pods = [pod(status)]
    assert said(trouble(deployment(), pods)) == (Reason.WORKERS_FAILING, f"No worker is ready: {what}. {way_out}")
    short = f"no worker of this version has started ({what})"
    assert said(obstacle(deployment(), pods, started=False)) == (Reason.WORKERS_FAILING, short)


def test_an_exceeded_quota_is_told_by_name_and_stops_scaling_out() -> None:
    there = deployment(refusal=QUOTA)
    short = "ResourceQuota compute is exceeded (requested: pods=1, limited: pods=3)"
    for started in (True, False):
        assert said(obstacle(there, [pod(READY)], started=started)) == (Reason.QUOTA_EXCEEDED, short)
    assert said(trouble(there, [])) == (
        Reason.QUOTA_EXCEEDED,
        f"No worker is ready: {short}. Lower spec.worker.resources or spec.scaling, or raise the quota.",
    )


def test_workers_without_a_node_are_told_in_the_schedulers_words_and_stop_scaling_out() -> None:
    short = "no node takes more workers (0/3 nodes are available: 3 Insufficient cpu)"
    for started in (True, False):
        pods = [pod(READY), pod(UNSCHEDULABLE, name="thumbnails-new-2")]
        assert said(obstacle(deployment(), pods, started=started)) == (Reason.UNSCHEDULABLE, short)
    assert said(trouble(deployment(), [pod(UNSCHEDULABLE)])) == (
        Reason.UNSCHEDULABLE,
        (
            f"No worker is ready: {short}. Lower spec.worker.resources, correct what spec.worker.podTemplate asks of "
            "nodes, or add nodes."
        ),
    )


def test_pods_that_the_api_server_refuses_otherwise_are_the_mistake_of_a_version_that_never_started() -> None:
    there = deployment(refusal=VIOLATION)
    what = 'FailedCreate: violates PodSecurity "restricted:latest": host namespaces'
    assert said(trouble(there, [])) == (Reason.WORKERS_FAILING, f"No worker is ready: {what}. Correct spec.worker.")
    short = f"no worker of this version has started ({what})"
    assert said(obstacle(there, [], started=False)) == (Reason.WORKERS_FAILING, short)
    assert obstacle(there, [], started=True) is None


def test_what_only_a_change_of_the_spec_mends_is_told_first() -> None:
    there, pods = deployment(refusal=QUOTA), [pod(UNSCHEDULABLE), pod(waiting("ImagePullBackOff"), name="b")]
    told = [obstacle(there, pods, started=False), obstacle(there, pods, started=True), trouble(there, pods)]
    expected = [Reason.WORKERS_FAILING, Reason.QUOTA_EXCEEDED, Reason.WORKERS_FAILING]
    assert [fault and fault.reason for fault in told] == expected


@pytest.mark.parametrize(
    "status",
    [
        {},
        waiting("ContainerCreating"),
        waiting("PodInitializing"),
        container({"running": {}}),
        container({"terminated": {"exitCode": 0}}, restartCount=1),
        READY,
    ],
)
def test_a_worker_that_starts_or_runs_is_no_trouble(status: dict[str, Any]) -> None:
    assert trouble(deployment(), [pod(status)]) is None
    assert obstacle(deployment(), [pod(status)], started=False) is None


def test_workers_that_fail_beside_ready_ones_of_the_same_version_are_no_fault() -> None:
    pods = [pod(waiting("ImagePullBackOff"), name="thumbnails-new-1"), pod(READY, name="thumbnails-new-2")]
    assert trouble(deployment(), pods) is None
    assert obstacle(deployment(), pods, started=False) is None


def test_a_version_that_once_started_is_told_when_it_fails_but_stops_nothing() -> None:
    pods = [pod(waiting("CrashLoopBackOff"))]
    assert trouble(deployment(), pods) is not None
    assert obstacle(deployment(), pods, started=True) is None


def test_ready_workers_of_an_older_version_do_not_hide_that_the_new_one_fails() -> None:
    pods = [pod(READY, digest="old", name="thumbnails-old-1"), pod(waiting("ImagePullBackOff"))]
    assert trouble(deployment(), pods) is not None
    assert obstacle(deployment(), pods, started=False) is not None


def test_failing_workers_of_an_older_version_say_nothing_of_the_new_one() -> None:
    """A corrected image is not held back by those that still wait for the wrong one."""
    pods = [pod(waiting("ImagePullBackOff"), digest="old"), pod(UNSCHEDULABLE, digest="old", name="b")]
    assert trouble(deployment(), pods) is None
    assert obstacle(deployment(), pods, started=False) is None


def test_workers_that_are_going_are_no_trouble() -> None:
    going = pod(waiting("ImagePullBackOff"), deletionTimestamp="2026-01-01T00:00:00Z")
    ended = pod({"phase": "Failed", **waiting("ImagePullBackOff")})
    for each in (going, ended):
        assert trouble(deployment(), [each]) is None
        assert obstacle(deployment(), [each], started=False) is None


def test_without_a_deployment_or_at_zero_nothing_is_expected_to_start() -> None:
    pods = [pod(waiting("ImagePullBackOff"))]
    assert trouble(None, pods) is None
    assert trouble(deployment(replicas=0), pods) is None
    assert obstacle(deployment(replicas=0, refusal=QUOTA), pods, started=False) is None


def test_the_message_is_the_same_whichever_pods_are_in_trouble() -> None:
    pods = [pod(waiting("CreateContainerConfigError", f"m{n}"), name=f"thumbnails-new-{n}") for n in range(3)]
    renamed = [pod(waiting("CreateContainerConfigError", f"m{n}"), name=f"thumbnails-new-{9 - n}") for n in range(3)]
    expected = said(trouble(deployment(), pods))
    assert expected is not None
    assert said(trouble(deployment(), pods[::-1])) == said(trouble(deployment(), renamed)) == expected


def test_attempts_to_pull_an_image_do_not_make_the_message_come_and_go() -> None:
    states = [waiting("ErrImagePull", "not found"), waiting("ImagePullBackOff", "Back-off pulling")]
    first, second = (said(trouble(deployment(), [pod(status)])) for status in states)
    assert first == second
