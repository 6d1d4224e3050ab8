from typing import Any

import pytest

from taskqueue_operator.resource.faults import Reason
from taskqueue_operator.resource.names import Key
from taskqueue_operator.workers.observed import Deployment, Pod
from taskqueue_operator.workers.trouble import trouble

KEY = Key("media", "thumbnails")


def deployment(replicas: int = 2) -> Deployment:
    return Deployment.parse(
        {
            "metadata": {"namespace": "media", "name": "thumbnails", "uid": "d", "resourceVersion": "1"},
            "spec": {"replicas": replicas},
        }
    )


def pod(status: dict[str, Any], *, template: str = "new", name: str = "thumbnails-new-1", **metadata: object) -> Pod:
    labels = {"taskqueue.dev/name": "thumbnails", "pod-template-hash": template}
    return Pod.parse(
        {
            "metadata": {"namespace": "media", "name": name, "resourceVersion": "1", "labels": labels} | metadata,
            "status": status,
        }
    )


def container(state: dict[str, Any], **fields: object) -> dict[str, Any]:
    return {"containerStatuses": [{"name": "worker", "image": "acme/app:1.5", "state": state} | fields]}


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return container({"waiting": {"reason": reason, "message": message}})


CRASHED = {"terminated": {"exitCode": 1, "reason": "Error"}}
UNSCHEDULABLE = {
    "conditions": [
        {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": "0/3 nodes are available: 3 Insufficient cpu.",
        }
    ]
}
READY = {"conditions": [{"type": "Ready", "status": "True"}]}


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (
            waiting("ImagePullBackOff"),
            (
                "No worker has started: ImagePullBackOff of acme/app:1.5. Correct spec.worker.image, or name the "
                "registry's credentials in spec.worker.podTemplate.spec.imagePullSecrets."
            ),
        ),
        (
            container({"waiting": {"reason": "CrashLoopBackOff"}}, lastState=CRASHED, restartCount=3),
            (
                "No worker has started: its container worker ends again and again (exit code 1). "
                "See: kubectl -n media logs -l taskqueue.dev/name=thumbnails -c worker --tail=50"
            ),
        ),
        (
            container(
                {"running": {}}, lastState={"terminated": {"exitCode": 137, "reason": "OOMKilled"}}, restartCount=1
            ),
            (
                "No worker has started: its container worker ends again and again (OOMKilled, exit code 137). "
                "See: kubectl -n media logs -l taskqueue.dev/name=thumbnails -c worker --tail=50"
            ),
        ),
        (
            waiting("CreateContainerConfigError", 'secret "keys" not found'),
            (
                'No worker has started: CreateContainerConfigError: secret "keys" not found. '
                "Correct spec.worker, or create what is missing."
            ),
        ),
        (
            UNSCHEDULABLE,
            (
                "No worker has started: no node takes it: 0/3 nodes are available: 3 Insufficient cpu. "
                "Lower spec.worker.resources, or add nodes."
            ),
        ),
        (
            {
                "initContainerStatuses": [
                    {"name": "migrate", "image": "acme/db:1", "state": {"waiting": {"reason": "ErrImagePull"}}}
                ]
            },
            (
                "No worker has started: ErrImagePull of acme/db:1. Correct the image of container migrate in "
                "spec.worker.podTemplate, or name the registry's credentials in "
                "spec.worker.podTemplate.spec.imagePullSecrets."
            ),
        ),
    ],
    ids=["image", "crash loop", "between two crashes", "config", "unschedulable", "init container"],
)
def test_the_message_leads_to_the_mistake(status: dict[str, Any], message: str) -> None:
    fault = trouble(KEY, deployment(), [pod(status)])
    assert fault is not None
    assert (fault.reason, fault.message) == (Reason.WORKERS_FAILING, message)


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
    assert trouble(KEY, deployment(), [pod(status)]) is None


def test_pods_in_trouble_beside_ready_ones_of_the_same_template_are_no_fault() -> None:
    pods = [pod(UNSCHEDULABLE, name="thumbnails-new-1"), pod(READY, name="thumbnails-new-2")]
    assert trouble(KEY, deployment(), pods) is None


def test_ready_pods_of_an_older_template_do_not_hide_that_the_new_one_fails() -> None:
    pods = [pod(READY, template="old", name="thumbnails-old-1"), pod(waiting("ImagePullBackOff"))]
    assert trouble(KEY, deployment(), pods) is not None


def test_pods_that_are_going_are_no_trouble() -> None:
    going = pod(waiting("ImagePullBackOff"), deletionTimestamp="2026-01-01T00:00:00Z")
    assert trouble(KEY, deployment(), [going]) is None
    assert trouble(KEY, deployment(), [pod({"phase": "Failed", **waiting("ImagePullBackOff")})]) is None


def test_without_a_deployment_or_at_zero_nothing_is_expected_to_start() -> None:
    pods = [pod(waiting("ImagePullBackOff"))]
    assert trouble(KEY, None, pods) is None
    assert trouble(KEY, deployment(replicas=0), pods) is None


def test_the_message_does_not_change_with_the_order_of_the_pods() -> None:
    pods = [pod(waiting("CreateContainerConfigError", f"m{n}"), name=f"thumbnails-new-{n}") for n in range(3)]
    forth, back = trouble(KEY, deployment(), pods), trouble(KEY, deployment(), pods[::-1])
    assert forth is not None
    assert back is not None
    assert forth.message == back.message
