"""The drain token of a Deployment, and writes that are conditional on it."""

import asyncio

import pytest

from taskqueue_operator.kube.cluster import KubernetesCluster
from taskqueue_operator.resource.faults import Conflict
from taskqueue_operator.resource.names import LABEL_NAME, Key
from taskqueue_operator.workers.api_objects import Deployment
from taskqueue_operator.workers.deployment import deployment
from tests.cluster.control_plane import ControlPlane

from .conftest import Create


async def read(cluster: KubernetesCluster, key: Key) -> Deployment:
    body = await cluster.deployment(key)
    assert body is not None
    return Deployment.parse(body)


async def settled(cluster: KubernetesCluster, key: Key) -> Deployment:
    """Return the Deployment when its controller has processed it."""
    async with asyncio.timeout(120):
        while True:
            before = await read(cluster, key)
            await asyncio.sleep(0.5)
            if before.current_replicas == 5 and before.observed and before == await read(cluster, key):
                return before


@pytest.fixture
async def five(cluster: KubernetesCluster, create: Create) -> Deployment:
    """A Deployment of five workers."""
    return await settled(
        cluster, Deployment.parse(await cluster.apply_deployment(deployment(create(), replicas=5))).key
    )


async def test_writing_and_removing_the_drain_token_increases_the_generation(
    cluster: KubernetesCluster, five: Deployment
) -> None:
    """The generation of a Deployment counts changes of annotations too."""
    marked = Deployment.parse(
        await cluster.set_drain_token(five.key, "7.1", taskqueue=five.key.name, generation=five.generation)
    )
    assert (marked.drain_token, marked.generation) == ("7.1", five.generation + 1)
    marked = await settled(cluster, five.key)
    bare = Deployment.parse(
        await cluster.set_drain_token(five.key, "", taskqueue=five.key.name, generation=marked.generation)
    )
    assert (bare.drain_token, bare.generation) == ("", marked.generation + 1)


async def test_a_drain_token_based_on_an_older_generation_is_a_conflict(
    cluster: KubernetesCluster, five: Deployment
) -> None:
    await cluster.set_drain_token(five.key, "8.1", taskqueue=five.key.name, generation=five.generation)
    with pytest.raises(Conflict):
        await cluster.set_drain_token(five.key, "7.2", taskqueue=five.key.name, generation=five.generation)
    assert (await read(cluster, five.key)).drain_token == "8.1"


@pytest.mark.parametrize("found", ["8.1", "7.2", ""])
async def test_a_scale_in_with_another_drain_token_is_a_conflict(
    cluster: KubernetesCluster, five: Deployment, found: str
) -> None:
    if found:
        await cluster.set_drain_token(five.key, found, taskqueue=five.key.name, generation=five.generation)
    generation = (await read(cluster, five.key)).generation
    with pytest.raises(Conflict):
        await cluster.scale(five.key, replicas=2, taskqueue=five.key.name, generation=generation, drain_token="7.1")
    assert (await read(cluster, five.key)).replicas == 5


async def test_a_scale_in_with_the_current_drain_token_is_applied_once(
    cluster: KubernetesCluster, five: Deployment
) -> None:
    marked = Deployment.parse(
        await cluster.set_drain_token(five.key, "7.1", taskqueue=five.key.name, generation=five.generation)
    )
    await cluster.scale(five.key, replicas=2, taskqueue=five.key.name, generation=marked.generation, drain_token="7.1")
    with pytest.raises(Conflict):
        await cluster.scale(
            five.key, replicas=1, taskqueue=five.key.name, generation=marked.generation, drain_token="7.1"
        )
    assert (await read(cluster, five.key)).replicas == 2


async def test_a_write_without_the_label_of_the_taskqueue_is_a_conflict(
    control_plane: ControlPlane, cluster: KubernetesCluster, five: Deployment
) -> None:
    """A change of a label does not increase the generation."""
    name = five.key.name
    for label in (f"{LABEL_NAME}=mails", f"{LABEL_NAME}-"):
        control_plane.kubectl("label", "-n", five.key.namespace, "deployment", name, label, "--overwrite")
        assert (await read(cluster, five.key)).generation == five.generation
        with pytest.raises(Conflict):
            await cluster.scale(five.key, replicas=6, taskqueue=name, generation=five.generation)
        with pytest.raises(Conflict):
            await cluster.set_drain_token(five.key, "7.1", taskqueue=name, generation=five.generation)
    present = await read(cluster, five.key)
    assert (present.replicas, present.drain_token) == (5, "")


async def test_an_apply_keeps_the_drain_token(cluster: KubernetesCluster, create: Create, five: Deployment) -> None:
    await cluster.set_drain_token(five.key, "7.1", taskqueue=five.key.name, generation=five.generation)
    marked = await settled(cluster, five.key)
    updated = deployment(create(image="acme/app:1.5"), replicas=5, resource_version=marked.resource_version)
    assert Deployment.parse(await cluster.apply_deployment(updated)).drain_token == "7.1"
