"""What the loop counts. The app turns it into metrics."""

from typing import Protocol

from taskqueue_operator.resource.names import Key


class Telemetry(Protocol):
    """Takes note of what was done."""

    def scaled(self, key: Key, before: int, after: int, why: str) -> None:
        """The number of workers was changed."""
        ...

    def wrote(self, what: str) -> None:
        """Something was written to Kubernetes or RabbitMQ: replicas, deployment, status, finalizer, topology, event."""
        ...

    def reconciled(self, *, settled: bool) -> None:
        """A TaskQueue was reconciled."""
        ...

    def retained(self, key: Key, why: str) -> None:
        """A deletion could not do what its policy asks, and left the topology where it is."""
        ...
