"""A gate is open when its object exists, and closed in every other case."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from typing_extensions import override

from tests.cluster import ports
from tests.e2e import gate


class Server(ThreadingHTTPServer):
    """Responds to every request with `status`, and records the requests."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status = 404
        self.requests: list[tuple[str, str | None]] = []

    @property
    def gate(self) -> str:
        return f"http://guest:secret@127.0.0.1:{self.server_port}/api/exchanges/tenant/gate"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requests.append((self.path, self.headers["Authorization"]))
        self.send_response(self.server.status)
        self.end_headers()

    @override
    def log_message(self, format: str, *args: Any) -> None:
        del format, args


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("status", [401, 404, 503])
def test_a_gate_is_closed_while_its_object_is_not_found(server: Server, status: int) -> None:
    server.status = status

    assert not gate.is_open(server.gate)


def test_a_gate_is_closed_while_the_server_is_down() -> None:
    assert not gate.is_open(f"http://guest:secret@127.0.0.1:{ports.free(1)[0]}/gate")


def test_a_gate_is_open_when_its_object_exists(server: Server) -> None:
    server.status = 200

    assert gate.is_open(server.gate)
    assert server.requests == [("/api/exchanges/tenant/gate", "Basic Z3Vlc3Q6c2VjcmV0")]


def test_wait_without_a_gate_returns_at_once() -> None:
    gate.wait(None)


def test_wait_at_a_closed_gate_times_out(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "TIMEOUT_SECONDS", 0.05)
    monkeypatch.setattr(gate, "POLL_SECONDS", 0.01)

    with pytest.raises(TimeoutError):
        gate.wait(server.gate)
    assert len(server.requests) > 1
