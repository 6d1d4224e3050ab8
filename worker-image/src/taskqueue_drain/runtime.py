"""What the protocol needs from a worker that joins, and what it tells the worker."""

from typing import Protocol

from .protocol import Drain, Figures


class Runtime(Protocol):
    """A worker that can stop consuming and consume again. No method waits: each change is announced to the channel."""

    def stop_consuming(self) -> None:
        """Start no task from now on. Begin to cancel the consumers and to requeue what has not begun."""
        ...

    def consume(self) -> None:
        """Begin to consume again."""
        ...

    @property
    def is_quiet(self) -> bool:
        """Whether it is certain that the broker delivers nothing more until `consume`.

        The reply to `basic.cancel` is no proof: the reply to a further synchronous method on the same channel is.
        """
        ...

    @property
    def is_consuming(self) -> bool:
        """Whether every queue has a consumer of this worker."""
        ...

    def figures(self) -> Figures:
        """Count what runs and what waits."""
        ...


class Observer(Protocol):
    """Learns what happens, for logs and metrics."""

    def draining(self, drain: Drain) -> None:
        """A drain has begun."""
        ...

    def resumed(self, event: str) -> None:
        """A drain has ended; the event says why."""
        ...

    def handled(self, command: str, outcome: str, reason: str | None = None) -> None:
        """A command was handled.

        Args:
            command: The verb of a valid command, else `unknown`.
            outcome: `done`, `refused` or `ignored`.
            reason: Why it was refused.
        """
        ...

    def reported(self) -> None:
        """The broker has a further report."""
        ...

    def disconnected(self, reason: str) -> None:
        """The control channel is down for another reason than before."""
        ...
