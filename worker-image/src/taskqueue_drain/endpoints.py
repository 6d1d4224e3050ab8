"""Serves /healthz, /readyz and /metrics, on threads."""

import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from io import BytesIO
from socketserver import ThreadingTCPServer
from typing import Final, Protocol

from .exposition import CONTENT_TYPE

REQUEST_SECONDS: Final = 1.0
REQUEST_BYTES: Final = 4096
"""A probe of the kubelet has 200 bytes, in one segment."""


class Probed(Protocol):
    """What the probes ask (`taskqueue_drain.health.Health`), on any thread."""

    @property
    def is_alive(self) -> bool:
        """Whether the container may go on."""
        ...

    @property
    def is_ready(self) -> bool:
        """Whether the pod counts as ready."""
        ...


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


def serve(port: int, health: Probed, metrics: Callable[[], bytes] | None = None) -> int:
    """Listen on all addresses of the pod; return the port.

    Args:
        port: The port; 0 selects a free one.
        health: Answers the probes.
        metrics: Returns the page `/metrics`, if there is one.

    Raises:
        OSError: The port cannot be opened.
    """
    probes = {"/healthz": lambda: health.is_alive, "/readyz": lambda: health.is_ready}

    class Handler(BaseHTTPRequestHandler):
        timeout = REQUEST_SECONDS

        def setup(self) -> None:  # type: ignore[explicit-override]
            super().setup()
            try:
                self.rfile = BytesIO(self.connection.recv(REQUEST_BYTES))
            except OSError:  # it sent nothing
                self.rfile = BytesIO()

        def do_GET(self) -> None:
            if self.path in probes:
                self._answer(200 if probes[self.path]() else 503)
            elif self.path == "/metrics" and metrics is not None:
                self._answer(200, metrics())
            else:
                self._answer(404)

        def _answer(self, status: int, body: bytes = b"") -> None:
            self.send_response(status)
            self.send_header("Content-Type", CONTENT_TYPE)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:  # type: ignore[explicit-override]
            """Probes are not logged."""

    server = _Server(("", port), Handler)
    threading.Thread(target=server.serve_forever, name="taskqueue endpoints", daemon=True).start()
    return int(server.server_address[1])
