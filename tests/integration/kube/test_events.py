import json

from taskqueue_operator.kube.cluster import KubernetesCluster
from taskqueue_operator.resource.taskqueue import TaskQueue
from tests.cluster.control_plane import ControlPlane

from .conftest import Create


def regarding(taskqueue: TaskQueue) -> dict[str, str]:
    return {
        "apiVersion": "taskqueue.dev/v1alpha1",
        "kind": "TaskQueue",
        "namespace": taskqueue.key.namespace,
        "name": taskqueue.key.name,
        "uid": taskqueue.uid,
    }


async def test_kubectl_describe_shows_an_event(
    cluster: KubernetesCluster, create: Create, control_plane: ControlPlane, namespace: str
) -> None:
    made = create()
    await cluster.event(regarding(made), reason="SecretNotFound", message="Secret x not found.", warning=True)
    described = control_plane.kubectl("-n", namespace, "describe", "taskqueue", "thumbnails")
    (line,) = [line.split() for line in described.splitlines() if "SecretNotFound" in line]
    assert line[0] == "Warning"
    assert line[3:] == ["taskqueue-operator", "Secret", "x", "not", "found."]


async def test_two_equal_events_are_both_posted(
    cluster: KubernetesCluster, create: Create, control_plane: ControlPlane, namespace: str
) -> None:
    made = create()
    for _ in range(2):
        await cluster.event(regarding(made), reason="Ready", message="All is well.", warning=False)
    found = json.loads(control_plane.kubectl("-n", namespace, "get", "events", "-o", "json"))["items"]
    assert [(event["type"], event["reason"]) for event in found if event["reason"] == "Ready"] == [
        ("Normal", "Ready")
    ] * 2


async def test_a_long_message_of_an_event_is_truncated(
    cluster: KubernetesCluster, create: Create, control_plane: ControlPlane, namespace: str
) -> None:
    made = create("a" + "b" * 62)
    await cluster.event(regarding(made), reason="Long", message="ü" * 5000, warning=False)
    found = json.loads(control_plane.kubectl("-n", namespace, "get", "events", "-o", "json"))["items"]
    (message,) = [event["message"] for event in found if event["reason"] == "Long"]
    assert message == "ü" * 1023 + "…"
