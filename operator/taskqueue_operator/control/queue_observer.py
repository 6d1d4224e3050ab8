"""What the rooms read of the observer of a broker; `observe` implements it."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Protocol

from taskqueue_operator.drain.consumers import ConsumerSnapshot
from taskqueue_operator.drain.context import QueueState
from taskqueue_operator.resource.faults import Fault
from taskqueue_operator.resource.names import Key
from taskqueue_operator.scaling.reading import Reading
from taskqueue_operator.topology.objects import Topology

from .ports import Endpoint, Vhost
from .single_flight import Waiting


class QueueObserver(Protocol):
    """Reads queues of one endpoint, and carries the control channel to the workers on it."""

    @property
    def endpoint(self) -> Endpoint:
        """Where it reads."""
        ...

    @property
    def vhost(self) -> Vhost:
        """The vhost that it reads."""
        ...

    @property
    def control_channel_fault(self) -> Fault | None:
        """Why no worker report can arrive at present; None while reports can arrive."""
        ...

    @property
    def consumer_poll_fault(self) -> Fault | None:
        """Why consumers cannot be listed at present; None while they can."""
        ...

    @property
    def alarms(self) -> frozenset[str]:
        """Resources for which the broker has an alarm, `memory` or `disk`; it then blocks connections that publish."""
        ...

    def follow(self, key: Key, *queues: str, dead_letters: str | None = None) -> None:
        """Read these queues and this dead-letter queue on behalf of a TaskQueue, and no longer any others."""
        ...

    def fault_at(self, queue: str) -> Fault | None:
        """Why a queue cannot be read at present: a fault of the broker, or of the permission for this queue."""
        ...

    def reading(self, queue: str) -> Reading:
        """Return the bounds of a queue's depth as known now."""
        ...

    def queue_state(self, queue: str) -> QueueState:
        """Return what a drain plan needs to know of a queue now."""
        ...

    def consumers(self, queue: str) -> int | None:
        """Return the number of consumers that the last probe found; None if it is unknown."""
        ...

    def dead_letters(self, key: Key) -> int | None:
        """Return the number of messages in the dead-letter queue of a TaskQueue at the last sweep that contained it."""
        ...

    def delayed(self, queue: str) -> int | None:
        """Return the number of delayed retries of a queue by the last sweep, at most; None if it is unknown."""
        ...

    @property
    def has_overdue_retries(self) -> bool:
        """Whether a delay queue of the vhost holds retries whose time has come, of any TaskQueue."""
        ...

    @property
    def parked(self) -> int:
        """Number of retries in the parking queue of the vhost, whose queues do not exist any more."""
        ...

    def last_messages(self, queue: str) -> int | None:
        """Return how many messages a queue had in any state when it was last read; None if it was not."""
        ...

    def read_at(self, queue: str) -> datetime | None:
        """Return when the last probe that returned a depth was sent; None before the first one."""
        ...

    def discard_samples(self, queue: str) -> None:
        """Discard the samples of a queue: a write has made them obsolete."""
        ...

    def require(self, key: Key, queues: Collection[str]) -> None:
        """Notify when one of these queues of a TaskQueue is missing, although it is not read."""
        ...

    async def topology(self, waiting: Waiting) -> Topology:
        """Read all exchanges, queues, bindings and policies of the vhost, in a request that begins now or later.

        A broker that does not answer is not asked: no one waits for it. The caller waits within the context `waiting`.
        Callers that wait together share a request; what is returned is the newest answer at the end of the context.

        Raises:
            WaitForEvent: The broker has not answered yet.
            BrokerFault: The broker cannot be used.
            Conflict: The observer was closed meanwhile.
        """
        ...

    def subscribe_reports(self, key: Key, *, enabled: bool) -> None:
        """Subscribe to the worker reports of a TaskQueue, or unsubscribe."""
        ...

    async def send_commands(self, commands: Sequence[tuple[str, bytes]]) -> None:
        """Send commands in order, each to the address of a worker."""
        ...

    def consumer_snapshots(self) -> tuple[ConsumerSnapshot, ...]:
        """Return the last snapshots of consumers, oldest first. Polling goes on only while this is called."""
        ...

    def survey_consumers(self) -> ConsumerSnapshot | None:
        """Return a snapshot of consumers that may be a minute old. Another one follows only if this is called again."""
        ...
