"""Workers as real processes, and an operator that removes some of them, while the broker fails in several ways."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from typing_extensions import override

from tests.cluster.control_plane import ControlPlane
from tests.cluster.three_node_broker import ThreeNodeBroker
from tests.integration.harness.eventually import eventually
from tests.integration.harness.fake_kubelet import FakeKubelet
from tests.integration.harness.fault_scenario import QUEUE
from tests.integration.harness.operator_process import OperatorProcess
from tests.integration.harness.tenant import Tenant
from tests.integration.worker.gate import Gate

pytestmark = pytest.mark.fault

WORKERS = 4
BUSY = 2
SCALING = {
    "maxReplicas": WORKERS,
    "readyPerReplica": 1,
    "idleSeconds": 1,
    "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
}


class BusyWorkers(FakeKubelet):
    """Four workers, of which two run a task until the gate opens; all are connected to a follower of the queue."""

    def __init__(self, tenant: Tenant[ThreeNodeBroker], three_nodes: ThreeNodeBroker, directory: Path) -> None:
        super().__init__(tenant, QUEUE, three_nodes, directory)
        self.tenant = tenant
        self._three_nodes = three_nodes
        self.gate = Gate(directory / "gate")
        self.leader = 0

    def start(self, operator: OperatorProcess) -> None:
        """Wait until two of them run a task, and the operator has read that."""
        self.tenant.secret()
        self.tenant.taskqueue(QUEUE, scaling=SCALING)
        eventually(lambda: self.tenant.condition(QUEUE).get("status"), "True")
        self.leader = self.until_leader_known(asked=0)
        self.follower = (self.leader + 1) % 3
        self.broker = self._three_nodes.nodes[self.follower]
        for proxy in self._three_nodes.proxies:
            proxy.pin(self.follower)
        self.tenant.taskqueue(QUEUE, scaling=SCALING | {"minReplicas": WORKERS})
        self.until(self.ready, WORKERS)
        for n in range(BUSY):
            self._publish({"n": n, "gate": str(self.gate)})
        self.until(lambda: len(self.ledger("started")), BUSY)
        # Otherwise the operator may drain all four, and undrain any two of them.
        self.until(lambda: self.unacked(operator), BUSY)

    def unacked(self, operator: OperatorProcess) -> float | None:
        """Return how many unacked messages the operator has read."""
        text = httpx.get(f"http://127.0.0.1:{operator.port}/metrics", timeout=60).text
        lines = (line for line in text.splitlines() if line.startswith("taskqueue_queue_messages_unacked{"))
        return next((float(line.split()[-1]) for line in lines if f'"{self.tenant.namespace}"' in line), None)

    def until_leader_known(self, *, asked: int, other_than: int | None = None) -> int:
        """Wait until that node knows the leader of the queue; return the number of the leader."""

        def leader() -> int | None:
            return self._three_nodes.leader(self.tenant.vhost, QUEUE, asked=asked)

        return int(self.until(leader, *({0, 1, 2} - {other_than})))

    @override
    def close(self) -> None:
        super().close()
        self.tenant.close()

    def need_only_the_busy(self) -> None:
        """Lower `minReplicas`, so that only the workers that run a task are needed."""
        self.tenant.taskqueue(QUEUE, scaling=SCALING)

    def ready(self) -> int:
        """Return `status.readyReplicas` of the Deployment."""
        return int(self.tenant.get("deployment", QUEUE).get("status", {}).get("readyReplicas", 0))

    def keep_synced(self, seconds: float) -> None:
        """Keep pods and processes in step for some seconds."""
        end = time.monotonic() + seconds
        self.until(lambda: time.monotonic() > end)

    def replicas(self) -> int | None:
        """Return `spec.replicas` of the Deployment."""
        return self.tenant.replicas(QUEUE)

    def ledger(self, beginning: str) -> list[str]:
        """Return the entries of the ledger that all workers write, with this beginning."""
        processes = [*self.running.values(), *self.terminated]
        return [entry for entry in (processes[0].ledger if processes else ()) if entry.startswith(beginning)]

    def finish(self) -> None:
        """Open the gate, and wait until all workers are removed; no task was interrupted, none ran twice."""
        self.gate.open()
        self.until(self.replicas, 0)
        self.until(lambda: len(self.terminated), WORKERS)
        assert sorted(self.ledger("started")) == ["started 0", "started 1"]
        assert sorted(self.ledger("finished")) == [f"finished {n} draining=False" for n in range(BUSY)]

    def _publish(self, payload: dict[str, object]) -> None:
        properties = {"delivery_mode": 2, "type": "work", "content_type": "application/json"}
        message = {"routing_key": QUEUE, "payload": json.dumps(payload), "payload_encoding": "string"}
        path = self.tenant.path("exchanges", QUEUE)
        answer = self.tenant.http.post(f"{path}/publish", json=message | {"properties": properties}).raise_for_status()
        assert answer.json()["routed"]


@pytest.fixture
def workers(
    operator: OperatorProcess, installed: ControlPlane, three_nodes: ThreeNodeBroker, tmp_path: Path
) -> Iterator[BusyWorkers]:
    workers = BusyWorkers(Tenant(installed, three_nodes), three_nodes, tmp_path)
    try:
        workers.start(operator)
        yield workers
    finally:
        three_nodes.restore()
        workers.close()


def test_idle_workers_are_removed_and_busy_ones_finish(workers: BusyWorkers) -> None:
    workers.need_only_the_busy()
    workers.until(workers.replicas, BUSY)
    workers.finish()


def test_during_a_memory_alarm_no_worker_is_removed_and_idle_ones_are_removed_after_it(
    workers: BusyWorkers, three_nodes: ThreeNodeBroker
) -> None:
    with memory_alarm(three_nodes):
        workers.need_only_the_busy()
        workers.keep_synced(20)
        assert workers.replicas() == WORKERS
        workers.until(lambda: workers.tenant.condition(QUEUE, "BrokerReachable")["reason"], "BrokerAlarm")
    workers.until(workers.replicas, BUSY)
    workers.finish()


def test_a_queue_leader_that_freezes_during_a_drain_interrupts_no_task(
    workers: BusyWorkers, three_nodes: ThreeNodeBroker
) -> None:
    workers.need_only_the_busy()
    three_nodes.nodes[workers.leader].pause()
    workers.until_leader_known(asked=workers.follower, other_than=workers.leader)
    workers.finish()


def test_without_a_queue_leader_no_worker_is_drained_until_there_is_one_again(
    workers: BusyWorkers, three_nodes: ThreeNodeBroker
) -> None:
    frozen = [node for number, node in enumerate(three_nodes.nodes) if number != workers.follower]
    for node in frozen:
        node.pause()
    workers.need_only_the_busy()
    workers.keep_synced(15)
    assert workers.replicas() == WORKERS
    assert [worker.metric("taskqueue_worker_draining") for worker in workers.running.values()] == [0] * WORKERS
    for node in frozen:
        node.resume()
    workers.finish()


@contextmanager
def memory_alarm(three_nodes: ThreeNodeBroker) -> Iterator[None]:
    """Make the broker block all publishers: an alarm of one node is one of all."""
    three_nodes.nodes[0].ctl("set_vm_memory_high_watermark", "0.00001")
    try:
        yield
    finally:
        three_nodes.nodes[0].ctl("set_vm_memory_high_watermark", "0.6")
