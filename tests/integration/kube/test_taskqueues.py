from datetime import UTC, datetime

import pytest

from taskqueue_operator.kube import client
from taskqueue_operator.kube.cluster import KubernetesCluster
from taskqueue_operator.resource.faults import Conflict
from taskqueue_operator.resource.names import FINALIZER, Key
from tests.cluster.control_plane import ControlPlane

from .conftest import Create


def condition(kind: str) -> dict[str, object]:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "type": kind,
        "status": "True",
        "reason": "Ready",
        "message": "All is well.",
        "observedGeneration": 1,
        "lastTransitionTime": now,
    }


async def test_a_finalizer_is_added_and_removed(cluster: KubernetesCluster, create: Create) -> None:
    made = create()
    body = await cluster.set_finalizers(made.key, [FINALIZER], resource_version=made.resource_version)
    assert body is not None
    assert body["metadata"]["finalizers"] == [FINALIZER]
    body = await cluster.set_finalizers(made.key, [], resource_version=body["metadata"]["resourceVersion"])
    assert body is not None
    assert "finalizers" not in body["metadata"]


async def test_a_finalizer_does_not_change_the_generation(cluster: KubernetesCluster, create: Create) -> None:
    made = create()
    body = await cluster.set_finalizers(made.key, [FINALIZER], resource_version=made.resource_version)
    assert body is not None
    assert body["metadata"]["generation"] == made.generation


async def test_finalizers_based_on_an_older_state_are_a_conflict(cluster: KubernetesCluster, create: Create) -> None:
    made = create()
    await cluster.set_finalizers(made.key, ["example.com/theirs"], resource_version=made.resource_version)
    with pytest.raises(Conflict):
        await cluster.set_finalizers(made.key, [FINALIZER], resource_version=made.resource_version)
    bodies = await cluster.list_taskqueues()
    assert bodies[0]["metadata"]["finalizers"] == ["example.com/theirs"]
    version = bodies[0]["metadata"]["resourceVersion"]
    await cluster.set_finalizers(made.key, [], resource_version=version)  # or its namespace would never go


async def test_a_deleted_taskqueue_disappears_with_its_last_finalizer(
    cluster: KubernetesCluster, create: Create, control_plane: ControlPlane, namespace: str
) -> None:
    made = create()
    await cluster.set_finalizers(made.key, [FINALIZER], resource_version=made.resource_version)
    control_plane.kubectl("-n", namespace, "delete", "taskqueue", "thumbnails", "--wait=false")
    (body,) = await cluster.list_taskqueues()
    assert "deletionTimestamp" in body["metadata"]
    version = body["metadata"]["resourceVersion"]
    await cluster.set_finalizers(made.key, [], resource_version=version)
    assert await cluster.list_taskqueues() == []
    assert await cluster.set_finalizers(made.key, [], resource_version=version) is None


async def test_a_status_replaces_the_previous_one(cluster: KubernetesCluster, create: Create) -> None:
    made = create()
    first = {"observedGeneration": 1, "replicas": 3, "conditions": [condition("Ready"), condition("Reconciling")]}
    body = await cluster.set_status(made.key, first)
    assert body is not None
    assert [condition["type"] for condition in body["status"]["conditions"]] == ["Ready", "Reconciling"]
    body = await cluster.set_status(made.key, {"observedGeneration": 1, "conditions": [condition("Ready")]})
    assert body is not None
    assert [condition["type"] for condition in body["status"]["conditions"]] == ["Ready"]
    assert "replicas" not in body["status"]
    assert body["metadata"]["generation"] == made.generation


async def test_an_equal_status_writes_nothing(cluster: KubernetesCluster, create: Create) -> None:
    made = create()
    status = {"observedGeneration": 1, "conditions": [condition("Ready")]}
    first = await cluster.set_status(made.key, status)
    second = await cluster.set_status(made.key, status)
    assert first is not None
    assert second is not None
    assert first["metadata"]["resourceVersion"] == second["metadata"]["resourceVersion"]


async def test_a_status_never_changes_the_spec(cluster: KubernetesCluster, create: Create) -> None:
    made = create()
    body = await cluster.set_status(made.key, {"replicas": 1})
    assert body is not None
    assert body["spec"]["worker"]["image"] == made.spec.worker.image


async def test_the_status_of_a_missing_taskqueue_is_none(cluster: KubernetesCluster, namespace: str) -> None:
    assert await cluster.set_status(Key(namespace, "missing"), {"replicas": 1}) is None


async def test_a_list_of_several_pages_is_complete(
    cluster: KubernetesCluster, create: Create, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "LIST_PAGE_OBJECTS", 2)
    names = [create(f"tq-{number}").key.name for number in range(5)]
    assert [body["metadata"]["name"] for body in await cluster.list_taskqueues()] == names
