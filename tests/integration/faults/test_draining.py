"""Workers as real processes, and an operator that takes some of them away, while the broker has troubles of its own."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from typing_extensions import override

from tests.cluster.control_plane import ControlPlane
from tests.cluster.trio import Trio
from tests.integration.control.stage import Operator, Stage, eventually
from tests.integration.worker.gate import Gate

from .kubelet import Kubelet
from .scene import QUEUE

pytestmark = pytest.mark.fault

WORKERS = 4
BUSY = 2
SCALING = {
    "maxReplicas": WORKERS,
    "readyPerReplica": 1,
    "idleSeconds": 1,
    "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
}


class Crew(Kubelet):
    """Four workers, of which two have a task that ends when the gate opens; all speak to a node that does not lead."""

    def __init__(self, stage: Stage[Trio], trio: Trio, directory: Path) -> None:
        super().__init__(stage, QUEUE, trio, directory)
        self.stage = stage
        self.gate = Gate(directory / "gate")
        self.leader = 0

    def begin(self, trio: Trio, operator: Operator) -> None:
        """Have them at work."""
        self.stage.secret()
        self.stage.taskqueue(QUEUE, scaling=SCALING)
        eventually(lambda: self.stage.condition(QUEUE).get("status"), "True")
        self.leader = self.until_led(trio, asked=0)
        self.elsewhere = (self.leader + 1) % 3
        self.broker = trio.nodes[self.elsewhere]
        for front in trio.fronts:
            front.pin(self.elsewhere)
        self.stage.taskqueue(QUEUE, scaling=SCALING | {"minReplicas": WORKERS})
        self.until(self.ready, WORKERS)
        for n in range(BUSY):
            self._publish({"n": n, "gate": str(self.gate)})
        self.until(lambda: len(self.ledger("started")), BUSY)
        # Else all four might be asked to go, and the two that are called back are those that can begin at once.
        self.until(lambda: self.unacked(operator), BUSY)

    def unacked(self, operator: Operator) -> float | None:
        """How many messages the workers hold, as far as the operator knows."""
        text = httpx.get(f"http://127.0.0.1:{operator.port}/metrics", timeout=5).text
        lines = (line for line in text.splitlines() if line.startswith("taskqueue_queue_messages_unacked{"))
        return next((float(line.split()[-1]) for line in lines if f'"{self.stage.namespace}"' in line), None)

    def until_led(self, trio: Trio, *, asked: int, other_than: int | None = None) -> int:
        """Wait until that node knows who leads the queue."""

        def leader() -> int | None:
            return trio.leader(self.stage.vhost, QUEUE, asked=asked)

        return int(self.until(leader, *({0, 1, 2} - {other_than})))

    @override
    def close(self) -> None:
        super().close()
        self.stage.close()

    def lower(self) -> None:
        """Let nobody be needed any more who does not work."""
        self.stage.taskqueue(QUEUE, scaling=SCALING)

    def ready(self) -> int:
        """How many are ready, as Kubernetes counts them."""
        return int(self.stage.get("deployment", QUEUE).get("status", {}).get("readyReplicas", 0))

    def last(self, seconds: float) -> None:
        """Let some time pass."""
        end = time.monotonic() + seconds
        self.until(lambda: time.monotonic() > end)

    def replicas(self) -> int | None:
        """How many are asked for."""
        return self.stage.replicas(QUEUE)

    def ledger(self, what: str) -> list[str]:
        """What has become of tasks, by all workers."""
        every = [*self.workers.values(), *self.left]
        return [entry for entry in (every[0].ledger if every else ()) if entry.startswith(what)]

    def end(self) -> None:
        """Let the tasks end, and all workers go; nobody was cut, and nothing was done twice."""
        self.gate.open()
        self.until(self.replicas, 0)
        self.until(lambda: len(self.left), WORKERS)
        assert sorted(self.ledger("started")) == ["started 0", "started 1"]
        assert sorted(self.ledger("finished")) == [f"finished {n} draining=False" for n in range(BUSY)]

    def _publish(self, payload: dict[str, object]) -> None:
        properties = {"delivery_mode": 2, "type": "work", "content_type": "application/json"}
        message = {"routing_key": QUEUE, "payload": json.dumps(payload), "payload_encoding": "string"}
        path = self.stage.path("exchanges", QUEUE)
        answer = self.stage.http.post(f"{path}/publish", json=message | {"properties": properties}).raise_for_status()
        assert answer.json()["routed"]


@pytest.fixture
def crew(
    running: Operator, installed: ControlPlane, trio: Trio, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Crew]:
    before = running.log.stat().st_size
    assert running.is_ready()
    crew = Crew(Stage(installed, trio), trio, tmp_path)
    try:
        crew.begin(trio, running)
        yield crew
    finally:
        trio.restore()
        crew.close()
    with running.log.open() as log:
        log.seek(before)
        request.node.add_report_section("call", "operator", log.read()[-20000:])


def test_idle_workers_go_and_the_busy_ones_finish(crew: Crew) -> None:
    crew.lower()
    crew.until(crew.replicas, BUSY)
    crew.end()


def test_a_memory_alarm_lets_nobody_go_and_when_it_is_over_the_idle_ones_go(crew: Crew, trio: Trio) -> None:
    with memory_alarm(trio):
        crew.lower()
        crew.last(20)
        assert crew.replicas() == WORKERS
    crew.until(crew.replicas, BUSY)
    crew.end()


def test_a_leader_of_the_queue_that_freezes_when_workers_are_to_go_hurts_nobody(crew: Crew, trio: Trio) -> None:
    crew.lower()
    trio.nodes[crew.leader].pause()
    crew.until_led(trio, asked=crew.elsewhere, other_than=crew.leader)
    crew.end()


def test_without_a_leader_of_the_queue_nobody_is_drained_and_with_one_all_goes_on(crew: Crew, trio: Trio) -> None:
    frozen = [node for number, node in enumerate(trio.nodes) if number != crew.elsewhere]
    for node in frozen:
        node.pause()
    crew.lower()
    crew.last(15)
    assert crew.replicas() == WORKERS
    assert [each.metric("taskqueue_worker_draining") for each in crew.workers.values()] == [0] * WORKERS
    for node in frozen:
        node.resume()
    crew.end()


@contextmanager
def memory_alarm(trio: Trio) -> Iterator[None]:
    """Have the broker take nothing from who publishes: an alarm of one node is one of all."""
    trio.nodes[0].ctl("set_vm_memory_high_watermark", "0.00001")
    try:
        yield
    finally:
        trio.nodes[0].ctl("set_vm_memory_high_watermark", "0.6")
