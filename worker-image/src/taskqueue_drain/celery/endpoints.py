"""Serves /healthz and /readyz, on threads."""

import socket
import threading
import time
from http.server import BaseHTTPRequestHandler
from io import BytesIO
from socketserver import ThreadingTCPServer
from typing import Final

from taskqueue_drain.kombu_channel import ControlThread
from taskqueue_drain.protocol import State
from taskqueue_drain.worker_protocol import WorkerProtocol

from .runtime import CeleryRuntime

PATIENCE_SECONDS: Final = 60.0
"""How long a worker may not consume while it reaches the broker; Celery reconnects within 32 s."""
REQUEST_SECONDS: Final = 1.0
REQUEST_BYTES: Final = 4096
"""A probe of the kubelet has 200 bytes, in one segment."""


class Health:
    """Whether the worker does what it is there for.

    Attributes:
        beat_at: When Celery's event loop ran last, in seconds of the monotonic clock.
        is_leaving: Whether the worker shuts down.
    """

    def __init__(self, runtime: CeleryRuntime) -> None:
        self._runtime = runtime
        self._protocol: WorkerProtocol | None = None
        self._control: ControlThread | None = None
        self._was_well_at = time.monotonic()
        self.beat_at = time.monotonic()
        self.is_leaving = False

    def join(self, protocol: WorkerProtocol, control: ControlThread) -> None:
        """The worker has joined the control protocol."""
        self._protocol, self._control = protocol, control

    @property
    def is_alive(self) -> bool:
        """False for a worker that has not consumed for long, although it is not drained and the broker is reached."""
        now = time.monotonic()
        reached = self._control is not None and self._control.connected_at is not None
        is_well = self._runtime.is_consuming and now - self.beat_at < PATIENCE_SECONDS
        if is_well or not reached or self.is_leaving or not self._runtime.wish[1] or self._runtime.figures().in_flight:
            self._was_well_at = now
        return now - self._was_well_at < PATIENCE_SECONDS

    @property
    def is_ready(self) -> bool:
        """True while the worker consumes, or is draining: a ReplicaSet removes pods that are not ready first."""
        if self._protocol is None:
            return self._runtime.is_consuming
        return self._protocol.state in {State.CONSUMING, State.DRAINING}


class _Server(ThreadingTCPServer):
    """Listens on all addresses of the pod; a slow client delays no other one."""

    address_family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
    allow_reuse_address = True
    daemon_threads = True

    # typing has no `override` before Python 3.12.
    def server_bind(self) -> None:  # type: ignore[explicit-override]
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def handle_error(self, *_: object) -> None:  # type: ignore[explicit-override]
        """A client that resets its connection is not logged."""


def serve(port: int, health: Health) -> int:
    """Listen on all addresses of the pod; return the port.

    Raises:
        OSError: The port cannot be opened.
    """

    class Handler(BaseHTTPRequestHandler):
        timeout = REQUEST_SECONDS

        def setup(self) -> None:  # type: ignore[explicit-override]
            super().setup()
            try:
                self.rfile = BytesIO(self.connection.recv(REQUEST_BYTES))
            except OSError:  # it sent nothing
                self.rfile = BytesIO()

        def do_GET(self) -> None:
            answers = {"/healthz": lambda: health.is_alive, "/readyz": lambda: health.is_ready}
            answer = answers.get(self.path)
            self.send_response(404 if answer is None else 200 if answer() else 503)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:  # type: ignore[explicit-override]
            """Probes are not logged."""

    server = _Server(("", port), Handler)
    threading.Thread(target=server.serve_forever, name="taskqueue endpoints", daemon=True).start()
    return int(server.server_address[1])
