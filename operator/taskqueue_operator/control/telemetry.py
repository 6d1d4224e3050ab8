"""What the loop counts. The app turns it into metrics."""

from collections.abc import Mapping
from typing import Protocol

from taskqueue_operator.resource.names import Key


class Telemetry(Protocol):
    """Takes note of what was done."""

    def scaled(self, key: Key, before: int, after: int, why: str) -> None:
        """The number of workers was changed."""
        ...

    def wrote(self, what: str) -> None:
        """Something was written to Kubernetes or RabbitMQ.

        One of: replicas, deployment, status, finalizer, topology, event, mark, cost.

        A mark is the drain annotation of a Deployment, a cost the deletion cost of a pod.
        """
        ...

    def commanded(self, verb: str) -> None:
        """A worker was sent a command."""
        ...

    def removed(self, state: str) -> None:
        """A pod went after a scale-in; what its worker did then."""
        ...

    def reconciled(self, *, succeeded: bool) -> None:
        """A TaskQueue was reconciled."""
        ...

    def retained(self, key: Key, why: str) -> None:
        """A deletion could not do what its policy asks, and left the topology where it is."""
        ...

    def asked(self, source: str, seconds: float, outcomes: Mapping[str, int]) -> None:
        """A round of questions to a broker has ended: how long it took, and how many queues had which outcome.

        Args:
            source: `probe` or `sweep`.
            seconds: From the first question to the last answer.
            outcomes: `ok`, or why there is no figure: a `Reason`, `missing`, `silent`.
        """
        ...

    def late(self, seconds: float) -> None:
        """A tick, which is one round of readings and what was decided on them, was done so long after its plan."""
        ...

    def decided(self, why: str) -> None:
        """A decision was made."""
        ...
