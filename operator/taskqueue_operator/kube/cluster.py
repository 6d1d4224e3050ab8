"""The Kubernetes API: the adapter of the port `Cluster`."""

from collections.abc import Mapping, Sequence

from kubernetes.aio.client.api_client import ApiClient

from taskqueue_operator.resource.names import LABEL_NAME, MANAGER, PLURAL, Key

from . import autoscalers, deployments, events, pods, secrets, taskqueues
from .bounded_objects import readable
from .client import Api, Body, collection
from .faults import ApiError
from .namespaces import ForbiddenNamespaces


class KubernetesCluster:
    """Reads and writes objects of the whole cluster, or of the watched namespaces only.

    Any call may raise Fault with reason ApiUnavailable, after 10 s at most. The port describes what else it raises.
    """

    def __init__(self, client: ApiClient, *, namespaces: Sequence[str] = (), manager: str = MANAGER) -> None:
        self._api = Api(client, manager=manager)
        self._namespaces: Sequence[str | None] = tuple(namespaces) or (None,)
        self._forbidden = ForbiddenNamespaces()

    async def secret(self, key: Key) -> Mapping[str, bytes] | None:
        """Read the data of a Secret; None if it does not exist."""
        return await secrets.read(self._api, key)

    async def deployment(self, key: Key) -> Body | None:
        """Read a Deployment; None if it does not exist."""
        return await deployments.read(self._api, key)

    async def apply_deployment(self, manifest: Body) -> Body:
        """Server-side apply, if `metadata.resourceVersion` matches or, without it, if the Deployment does not exist."""
        return await deployments.apply(self._api, manifest)

    async def scale(  # noqa: PLR0913  three conditions and two values
        self,
        key: Key,
        *,
        replicas: int,
        taskqueue: str,
        generation: int,
        drain_token: str = "",
        started_template: str = "",
    ) -> Body:
        """Set `spec.replicas`, if label, `metadata.generation` and, unless empty, the drain annotation match."""
        return await deployments.scale(
            self._api,
            key,
            replicas=replicas,
            taskqueue=taskqueue,
            generation=generation,
            drain_token=drain_token,
            started_template=started_template,
        )

    async def set_drain_token(self, key: Key, token: str, *, taskqueue: str, generation: int) -> Body:
        """Write the drain annotation, if label and `metadata.generation` match; an empty token removes it."""
        return await deployments.set_drain_token(self._api, key, token, taskqueue=taskqueue, generation=generation)

    async def autoscalers(self, namespace: str) -> Mapping[str, str]:
        """Return the HorizontalPodAutoscaler of each Deployment that has one, by the name of the Deployment."""
        return await autoscalers.by_deployment(self._api, namespace)

    async def annotate_pod(self, key: Key, annotations: Mapping[str, str | None], *, uid: str) -> Body | None:
        """Write annotations of a pod; the value None removes one. Returns None if the pod is gone."""
        return await pods.annotate(self._api, key, annotations, uid=uid)

    async def set_finalizers(self, key: Key, finalizers: Sequence[str], *, resource_version: str) -> Body | None:
        """Replace a TaskQueue's finalizers, if `resource_version` matches; None if the TaskQueue is gone."""
        return await taskqueues.set_finalizers(self._api, key, finalizers, resource_version=resource_version)

    async def set_status(self, key: Key, status: Body) -> Body | None:
        """Replace the whole status of a TaskQueue; None if the TaskQueue is gone."""
        return await taskqueues.set_status(self._api, key, status)

    async def event(self, regarding: Body, *, reason: str, message: str, warning: bool) -> None:
        """Post an Event about an object (`apiVersion, kind, namespace, name, uid`)."""
        await events.post(self._api, regarding, reason=reason, message=message, warning=warning)

    async def require_taskqueues(self) -> None:
        """Check that TaskQueues can be listed, in one of the watched namespaces at least.

        Raises:
            Fault: They cannot, for example because the CRD is not installed.
        """
        for namespace in self._namespaces:
            try:
                await self._api.request("GET", collection(taskqueues.API, PLURAL, namespace), query={"limit": "1"})
            except ApiError as error:
                self._forbidden.add(PLURAL, namespace, error)
        if len(self._forbidden.namespaces()) == len(self._namespaces):
            raise self._forbidden.fault()

    def forbidden_namespaces(self) -> frozenset[str]:
        """Return the watched namespaces that could not be listed last: they do not exist, or their Role does not."""
        return self._forbidden.namespaces()

    async def list_taskqueues(self) -> list[Body]:
        """List all TaskQueues of the watched namespaces."""
        return await self._list(taskqueues.API, PLURAL)

    async def list_deployments(self) -> list[Body]:
        """List all worker Deployments of the watched namespaces, except those beyond a bound."""
        return readable(await self._list(deployments.APPS, deployments.DEPLOYMENTS, LABEL_NAME))

    async def list_pods(self) -> list[Body]:
        """List all worker pods of the watched namespaces, except those beyond a bound."""
        return readable(await self._list("api/v1", "pods", LABEL_NAME))

    async def close(self) -> None:
        """Close all connections."""
        await self._api.close()

    async def _list(self, api: str, plural: str, selector: str = "") -> list[Body]:
        items: list[Body] = []
        for namespace in self._namespaces:
            try:
                items += await self._api.list_all(collection(api, plural, namespace), selector=selector)
            except ApiError as error:
                self._forbidden.add(plural, namespace, error)
            else:
                self._forbidden.remove(plural, namespace)
        return items
