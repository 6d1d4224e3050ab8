"""The outside as the control loop sees it. `rabbitmq` and `kube` have exactly these shapes.

Every call has its own timeout. Faults of the broker arrive as `BrokerFault` (unreachable, credentials, vhost,
permission) or `TopologyFault` (the broker refused an object); a write whose precondition no longer holds as `Conflict`;
any other trouble with the API server as `Fault` with reason `ApiUnavailable`.
"""

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from typing import Any, Protocol

from taskqueue_operator.drain.consumers import ConsumerSnapshot
from taskqueue_operator.resource.faults import BrokerFault
from taskqueue_operator.resource.names import Key
from taskqueue_operator.scaling.reading import Probe, Sweep
from taskqueue_operator.topology.diff import Step
from taskqueue_operator.topology.objects import Topology

Body = dict[str, Any]


class Endpoint(Hashable, Protocol):
    """Where a broker is and who we are there; equal endpoints share one connection. Its repr holds no secret."""

    @property
    def vhost(self) -> str:
        """The virtual host that is meant."""
        ...

    @property
    def address(self) -> str:
        """Host and port, for people."""
        ...


class ControlChannel(Protocol):
    """The conversation with workers. Whatever is sent while it is lost is lost, on either side."""

    @property
    def fault(self) -> BrokerFault | None:
        """Why nobody is heard at present, if so."""
        ...

    def listen(self, taskqueues: Collection[str]) -> None:
        """Hear the workers of these TaskQueues, each as `namespace/name`, and of no others."""
        ...

    async def send(self, address: str, command: bytes) -> None:
        """Send a command to where a report came from."""
        ...

    async def run(self) -> None:
        """Listen until cancelled."""
        ...


class Broker(Protocol):
    """One vhost of one broker, with one user's rights; at most 2 AMQP connections and 1 HTTP pool."""

    async def topology(self) -> Topology:
        """Read all exchanges, queues, bindings and policies of the vhost."""
        ...

    async def take(self, steps: Sequence[Step]) -> None:
        """Take steps in order; every step may be repeated."""
        ...

    async def sweep(self) -> Mapping[str, Sweep]:
        """List every queue of the vhost with its figures: one request."""
        ...

    async def look(self) -> ConsumerSnapshot:
        """List who is connected to the vhost, what they consume and what they hold."""
        ...

    async def probe(self, queues: Collection[str]) -> Mapping[str, Probe]:
        """Ask for the ready count of each queue; one that is missing or does not answer never stops the others."""
        ...

    def control(self, heard: Callable[[str, bytes, str], None]) -> ControlChannel:
        """Make the way to talk with workers; `heard` takes about whom each report is, itself, and its sender."""
        ...

    async def close(self) -> None:
        """Let go of all connections but that with the workers."""
        ...


class Brokers(Protocol):
    """Makes brokers out of Secrets."""

    def endpoint(self, secret: Key, data: Mapping[str, bytes], vhost: str | None) -> Endpoint:
        """Read a Secret's data.

        Raises:
            BrokerFault: A key is missing or cannot be understood; the message names it.
        """
        ...

    def connect(self, endpoint: Endpoint) -> Broker:
        """Make a broker; connects when first used."""
        ...


class Cluster(Protocol):
    """The Kubernetes API."""

    async def secret(self, key: Key) -> Mapping[str, bytes] | None:
        """Read a Secret's data; None when there is none."""
        ...

    async def deployment(self, key: Key) -> Body | None:
        """Read a Deployment; None when there is none."""
        ...

    async def apply_deployment(self, manifest: Body) -> Body:
        """Server-side apply, as manager `taskqueue-operator`, and return what is there now.

        Raises:
            Conflict: `metadata.resourceVersion` in the manifest is no longer that of the object.
            WorkersFault: The API server refused the manifest; the message is its own.
        """
        ...

    async def scale(self, key: Key, *, replicas: int, generation: int, mark: str = "") -> Body:
        """Set `spec.replicas` if the Deployment is still at that generation, and return what is there now.

        Args:
            key: The Deployment.
            replicas: How many.
            generation: Its generation.
            mark: What its drain annotation has to be, if not empty.

        Raises:
            Conflict: It is at another generation, has another annotation, or is gone.
        """
        ...

    async def mark(self, key: Key, mark: str, *, generation: int) -> Body:
        """Write the drain annotation of a Deployment, or remove it if empty, and return what is there now.

        Raises:
            Conflict: The Deployment is at another generation, or is gone.
        """
        ...

    async def annotate_pod(self, key: Key, annotations: Mapping[str, str | None], *, uid: str) -> Body | None:
        """Write annotations of a pod, None removes one; return what is there now, None when that pod is gone."""
        ...

    async def set_finalizers(self, key: Key, finalizers: Sequence[str], *, resource_version: str) -> Body | None:
        """Replace a TaskQueue's finalizers, return what is there now (None when it is gone).

        Raises:
            Conflict: The object has changed since `resource_version`.
        """
        ...

    async def set_status(self, key: Key, status: Body) -> Body | None:
        """Replace a TaskQueue's status as a whole, return what is there now (None when it is gone)."""
        ...

    async def event(self, regarding: Body, *, reason: str, message: str, warning: bool) -> None:
        """Post one Event about an object (`apiVersion, kind, namespace, name, uid`)."""
        ...

    async def list_taskqueues(self) -> list[Body]:
        """List all TaskQueues within the watched namespaces."""
        ...

    async def list_deployments(self) -> list[Body]:
        """List all worker Deployments within the watched namespaces."""
        ...

    async def list_pods(self) -> list[Body]:
        """List all worker pods within the watched namespaces."""
        ...
