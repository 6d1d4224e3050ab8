"""When a worker is alive and ready, in virtual time."""

import json

import pytest

from taskqueue_drain import health as health_module
from taskqueue_drain.health import PATIENCE_SECONDS, Health
from tests.unit.taskqueue_drain.fake_runtime import FakeRuntime, Recorder, joined

DRAIN = json.dumps(
    {"version": 1, "id": "id", "command": "drain", "incarnation": "me", "installation": "a"}
    | {"epoch": 1, "seq": 1, "lease_seconds": 60}
).encode()


class Clock:
    now = 0.0

    def monotonic(self) -> float:
        return self.now


class Connection:
    is_reached = True


class Worker:
    """A worker that has joined. Attributes: clock, runtime, connection: what the tests change."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.runtime = FakeRuntime()
        self.connection = Connection()
        self.protocol = joined(self.runtime, Recorder())
        self.health = Health(self.runtime)
        self.health.join(self.protocol, self.connection)

    def is_alive_after(self, seconds: float) -> bool:
        assert self.health.is_alive
        self.clock.now += seconds
        return self.health.is_alive


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Worker:
    clock = Clock()
    monkeypatch.setattr(health_module, "time", clock)
    return Worker(clock)


def test_a_worker_that_does_not_consume_is_unhealthy_after_its_patience(worker: Worker) -> None:
    worker.runtime.is_consuming = False
    assert worker.is_alive_after(PATIENCE_SECONDS - 1)
    assert not worker.is_alive_after(1)
    assert not worker.health.is_ready


def test_a_worker_whose_event_loop_stands_still_is_unhealthy(worker: Worker) -> None:
    worker.health.beat_at = 0.0
    assert worker.is_alive_after(PATIENCE_SECONDS - 1)
    assert worker.is_alive_after(PATIENCE_SECONDS - 1)
    assert not worker.is_alive_after(1)
    assert worker.health.is_ready


@pytest.mark.parametrize("excuse", ["no broker", "a task", "a drain", "SIGTERM"])
def test_a_worker_is_not_restarted_where_that_helps_nobody(worker: Worker, excuse: str) -> None:
    worker.runtime.is_consuming = False
    match excuse:
        case "no broker":
            worker.connection.is_reached = False
        case "a task":
            worker.runtime.in_flight = 1
        case "a drain":
            worker.protocol.receive(DRAIN, 0)
        case _:
            worker.protocol.begin_shutdown()
    assert worker.is_alive_after(10 * PATIENCE_SECONDS)


def test_a_worker_that_has_not_joined_is_alive_and_ready_while_it_consumes() -> None:
    runtime = FakeRuntime()
    health = Health(runtime)
    assert (health.is_alive, health.is_ready) == (True, True)
    runtime.is_consuming = False
    assert (health.is_alive, health.is_ready) == (True, False)
