"""Ports that servers of tests listen on."""

import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.cluster import ports


def test_a_port_is_given_once_while_its_server_does_not_listen_yet() -> None:
    with ThreadPoolExecutor(8) as askers:
        given = [port for few in askers.map(ports.free, [5] * 100) for port in few]
    assert len(given) == len(set(given)) == 500


def test_a_port_on_which_a_server_listens_is_not_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port = ports.free(1)[0]
    monkeypatch.setenv("TASKQUEUE_CACHE", str(tmp_path))
    (tmp_path / "last-port").write_text(str(port - 1))
    with socket.socket() as server:
        server.bind(("127.0.0.1", port))
        server.listen()
        assert port not in ports.free(3)
