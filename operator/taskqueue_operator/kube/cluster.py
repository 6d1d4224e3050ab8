"""The Kubernetes API as the control loop uses it: the port `Cluster`, on a real API server."""

from collections.abc import Mapping, Sequence

from kubernetes.aio.client.api_client import ApiClient

from taskqueue_operator.resource.names import LABEL_NAME, MANAGER, PLURAL, Key

from . import deployments, events, pods, secrets, taskqueues
from .client import Api, Body, collection
from .errors import ApiError, unavailable


class KubernetesCluster:
    """All that is read and written in a cluster, or in those of its namespaces that are watched.

    Any call may raise Fault with reason ApiUnavailable, after 10 s at most; what else a call raises stands
    with the port.
    """

    def __init__(self, client: ApiClient, *, namespaces: Sequence[str] = (), manager: str = MANAGER) -> None:
        self._api = Api(client, manager=manager)
        self._namespaces: Sequence[str | None] = tuple(namespaces) or (None,)

    async def secret(self, key: Key) -> Mapping[str, bytes] | None:
        """Read a Secret's data; None when there is none."""
        return await secrets.read(self._api, key)

    async def deployment(self, key: Key) -> Body | None:
        """Read a Deployment; None when there is none."""
        return await deployments.read(self._api, key)

    async def apply_deployment(self, manifest: Body) -> Body:
        """Server-side apply, on the condition of `metadata.resourceVersion` or, without it, of absence."""
        return await deployments.apply(self._api, manifest)

    async def scale(self, key: Key, *, replicas: int, generation: int, mark: str = "") -> Body:
        """Set `spec.replicas`, on the condition of `metadata.generation` and, if given, of the drain annotation."""
        return await deployments.scale(self._api, key, replicas=replicas, generation=generation, mark=mark)

    async def mark(self, key: Key, mark: str, *, generation: int) -> Body:
        """Write the drain annotation of a Deployment, on the condition of `resource_version`; empty removes it."""
        return await deployments.mark(self._api, key, mark, generation=generation)

    async def annotate_pod(self, key: Key, annotations: Mapping[str, str | None], *, uid: str) -> Body | None:
        """Write annotations of a pod, None removes one; None when that pod is gone."""
        return await pods.annotate(self._api, key, annotations, uid=uid)

    async def set_finalizers(self, key: Key, finalizers: Sequence[str], *, resource_version: str) -> Body | None:
        """Replace a TaskQueue's finalizers, on the condition of `resource_version`; None when it is gone."""
        return await taskqueues.set_finalizers(self._api, key, finalizers, resource_version=resource_version)

    async def set_status(self, key: Key, status: Body) -> Body | None:
        """Replace a TaskQueue's status as a whole; None when it is gone."""
        return await taskqueues.set_status(self._api, key, status)

    async def event(self, regarding: Body, *, reason: str, message: str, warning: bool) -> None:
        """Post one Event about an object (`apiVersion, kind, namespace, name, uid`)."""
        await events.post(self._api, regarding, reason=reason, message=message, warning=warning)

    async def require_taskqueues(self) -> None:
        """Raise Fault when TaskQueues cannot be listed: mostly because there is no such kind."""
        for namespace in self._namespaces:
            try:
                await self._api.request("GET", collection(taskqueues.API, PLURAL, namespace), query={"limit": "1"})
            except ApiError as error:
                raise unavailable(f"list {PLURAL}", error) from None

    async def list_taskqueues(self) -> list[Body]:
        """List all TaskQueues within the watched namespaces."""
        return await self._list(taskqueues.API, PLURAL)

    async def list_deployments(self) -> list[Body]:
        """List all worker Deployments within the watched namespaces."""
        return await self._list(deployments.APPS, deployments.DEPLOYMENTS, LABEL_NAME)

    async def list_pods(self) -> list[Body]:
        """List all worker pods within the watched namespaces."""
        return await self._list("api/v1", "pods", LABEL_NAME)

    async def close(self) -> None:
        """Let go of all connections."""
        await self._api.close()

    async def _list(self, api: str, plural: str, selector: str = "") -> list[Body]:
        items: list[Body] = []
        for namespace in self._namespaces:
            try:
                items += await self._api.list_all(collection(api, plural, namespace), selector=selector)
            except ApiError as error:
                raise unavailable(f"list {plural}", error) from None
        return items
