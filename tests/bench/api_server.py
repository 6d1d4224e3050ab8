"""What the API server has to tell: what it was asked to write, and when a Deployment gets workers."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from http import HTTPStatus
from typing import Any, NamedTuple

from kubernetes.aio.client import ApiClient, ApiException, AppsV1Api, CoreV1Api
from kubernetes.aio.config import new_client_from_config
from kubernetes.aio.watch import Watch
from prometheus_client.parser import text_string_to_metric_families

from tests.bench.sightings import Sightings
from tests.cluster.lane import Cluster

Event = Mapping[str, Any]
_REQUESTS = "apiserver_request_total"
_WRITING = frozenset({"POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION"})
_OPERATOR_WRITES = frozenset(
    {("taskqueues", ""), ("taskqueues", "status"), ("deployments", ""), ("deployments", "scale")}
)
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
    return request["verb"] in _WRITING and (request["resource"], request["subresource"]) in _OPERATOR_WRITES


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
        deployments = AppsV1Api(client).list_namespaced_deployment
        listed = await deployments(namespace, limit=1)
        assert listed.metadata is not None
        assert listed.metadata.resource_version is not None

        def hear(event: Event) -> None:
            scalings.hear(event["object"])

        listening = group.create_task(_listen(deployments, namespace, hear, since=listed.metadata.resource_version))
        yield scalings
        listening.cancel()


@asynccontextmanager
async def sighting(cluster: Cluster, namespace: str) -> AsyncIterator[Sightings]:
    """Watch the pods and the one Deployment of a namespace; what is there already is shown first."""
    sightings = Sightings()
    async with administrator(cluster) as client, asyncio.TaskGroup() as group:
        listening = [
            group.create_task(_listen(listed, namespace, partial(_show, see)))
            for listed, see in (
                (AppsV1Api(client).list_namespaced_deployment, sightings.see_deployment),
                (CoreV1Api(client).list_namespaced_pod, sightings.see_pod),
            )
        ]
        yield sightings
        for each in listening:
            each.cancel()


def _show(see: Callable[[str, dict[str, Any], float], None], event: Event) -> None:
    see(event["type"], event["object"], time.time())


async def _listen(
    listed: Callable[..., Any], namespace: str, hear: Callable[[Event], None], *, since: str | None = None
) -> None:
    # Plain JSON: to make models of it would take longer than some of what is measured.
    async with Watch(return_type="object") as watch:  # type: ignore[no-untyped-call]  # likewise
        while True:
            try:
                async for event in watch.stream(listed, namespace, **({"resource_version": since} if since else {})):
                    hear(event)
            except ApiException as error:
                # After minutes without an event there is none to go on from: all is shown anew.
                if error.status != HTTPStatus.GONE:
                    raise
                since = watch.resource_version = None
