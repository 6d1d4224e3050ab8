"""What stands on a Deployment while workers are drained, and what is written on its condition alone."""

import asyncio

import pytest

from taskqueue_operator.kube.cluster import KubernetesCluster
from taskqueue_operator.resource.faults import Conflict
from taskqueue_operator.resource.names import Key
from taskqueue_operator.workers.api_objects import Deployment
from taskqueue_operator.workers.deployment import deployment

from .conftest import Create


async def there(cluster: KubernetesCluster, key: Key) -> Deployment:
    body = await cluster.deployment(key)
    assert body is not None
    return Deployment.parse(body)


async def settled(cluster: KubernetesCluster, key: Key) -> Deployment:
    """Wait until its controller is done with it."""
    async with asyncio.timeout(60):
        while True:
            before = await there(cluster, key)
            await asyncio.sleep(0.5)
            if before.current_replicas == 5 and before.observed and before == await there(cluster, key):
                return before


@pytest.fixture
async def five(cluster: KubernetesCluster, create: Create) -> Deployment:
    """A Deployment of five workers."""
    return await settled(
        cluster, Deployment.parse(await cluster.apply_deployment(deployment(create(), replicas=5))).key
    )


async def test_the_annotation_comes_and_goes_and_moves_the_generation(
    cluster: KubernetesCluster, five: Deployment
) -> None:
    """Of Deployments, annotations count too."""
    marked = Deployment.parse(await cluster.set_drain_token(five.key, "7.1", generation=five.generation))
    assert (marked.drain_token, marked.generation) == ("7.1", five.generation + 1)
    marked = await settled(cluster, five.key)
    bare = Deployment.parse(await cluster.set_drain_token(five.key, "", generation=marked.generation))
    assert (bare.drain_token, bare.generation) == ("", marked.generation + 1)


async def test_an_annotation_decided_on_an_older_state_is_a_conflict(
    cluster: KubernetesCluster, five: Deployment
) -> None:
    await cluster.set_drain_token(five.key, "8.1", generation=five.generation)
    with pytest.raises(Conflict):
        await cluster.set_drain_token(five.key, "7.2", generation=five.generation)
    assert (await there(cluster, five.key)).drain_token == "8.1"


@pytest.mark.parametrize("found", ["8.1", "7.2", ""])
async def test_a_lowering_under_another_annotation_is_a_conflict(
    cluster: KubernetesCluster, five: Deployment, found: str
) -> None:
    if found:
        await cluster.set_drain_token(five.key, found, generation=five.generation)
    generation = (await there(cluster, five.key)).generation
    with pytest.raises(Conflict):
        await cluster.scale(five.key, replicas=2, generation=generation, drain_token="7.1")
    assert (await there(cluster, five.key)).replicas == 5


async def test_a_lowering_under_its_own_annotation_is_carried_out_once(
    cluster: KubernetesCluster, five: Deployment
) -> None:
    marked = Deployment.parse(await cluster.set_drain_token(five.key, "7.1", generation=five.generation))
    await cluster.scale(five.key, replicas=2, generation=marked.generation, drain_token="7.1")
    with pytest.raises(Conflict):
        await cluster.scale(five.key, replicas=1, generation=marked.generation, drain_token="7.1")
    assert (await there(cluster, five.key)).replicas == 2


async def test_an_apply_leaves_the_annotation_as_it_is(
    cluster: KubernetesCluster, create: Create, five: Deployment
) -> None:
    await cluster.set_drain_token(five.key, "7.1", generation=five.generation)
    marked = await settled(cluster, five.key)
    anew = deployment(create(image="acme/app:1.5"), replicas=5, resource_version=marked.resource_version)
    assert Deployment.parse(await cluster.apply_deployment(anew)).drain_token == "7.1"
