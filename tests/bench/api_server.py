"""What the API server has to tell: what it was asked to write, and when a Deployment gets workers."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from kubernetes.aio.client import ApiClient, AppsV1Api
from kubernetes.aio.config import new_client_from_config
from kubernetes.aio.watch import Watch
from prometheus_client.parser import text_string_to_metric_families

from tests.cluster.lane import Cluster

_REQUESTS = "apiserver_request_total"
_WRITING = frozenset({"POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION"})
_KINDS = frozenset({"taskqueues", "deployments", "events"})


def writes(cluster: Cluster) -> float:
    """Count all requests ever that were to write what the operator may write.

    By whomever, and also those that changed nothing, of which no resourceVersion tells.
    """
    lines = cluster.kubectl("get", "--raw=/metrics").splitlines()
    families = text_string_to_metric_families("\n".join(line for line in lines if line.startswith(_REQUESTS)))
    samples = (sample for family in families for sample in family.samples)
    return sum(each.value for each in samples if each.labels["verb"] in _WRITING and each.labels["resource"] in _KINDS)


class Wakes:
    """The moments at which Deployments were given their first worker."""

    def __init__(self) -> None:
        self._expected: dict[str, asyncio.Future[float]] = {}

    def expect(self, name: str) -> asyncio.Future[float]:
        """Promise the moment, by the monotonic clock, at which this process hears of it; ask before it happens."""
        self._expected[name] = asyncio.get_running_loop().create_future()
        return self._expected[name]

    def hear(self, deployment: dict[str, Any]) -> None:
        """Take note of a Deployment that was made or changed."""
        now = time.monotonic()
        if deployment["spec"]["replicas"] and (expected := self._expected.pop(deployment["metadata"]["name"], None)):
            expected.set_result(now)


@asynccontextmanager
async def watching(kubeconfig: Path, namespace: str) -> AsyncIterator[Wakes]:
    """Watch the Deployments of a namespace."""
    wakes = Wakes()
    client = await new_client_from_config(str(kubeconfig))  # type: ignore[no-untyped-call]  # the library has no types here
    async with client, asyncio.TaskGroup() as group:
        listed = await AppsV1Api(client).list_namespaced_deployment(namespace)
        assert listed.metadata is not None
        assert listed.metadata.resource_version is not None
        listening = group.create_task(_listen(client, namespace, listed.metadata.resource_version, wakes))
        yield wakes
        listening.cancel()


async def _listen(client: ApiClient, namespace: str, version: str, wakes: Wakes) -> None:
    # Plain JSON: to make models of it would take longer than some of what is measured.
    async with Watch(return_type="object") as watch:  # type: ignore[no-untyped-call]  # likewise
        deployments = AppsV1Api(client).list_namespaced_deployment
        async for event in watch.stream(deployments, namespace, resource_version=version):
            wakes.hear(event["object"])
