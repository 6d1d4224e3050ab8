"""Servers that are no brokers: what they do with a connection depends on its port. Runs in a pod, on Python alone."""

import socketserver
import time
from http import HTTPStatus
from threading import Thread

SILENT, CLOSING, FLOODING, DRIPPING = PORTS = range(7001, 7005)
"""Accepts and never answers; accepts and closes; answers HTTP without an end; answers HTTP one byte a second."""
HEAD = f"HTTP/1.1 {HTTPStatus.OK.value} OK\r\nContent-Type: application/json\r\n\r\n[".encode()


class Handler(socketserver.BaseRequestHandler):
    """Handles one connection."""

    def handle(self) -> None:
        port = self.server.server_address[1]
        if port == CLOSING:
            return
        if port == SILENT:
            while self.request.recv(4096):
                pass
            return
        self.request.recv(4096)
        self.request.sendall(HEAD)
        while True:
            self.request.sendall(b" " * (65536 if port == FLOODING else 1))
            if port == DRIPPING:
                time.sleep(1)


class Server(socketserver.ThreadingTCPServer):
    """One thread per connection."""

    allow_reuse_address = True
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that leave are no errors here."""


if __name__ == "__main__":
    for number in PORTS:
        Thread(target=Server(("", number), Handler).serve_forever).start()
