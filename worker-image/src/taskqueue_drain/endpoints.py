"""Serves /healthz and /readyz, on threads."""

import socket
import threading
from http.server import BaseHTTPRequestHandler
from io import BytesIO
from socketserver import ThreadingTCPServer
from typing import Final, Protocol

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


def serve(port: int, health: Probed) -> int:
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
