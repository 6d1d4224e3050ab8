"""Figures from the API server: the writes it was requested to do, and when Deployments and pods change."""

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

from tests.bench.pod_history import PodHistory
from tests.cluster.provider import Cluster

Event = Mapping[str, Any]
_REQUESTS = "apiserver_request_total"
_WRITING = frozenset({"POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION"})
_OPERATOR_WRITES = frozenset(
    {("taskqueues", ""), ("taskqueues", "status"), ("deployments", ""), ("deployments", "scale")}
)
"""Not deployments/status, which other controllers write, also that of the operator's own Deployment."""


@asynccontextmanager
async def admin_client(cluster: Cluster) -> AsyncIterator[ApiClient]:
    """Return a client with all rights."""
    async with await new_client_from_config(str(cluster.kubeconfig)) as client:  # type: ignore[no-untyped-call]  # the library has no types here
        yield client


def writes(cluster: Cluster, namespace: str) -> float:
    """Count the write requests so far, by any client, for the objects that the operator writes.

    The API server itself counts the requests for TaskQueues and Deployments, also requests that change nothing and
    therefore no resourceVersion. Events are counted in `namespace` only: the kubelet writes those about the
    operator's own pod.
    """
    lines = cluster.kubectl("get", "--raw=/metrics").splitlines()
    families = text_string_to_metric_families("\n".join(line for line in lines if line.startswith(_REQUESTS)))
    samples = (sample for family in families for sample in family.samples)
    requests = sum(sample.value for sample in samples if _is_operator_write(sample.labels))
    return requests + len(cluster.kubectl("get", "events", f"--namespace={namespace}", "--output=name").split())


def _is_operator_write(request: Mapping[str, str]) -> bool:
    return request["verb"] in _WRITING and (request["resource"], request["subresource"]) in _OPERATOR_WRITES


class _Expectation(NamedTuple):
    replicas: int
    moment: asyncio.Future[float]


class ScaleOuts:
    """The moments at which the replicas of Deployments reach an expected number."""

    def __init__(self) -> None:
        self._expected: dict[str, _Expectation] = {}

    def expect(self, name: str, replicas: int) -> asyncio.Future[float]:
        """Return the moment (monotonic) at which this process observes the number; call it before the scale-out."""
        self._expected[name] = _Expectation(replicas, asyncio.get_running_loop().create_future())
        return self._expected[name].moment

    def on_deployment(self, deployment: dict[str, Any]) -> None:
        """Record a Deployment that was created or changed."""
        now, name = time.monotonic(), deployment["metadata"]["name"]
        expected = self._expected.get(name)
        if expected is not None and deployment["spec"]["replicas"] >= expected.replicas:
            del self._expected[name]
            expected.moment.set_result(now)


@asynccontextmanager
async def watch_scale_outs(cluster: Cluster, namespace: str) -> AsyncIterator[ScaleOuts]:
    """Watch the Deployments of a namespace."""
    scale_outs = ScaleOuts()
    async with admin_client(cluster) as client, asyncio.TaskGroup() as group:
        deployments = AppsV1Api(client).list_namespaced_deployment
        listed = await deployments(namespace, limit=1)
        assert listed.metadata is not None
        assert listed.metadata.resource_version is not None

        def on_event(event: Event) -> None:
            scale_outs.on_deployment(event["object"])

        watch = group.create_task(_watch(deployments, namespace, on_event, since=listed.metadata.resource_version))
        yield scale_outs
        watch.cancel()


@asynccontextmanager
async def watch_pods(cluster: Cluster, namespace: str) -> AsyncIterator[PodHistory]:
    """Watch the pods and the one Deployment of a namespace; existing objects come first."""
    history = PodHistory()
    async with admin_client(cluster) as client, asyncio.TaskGroup() as group:
        watches = [
            group.create_task(_watch(list_function, namespace, partial(_record, on_object)))
            for list_function, on_object in (
                (AppsV1Api(client).list_namespaced_deployment, history.on_deployment),
                (CoreV1Api(client).list_namespaced_pod, history.on_pod),
            )
        ]
        yield history
        for watch in watches:
            watch.cancel()


def _record(on_object: Callable[[str, dict[str, Any], float], None], event: Event) -> None:
    on_object(event["type"], event["object"], time.time())


async def _watch(
    list_function: Callable[..., Any], namespace: str, on_event: Callable[[Event], None], *, since: str | None = None
) -> None:
    # Plain JSON: to build models would take longer than some of the measured durations.
    async with Watch(return_type="object") as watch:  # type: ignore[no-untyped-call]  # likewise
        while True:
            try:
                async for event in watch.stream(
                    list_function, namespace, **({"resource_version": since} if since else {})
                ):
                    on_event(event)
            except ApiException as error:
                # After minutes without an event the resourceVersion has expired: list again.
                if error.status != HTTPStatus.GONE:
                    raise
                since = watch.resource_version = None
