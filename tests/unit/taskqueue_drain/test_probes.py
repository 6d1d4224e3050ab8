"""A process serves its probes once, whatever of it starts again."""

import socket
from dataclasses import dataclass

import httpx
import pytest

from taskqueue_drain.probes import serve_probes


@dataclass
class Worker:
    is_alive: bool = True
    is_ready: bool = True


def test_the_probes_are_those_of_the_worker_that_started_last(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {"TASKQUEUE_NAME": "media/thumbnails", "TASKQUEUE_HTTP_PORT": str(port)}
    for worker in (Worker(is_alive=False, is_ready=False), Worker()):
        serve_probes(environment, worker)
        for path, is_well in (("healthz", worker.is_alive), ("readyz", worker.is_ready)):
            assert httpx.get(f"http://127.0.0.1:{port}/{path}").status_code == (200 if is_well else 503)
    assert "not served" not in caplog.text


def test_a_port_that_is_in_use_is_named_and_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("", 0)) as used:
        environment = {"TASKQUEUE_NAME": "media/thumbnails", "TASKQUEUE_HTTP_PORT": str(used.getsockname()[1])}
        serve_probes(environment, Worker())
    assert "/healthz and /readyz are not served" in caplog.text
