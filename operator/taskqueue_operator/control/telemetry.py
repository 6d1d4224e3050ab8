"""What the rooms count; the app exports it as metrics."""

from collections.abc import Mapping
from typing import Protocol

from taskqueue_operator.resource.names import Key


class Telemetry(Protocol):
    """Counts events."""

    def scaled(self, key: Key, before: int, after: int, why: str) -> None:
        """The number of replicas was changed, for the reason of the decision."""
        ...

    def wrote(self, what: str) -> None:
        """An object was written to Kubernetes or RabbitMQ.

        Args:
            what: One of replicas, deployment, status, finalizer, topology, event, drain_token (the drain annotation of
                a Deployment), deletion_cost (that of a pod).
        """
        ...

    def commanded(self, verb: str) -> None:
        """A command was sent to a worker."""
        ...

    def removed(self, state: str) -> None:
        """A pod was removed by a scale-in; `state` is that of its worker at the time."""
        ...

    def reconciled(self, *, succeeded: bool) -> None:
        """A TaskQueue was reconciled."""
        ...

    def retained(self, key: Key, why: str) -> None:
        """A deletion left the topology although its policy asks for the removal."""
        ...

    def queried(self, source: str, seconds: float, outcomes: Mapping[str, int]) -> None:
        """A round of reads has ended.

        Args:
            source: `probe` or `sweep`.
            seconds: From the first request to the last answer.
            outcomes: The number of queues by outcome: `ok`, or why there is no figure (a `Reason`, `missing`,
                `silent`).
        """
        ...

    def delayed(self, seconds: float) -> None:
        """A round of reading and deciding ended this many seconds after its schedule."""
        ...

    def decided(self, why: str) -> None:
        """A decision was made."""
        ...
