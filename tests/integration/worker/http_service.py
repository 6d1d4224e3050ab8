"""A service that tasks depend on. It can be stopped and started again at the same address."""

import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from typing_extensions import override


class HttpService:
    """An HTTP server that accepts each POST.

    Attributes:
        url: Its address, also while it is stopped.
        requests: How many requests it has answered.
    """

    def __init__(self) -> None:
        """Start it at a free port."""
        self.requests = 0
        self._port = 0
        self.start()
        self.url = f"http://127.0.0.1:{self._port}/"

    def start(self) -> None:
        """Accept connections."""
        self._server = _Server(("127.0.0.1", self._port), _Request)
        self._server.service = self
        self._port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Refuse connections; harmless if it is stopped."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    service: HttpService


class _Request(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        self.server.service.requests += 1
        self.send_response(HTTPStatus.NO_CONTENT)
        self.end_headers()

    @override
    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""
