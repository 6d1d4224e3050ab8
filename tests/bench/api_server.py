"""What the API server has to tell: what it was asked to write, and when a Deployment gets workers."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from kubernetes.aio.client import ApiClient, AppsV1Api
from kubernetes.aio.config import new_client_from_config
from kubernetes.aio.watch import Watch
from prometheus_client.parser import text_string_to_metric_families

from tests.cluster.lane import Cluster

_REQUESTS = "apiserver_request_total"
_WRITING = frozenset({"POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION"})
_OURS = frozenset({("taskqueues", ""), ("taskqueues", "status"), ("deployments", ""), ("deployments", "scale")})
"""Not deployments/status, which other controllers write, also that of the operator's own Deployment."""


@asynccontextmanager
async def administrator(cluster: Cluster) -> AsyncIterator[ApiClient]:
    """Lend a client that may do everything."""
    async with await new_client_from_config(str(cluster.kubeconfig)) as client:  # type: ignore[no-untyped-call]  # the library has no types here
        yield client


def writes(cluster: Cluster, namespace: str) -> float:
    """Count what was ever asked to be written of what the operator may write, by whomever.

    Requests about TaskQueues and Deployments are counted by the API server itself, also those that changed nothing,
    of which no resourceVersion tells. Events are counted in `namespace` alone: those about the operator's own pod
    are the kubelet's.
    """
    lines = cluster.kubectl("get", "--raw=/metrics").splitlines()
    families = text_string_to_metric_families("\n".join(line for line in lines if line.startswith(_REQUESTS)))
    samples = (sample for family in families for sample in family.samples)
    asked = sum(sample.value for sample in samples if _is_ours(sample.labels))
    return asked + len(cluster.kubectl("get", "events", f"--namespace={namespace}", "--output=name").split())


def _is_ours(request: Mapping[str, str]) -> bool:
    return request["verb"] in _WRITING and (request["resource"], request["subresource"]) in _OURS


class _Awaited(NamedTuple):
    replicas: int
    moment: asyncio.Future[float]


class Scalings:
    """The moments at which Deployments were asked for workers."""

    def __init__(self) -> None:
        self._awaited: dict[str, _Awaited] = {}

    def expect(self, name: str, replicas: int) -> asyncio.Future[float]:
        """Promise the moment, by the monotonic clock, at which this process hears of so many; ask before it happens."""
        self._awaited[name] = _Awaited(replicas, asyncio.get_running_loop().create_future())
        return self._awaited[name].moment

    def hear(self, deployment: dict[str, Any]) -> None:
        """Take note of a Deployment that was made or changed."""
        now, name = time.monotonic(), deployment["metadata"]["name"]
        awaited = self._awaited.get(name)
        if awaited is not None and deployment["spec"]["replicas"] >= awaited.replicas:
            del self._awaited[name]
            awaited.moment.set_result(now)


@asynccontextmanager
async def watching(cluster: Cluster, namespace: str) -> AsyncIterator[Scalings]:
    """Watch the Deployments of a namespace."""
    scalings = Scalings()
    async with administrator(cluster) as client, asyncio.TaskGroup() as group:
        listed = await AppsV1Api(client).list_namespaced_deployment(namespace, limit=1)
        assert listed.metadata is not None
        assert listed.metadata.resource_version is not None
        listening = group.create_task(_listen(client, namespace, listed.metadata.resource_version, scalings))
        yield scalings
        listening.cancel()


async def _listen(client: ApiClient, namespace: str, version: str, scalings: Scalings) -> None:
    # Plain JSON: to make models of it would take longer than some of what is measured.
    async with Watch(return_type="object") as watch:  # type: ignore[no-untyped-call]  # likewise
        deployments = AppsV1Api(client).list_namespaced_deployment
        async for event in watch.stream(deployments, namespace, resource_version=version):
            scalings.hear(event["object"])
