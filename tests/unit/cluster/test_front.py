"""The front of a broker, before two echoes."""

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import cast

import pytest

from tests.cluster import ports
from tests.cluster.front import Desk, Front, Target
from tests.cluster.network import Host


class _Loopback:
    """A host for which no namespace is needed."""

    def socket(self) -> socket.socket:
        return socket.socket()


def _echo(listener: socket.socket, name: bytes) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:  # closed
            return
        with client:
            while data := client.recv(100):
                client.sendall(name + data)


@pytest.fixture
def front() -> Iterator[Front]:
    with ExitStack() as stack:
        targets = []
        for name in (b"a", b"b"):
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            thread = threading.Thread(target=_echo, args=(listener, name))
            thread.start()
            stack.callback(thread.join)
            stack.callback(listener.shutdown, socket.SHUT_RDWR)
            targets.append(Target(cast("Host", _Loopback()), listener.getsockname()[1]))
        refusing, own = ports.free(2)
        targets.append(Target(cast("Host", _Loopback()), refusing))
        yield stack.enter_context(Desk()).front(own, targets)


@pytest.fixture
def client(front: Front) -> Iterator[socket.socket]:
    front.pin(0)
    with socket.create_connection(("127.0.0.1", front.port), timeout=10) as connected:
        connected.sendall(b"hello")
        assert connected.recv(100) == b"ahello"
        yield connected


def ask(client: socket.socket) -> bytes:
    client.sendall(b"hello")
    return client.recv(100)


def test_who_refuses_is_passed_over(front: Front) -> None:
    for _ in range(10):
        with socket.create_connection(("127.0.0.1", front.port), timeout=10) as client:
            assert ask(client) in {b"ahello", b"bhello"}


def test_to_pin_leads_new_connections_there_and_ends_others(front: Front, client: socket.socket) -> None:
    front.pin(1)
    with pytest.raises(ConnectionError):
        assert ask(client) == b"never"
    with socket.create_connection(("127.0.0.1", front.port), timeout=10) as other:
        assert ask(other) == b"bhello"


def test_what_is_stalled_arrives_later(front: Front, client: socket.socket) -> None:
    front.stall()
    client.settimeout(0.2)
    with pytest.raises(TimeoutError):
        ask(client)
    front.flow()
    client.settimeout(10)
    assert client.recv(100) == b"ahello"


def test_a_connection_is_cut_after_so_many_bytes(front: Front, client: socket.socket) -> None:
    front.cut(after=8)
    assert ask(client) == b"ahello"
    assert ask(client) == b"ah"
    with pytest.raises(ConnectionResetError):
        client.recv(100)
    front.mend()
    assert front.cuts == 1
