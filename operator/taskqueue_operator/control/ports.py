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

    @property
    def namespace(self) -> str:
        """The namespace whose share of the operator its connections use; equal endpoints may differ in it."""
        ...


class ControlChannel(Protocol):
    """Receives reports from workers and sends commands to them. Messages sent while disconnected are lost."""

    @property
    def fault(self) -> BrokerFault | None:
        """Why no report can be received at present; None while connected."""
        ...

    def listen(self, taskqueue: str, *, enabled: bool) -> None:
        """Receive the reports of a TaskQueue (`namespace/name`), or no longer."""
        ...

    def restore(self, taskqueues: Collection[str]) -> None:
        """Declare the exchange again, and bind these TaskQueues again: their bindings are missing."""
        ...

    async def send(self, commands: Sequence[tuple[str, bytes]]) -> None:
        """Send commands in order, each to the address of a report's sender."""
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

    async def alarms(self) -> frozenset[str]:
        """Read for which resources the broker has an alarm, `memory` or `disk`: one request."""
        ...

    async def consumers(self) -> ConsumerSnapshot:
        """Read all connections, the queues that they consume and the messages that they hold."""
        ...

    async def close_connections(self, names: Collection[str]) -> None:
        """Close connections of clients, by the broker's names of them."""
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
        """Return the vhost of an endpoint; it connects on first use.

        Raises:
            BrokerFault: Too many endpoints are read.
        """
        ...


class Cluster(Protocol):
    """The Kubernetes API."""

    async def secret(self, key: Key) -> Mapping[str, bytes] | None:
        """Read the data of a Secret; None if it does not exist."""
        ...

    async def deployment(self, key: Key) -> Body | None:
        """Read a Deployment; None if it does not exist."""
        ...

    async def apply_deployment(self, manifest: Body) -> Body:
        """Server-side apply, as manager `taskqueue-operator`; returns the applied Deployment.

        Raises:
            Conflict: The Deployment changed since `metadata.resourceVersion`, or exists although there is none.
            WorkersFault: The API server refuses the manifest; the message contains the server's text.
        """
        ...

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
        """Set `spec.replicas` of the Deployment of a TaskQueue at this generation; returns the scaled Deployment.

        Args:
            key: Namespace and name of the Deployment.
            replicas: The number of replicas to set.
            taskqueue: The TaskQueue that its label must name: a label that is removed withdraws the permission.
            generation: The expected `metadata.generation`.
            drain_token: The expected drain annotation, if not empty.
            started_template: What to write as the annotation of the last template that has started, if not empty.

        Raises:
            Conflict: The label, the generation or the annotation differs, or the Deployment is gone.
        """
        ...

    async def set_drain_token(self, key: Key, token: str, *, taskqueue: str, generation: int) -> Body:
        """Write the drain annotation of a Deployment, or remove it if `token` is empty; returns the Deployment.

        Raises:
            Conflict: The label or the generation differs, or the Deployment is gone.
        """
        ...

    async def autoscalers(self, namespace: str) -> Mapping[str, str]:
        """Return the HorizontalPodAutoscaler of each Deployment that has one, by the name of the Deployment."""
        ...

    async def annotate_pod(self, key: Key, annotations: Mapping[str, str | None], *, uid: str) -> Body | None:
        """Write annotations of a pod; the value None removes one. Returns the pod, or None if it is gone."""
        ...

    async def set_finalizers(self, key: Key, finalizers: Sequence[str], *, resource_version: str) -> Body | None:
        """Replace a TaskQueue's finalizers; returns the TaskQueue, or None if it is gone.

        Raises:
            Conflict: The TaskQueue changed since `resource_version`.
        """
        ...

    async def set_status(self, key: Key, status: Body) -> Body | None:
        """Replace the whole status of a TaskQueue; returns the TaskQueue, or None if it is gone."""
        ...

    async def event(self, regarding: Body, *, reason: str, message: str, warning: bool) -> None:
        """Post an Event about an object (`apiVersion, kind, namespace, name, uid`)."""
        ...

    def forbidden_namespaces(self) -> Collection[str]:
        """Return the watched namespaces that could not be listed last; their objects are unknown, not gone."""
        ...

    async def list_taskqueues(self) -> list[Body]:
        """List all TaskQueues of the watched namespaces."""
        ...

    async def list_deployments(self) -> list[Body]:
        """List all worker Deployments of the watched namespaces."""
        ...

    async def list_pods(self) -> list[Body]:
        """List all worker pods of the watched namespaces."""
        ...
