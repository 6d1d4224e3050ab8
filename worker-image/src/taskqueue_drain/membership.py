"""What every runtime with threads does to join: the identity, the control thread, and the probes of its pod."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

from .control_thread import ControlThread, Session
from .environment import CannotJoinError, identity_of
from .health import Health
from .probes import serve_probes
from .protocol_log import ProtocolLog, log
from .runtime import Runtime
from .worker_protocol import WorkerProtocol

Sessions = Callable[[str], Callable[[], AbstractContextManager[Session]]]
"""Opens sessions for the TaskQueue of a name."""


class Membership:
    """A worker that joins the control protocol, if it can. Without the environment of a TaskQueue it does nothing."""

    def __init__(self, runtime: Runtime, environment: Mapping[str, str]) -> None:
        """Join nothing yet."""
        self._runtime = runtime
        self._environment = environment
        self._health = Health(runtime)
        self._control: ControlThread | None = None

    def join(self, sessions: Sessions, prepare: Callable[[], None] = lambda: None) -> None:
        """Join, or say in one line why not.

        Args:
            sessions: Opens sessions with the broker.
            prepare: Prepares the runtime. Raises CannotJoinError if this worker cannot be drained.
        """
        if "TASKQUEUE_NAME" not in self._environment:
            return
        try:
            identity = identity_of(self._environment)
            prepare()
        except CannotJoinError as error:
            log.warning("this worker cannot be drained: %s", error)
            return
        observer = ProtocolLog()
        protocol = WorkerProtocol(identity, self._runtime, observer)
        self._control = ControlThread(protocol, sessions(identity.taskqueue), observer)
        self._health.join(protocol, self._control)
        self._control.start()

    def serve(self) -> None:
        """Serve the probes of the pod, also for a worker that cannot be drained: without them it would be restarted."""
        serve_probes(self._environment, self._health)

    def leave(self) -> None:
        """Report that the worker shuts down. For any thread, and for signal handlers."""
        if self._control is not None:
            self._control.leave()

    def close(self) -> None:
        """Report for the last time: the operator learns that the worker ends by itself."""
        if self._control is not None:
            self._control.close()
            self._control.wait_for_last_report()
