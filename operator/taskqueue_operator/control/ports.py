"""The ports of the control loop: what it needs from RabbitMQ and Kubernetes. `rabbitmq` and `kube` implement them.

Every call has a timeout. It raises `BrokerFault` if the broker cannot be used (address, credentials, vhost or
permissions), `TopologyFault` if the broker refuses an object, `Conflict` if the condition of a conditional write fails,
and `Fault` with reason `ApiUnavailable` if the API server cannot be used.
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
    """Address and credentials of one vhost; equal endpoints share one connection. Its repr contains no secret."""

    @property
    def vhost(self) -> str:
        """Name of the vhost."""
        ...

    @property
    def address(self) -> str:
        """Host and port, for messages and logs."""
        ...


class ControlChannel(Protocol):
    """Receives reports from workers and sends commands to them. Messages sent while disconnected are lost."""

    @property
    def fault(self) -> BrokerFault | None:
        """Why no report can be received at present; None while connected."""
        ...

    def listen(self, taskqueues: Collection[str]) -> None:
        """Receive the reports of these TaskQueues, each as `namespace/name`, and of no others."""
        ...

    async def send(self, address: str, command: bytes) -> None:
        """Send a command to the address of a report's sender."""
        ...

    async def run(self) -> None:
        """Listen until cancelled."""
        ...


class Vhost(Protocol):
    """One vhost of one broker, with the permissions of one user; at most 2 AMQP connections and 1 HTTP pool."""

    async def topology(self) -> Topology:
        """Read all exchanges, queues, bindings and policies."""
        ...

    async def apply(self, steps: Sequence[Step]) -> None:
        """Apply steps in order. Each step may be repeated."""
        ...

    async def sweep(self) -> Mapping[str, Sweep]:
        """Read the figures of every queue: one request."""
        ...

    async def consumers(self) -> ConsumerSnapshot:
        """Read all connections, the queues that they consume and the messages that they hold."""
        ...

    async def probe(self, queues: Collection[str]) -> Mapping[str, Probe]:
        """Read the ready count of each queue; a queue that is missing or does not answer never delays the others."""
        ...

    def control_channel(self, on_report: Callable[[str, bytes, str], None]) -> ControlChannel:
        """Return a control channel; `on_report` receives the TaskQueue, the report, and its sender's address."""
        ...

    async def close(self) -> None:
        """Close all connections but those of control channels."""
        ...


class VhostFactory(Protocol):
    """Connects to vhosts with the credentials of Secrets."""

    def endpoint(self, secret: Key, data: Mapping[str, bytes], vhost: str | None) -> Endpoint:
        """Parse a Secret's data.

        Raises:
            BrokerFault: A key is missing or invalid; the message names it.
        """
        ...

    def connect(self, endpoint: Endpoint) -> Vhost:
        """Return the vhost of an endpoint; it connects on first use."""
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
