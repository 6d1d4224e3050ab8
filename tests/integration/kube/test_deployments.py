import asyncio
from typing import Any

import pytest

from taskqueue_operator.kube.cluster import KubernetesCluster
from taskqueue_operator.resource.faults import Conflict, Fault
from taskqueue_operator.resource.names import Key
from taskqueue_operator.resource.taskqueue import TaskQueue
from taskqueue_operator.workers.api_objects import Deployment, Pod
from taskqueue_operator.workers.deployment import deployment
from tests.cluster.control_plane import ControlPlane

from .conftest import Create


def live(body: dict[str, Any]) -> tuple[int, str]:
    """The precondition of every later write."""
    return body["spec"]["replicas"], body["metadata"]["resourceVersion"]


def reapply(taskqueue: TaskQueue, body: dict[str, Any]) -> dict[str, Any]:
    replicas, version = live(body)
    return deployment(taskqueue, replicas=replicas, resource_version=version)


def env(body: dict[str, Any]) -> list[str]:
    return [item["name"] for item in body["spec"]["template"]["spec"]["containers"][0]["env"]]


async def settled(cluster: KubernetesCluster, key: Key) -> Deployment:
    """The Deployment once its controller has seen it and made its pods."""
    async with asyncio.timeout(120):
        while True:
            body = await cluster.deployment(key)
            assert body is not None
            seen = Deployment.parse(body)
            if seen.observed_generation == seen.generation and seen.current_replicas == seen.replicas:
                return seen
            await asyncio.sleep(0.1)


async def test_an_apply_creates_with_replicas(cluster: KubernetesCluster, create: Create) -> None:
    taskqueue = create()
    assert await cluster.deployment(taskqueue.key) is None
    made = Deployment.parse(await cluster.apply_deployment(deployment(taskqueue, replicas=3)))
    assert made.replicas == 3
    assert (made.owner_kind, made.owner_name, made.owner_uid) == ("TaskQueue", "thumbnails", taskqueue.uid)
    seen = await settled(cluster, taskqueue.key)
    assert seen.current_replicas == 3
    pods = [Pod.parse(body) for body in await cluster.list_pods()]
    assert [pod.taskqueue for pod in pods] == ["thumbnails"] * 3


async def test_an_apply_keeps_the_live_replicas_and_removes_a_removed_variable(
    cluster: KubernetesCluster, create: Create
) -> None:
    taskqueue = create(env=[{"name": "KEEP"}, {"name": "DROP"}])
    made = Deployment.parse(await cluster.apply_deployment(deployment(taskqueue, replicas=0)))
    scaled = await cluster.scale(taskqueue.key, replicas=7, taskqueue=taskqueue.key.name, generation=made.generation)
    assert scaled["spec"]["replicas"] == 7
    assert "DROP" in env(scaled)
    edited = create(env=[{"name": "KEEP"}])
    for _ in range(3):
        try:
            applied = await cluster.apply_deployment(reapply(edited, scaled))
            break
        except Conflict:  # its controller wrote the status in between
            scaled = await cluster.deployment(taskqueue.key) or {}
    assert applied["spec"]["replicas"] == 7
    assert "KEEP" in env(applied)
    assert "DROP" not in env(applied)


async def test_an_equal_apply_writes_nothing(cluster: KubernetesCluster, create: Create) -> None:
    taskqueue = create()
    await cluster.apply_deployment(deployment(taskqueue, replicas=0))
    before = await settled(cluster, taskqueue.key)
    manifest = deployment(taskqueue, replicas=0, resource_version=before.resource_version)
    after = Deployment.parse(await cluster.apply_deployment(manifest))
    assert after.resource_version == before.resource_version


async def test_an_apply_based_on_an_older_state_is_a_conflict(cluster: KubernetesCluster, create: Create) -> None:
    taskqueue = create()
    old = await cluster.apply_deployment(deployment(taskqueue, replicas=1))
    await cluster.scale(taskqueue.key, replicas=9, taskqueue=taskqueue.key.name, generation=1)
    with pytest.raises(Conflict):
        await cluster.apply_deployment(reapply(taskqueue, old))
    now = await cluster.deployment(taskqueue.key)
    assert now is not None
    assert now["spec"]["replicas"] == 9


async def test_a_deployment_of_another_manager_is_not_taken_over(
    cluster: KubernetesCluster, create: Create, control_plane: ControlPlane, namespace: str
) -> None:
    taskqueue = create()
    control_plane.kubectl("-n", namespace, "create", "deployment", "thumbnails", "--image=theirs:1", "--replicas=0")
    with pytest.raises(Conflict):
        await cluster.apply_deployment(deployment(taskqueue, replicas=3))
    theirs = await cluster.deployment(taskqueue.key)
    assert theirs is not None
    assert theirs["spec"]["template"]["spec"]["containers"][0]["image"] == "theirs:1"


async def test_an_apply_that_expects_no_deployment_does_not_reset_the_replicas(
    cluster: KubernetesCluster, create: Create
) -> None:
    taskqueue = create()
    made = Deployment.parse(await cluster.apply_deployment(deployment(taskqueue, replicas=0)))
    scaled = await cluster.scale(taskqueue.key, replicas=7, taskqueue=taskqueue.key.name, generation=made.generation)
    with pytest.raises(Conflict):
        await cluster.apply_deployment(deployment(taskqueue, replicas=0))
    now = await cluster.deployment(taskqueue.key)
    assert now is not None
    assert now["spec"] == scaled["spec"]


async def test_null_in_a_pod_template_survives_the_api_server(cluster: KubernetesCluster, create: Create) -> None:
    taskqueue = create(podTemplate={"spec": {"containers": [{"name": "worker", "startupProbe": None}]}})
    made = await cluster.apply_deployment(deployment(taskqueue, replicas=0))
    container = made["spec"]["template"]["spec"]["containers"][0]
    assert "livenessProbe" in container
    assert "startupProbe" not in container


async def test_a_scale_based_on_an_older_generation_is_a_conflict(cluster: KubernetesCluster, create: Create) -> None:
    taskqueue = create()
    made = Deployment.parse(await cluster.apply_deployment(deployment(taskqueue, replicas=1)))
    await cluster.scale(taskqueue.key, replicas=4, taskqueue=taskqueue.key.name, generation=made.generation)
    with pytest.raises(Conflict):
        await cluster.scale(taskqueue.key, replicas=0, taskqueue=taskqueue.key.name, generation=made.generation)
    now = await cluster.deployment(taskqueue.key)
    assert now is not None
    assert now["spec"]["replicas"] == 4


async def test_a_scale_of_a_missing_deployment_is_a_conflict(cluster: KubernetesCluster, namespace: str) -> None:
    with pytest.raises(Conflict):
        await cluster.scale(Key(namespace, "missing"), replicas=1, taskqueue="missing", generation=1)


async def test_an_invalid_scale_is_a_fault_and_not_a_conflict(cluster: KubernetesCluster, create: Create) -> None:
    """Else it would be read and tried again for ever."""
    taskqueue = create()
    await cluster.apply_deployment(deployment(taskqueue, replicas=1))
    with pytest.raises(Fault, match="must be greater than or equal to 0"):
        await cluster.scale(taskqueue.key, replicas=-1, taskqueue=taskqueue.key.name, generation=1)


async def test_a_status_change_does_not_prevent_a_scale(cluster: KubernetesCluster, create: Create) -> None:
    taskqueue = create()
    made = Deployment.parse(await cluster.apply_deployment(deployment(taskqueue, replicas=1)))
    seen = await settled(cluster, taskqueue.key)
    assert seen.resource_version != made.resource_version
    assert seen.generation == made.generation
    scaled = await cluster.scale(taskqueue.key, replicas=2, taskqueue=taskqueue.key.name, generation=made.generation)
    assert scaled["spec"]["replicas"] == 2


async def test_the_operator_is_the_only_manager_of_the_spec(cluster: KubernetesCluster, create: Create) -> None:
    taskqueue = create(env=[{"name": "A"}])
    await cluster.apply_deployment(deployment(taskqueue, replicas=1))
    await cluster.scale(taskqueue.key, replicas=2, taskqueue=taskqueue.key.name, generation=1)
    await settled(cluster, taskqueue.key)
    body = await cluster.deployment(taskqueue.key)
    assert body is not None
    await cluster.apply_deployment(reapply(create(env=[]), body))
    body = await cluster.deployment(taskqueue.key)
    assert body is not None
    entries = [item for item in body["metadata"]["managedFields"] if item.get("subresource") != "status"]
    managers = {(item["manager"], item["operation"]): item["fieldsV1"] for item in entries}
    scaling: dict[str, Any] = {"f:spec": {"f:replicas": {}}}
    # The annotation deployment.kubernetes.io/revision is the controller's, and is written along with the status.
    assert set(managers) == {("taskqueue-operator", "Apply"), ("taskqueue-operator", "Update")}
    assert managers["taskqueue-operator", "Update"] == scaling


async def test_only_worker_deployments_of_the_watched_namespaces_are_listed(
    cluster: KubernetesCluster, create: Create, control_plane: ControlPlane, namespace: str
) -> None:
    control_plane.kubectl("-n", namespace, "create", "deployment", "theirs", "--image=theirs:1", "--replicas=0")
    await cluster.apply_deployment(deployment(create(), replicas=0))
    assert [item["metadata"]["name"] for item in await cluster.list_deployments()] == ["thumbnails"]
    elsewhere = KubernetesCluster(cluster._api._client, namespaces=["default"])
    assert await elsewhere.list_deployments() == []
    everywhere = KubernetesCluster(cluster._api._client)
    found = [item["metadata"]["namespace"] for item in await everywhere.list_deployments()]
    assert namespace in found
