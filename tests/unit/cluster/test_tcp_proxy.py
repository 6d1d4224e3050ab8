"""The proxy of a broker, in front of two echo servers."""

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import cast

import pytest

from tests.cluster import ports
from tests.cluster.network import Host
from tests.cluster.tcp_proxy import ProxyLoop, Target, TcpProxy


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
def proxy() -> Iterator[TcpProxy]:
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
        yield stack.enter_context(ProxyLoop()).open_proxy(own, targets)


@pytest.fixture
def client(proxy: TcpProxy) -> Iterator[socket.socket]:
    proxy.pin(0)
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as connected:
        connected.sendall(b"hello")
        assert connected.recv(100) == b"ahello"
        yield connected


def ask(client: socket.socket) -> bytes:
    client.sendall(b"hello")
    return client.recv(100)


def test_a_target_that_refuses_is_skipped(proxy: TcpProxy) -> None:
    for _ in range(10):
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as client:
            assert ask(client) in {b"ahello", b"bhello"}


def test_pin_forwards_new_connections_to_the_target_and_closes_others(proxy: TcpProxy, client: socket.socket) -> None:
    proxy.pin(1)
    with pytest.raises(ConnectionError):
        assert ask(client) == b"never"
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as other:
        assert ask(other) == b"bhello"


def test_stalled_data_arrives_after_the_stall(proxy: TcpProxy, client: socket.socket) -> None:
    proxy.stall()
    client.settimeout(0.2)
    with pytest.raises(TimeoutError):
        ask(client)
    proxy.flow()
    client.settimeout(10)
    assert client.recv(100) == b"ahello"


def test_a_connection_is_cut_after_so_many_bytes(proxy: TcpProxy, client: socket.socket) -> None:
    proxy.cut(after=8)
    assert ask(client) == b"ahello"
    assert ask(client) == b"ah"
    with pytest.raises(ConnectionResetError):
        client.recv(100)
    proxy.mend()
    assert proxy.cuts == 1
