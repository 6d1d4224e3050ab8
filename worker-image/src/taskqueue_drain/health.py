"""Whether a worker does what it is there for: what the probes of its pod ask."""

import time
from typing import Final, Protocol

from .protocol import Figures, State
from .worker_protocol import WorkerProtocol

PATIENCE_SECONDS: Final = 60.0
"""How long a worker may not consume while it reaches the broker; Celery reconnects within 32 s."""


class Consuming(Protocol):
    """A worker that shall consume (`taskqueue_drain.Runtime` has more)."""

    @property
    def is_consuming(self) -> bool:
        """Whether every queue has a consumer of this worker."""
        ...

    def figures(self) -> Figures:
        """Count what runs and what waits."""
        ...


class ControlConnection(Protocol):
    """The control channel: it has a connection of its own, so it knows whether the broker is reached."""

    @property
    def is_reached(self) -> bool:
        """Whether there is a connection, and the broker reads it: during a memory alarm it reads no publisher."""
        ...


class Health:
    """Whether the worker does what it is there for. May be asked on any thread.

    Attributes:
        beat_at: When the event loop of the runtime ran last, in seconds of the monotonic clock; None if it has none.
    """

    def __init__(self, runtime: Consuming) -> None:
        self._runtime = runtime
        self._protocol: WorkerProtocol | None = None
        self._control: ControlConnection | None = None
        self._was_well_at = time.monotonic()
        self.beat_at: float | None = None

    def join(self, protocol: WorkerProtocol, control: ControlConnection) -> None:
        """The worker has joined the control protocol. One that has not is always alive."""
        self._protocol, self._control = protocol, control

    @property
    def is_alive(self) -> bool:
        """False for a worker that has not consumed for long, although it is not drained and the broker is reached."""
        now = time.monotonic()
        if self._is_well(now) or self._is_excused():
            self._was_well_at = now
        return now - self._was_well_at < PATIENCE_SECONDS

    @property
    def is_ready(self) -> bool:
        """True while the worker consumes, or is draining: a ReplicaSet removes pods that are not ready first."""
        if self._protocol is None:
            return self._runtime.is_consuming
        return self._protocol.state in {State.CONSUMING, State.DRAINING}

    def _is_well(self, now: float) -> bool:
        has_beaten = self.beat_at is None or now - self.beat_at < PATIENCE_SECONDS
        return has_beaten and self._runtime.is_consuming

    def _is_excused(self) -> bool:
        """True while the worker is not expected to consume, or would harm its tasks by a restart."""
        if self._protocol is None or self._control is None or not self._control.is_reached:
            return True
        is_to_consume = self._protocol.state in {State.STARTING, State.CONSUMING}
        return not is_to_consume or self._runtime.figures().in_flight > 0
