"""Controllers, kubelet and workers in memory: pods become as many as are asked for, and each keeps the protocol."""

import asyncio
import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from hashlib import md5

from taskqueue_operator.control.ports import Body
from taskqueue_operator.resource.names import ANNOTATION_DIGEST, LABEL_NAME, Key
from taskqueue_operator.workers.observed import Pod
from taskqueue_operator.workers.protocol import LEASE_SECONDS, Answer, Drain, Report, Result, State
from taskqueue_operator.workers.removal_order import place
from taskqueue_operator.workers.sighting import Connection
from tests.unit.workers.states import container

from .fake_broker import FakeBrokers
from .fake_cluster import FakeCluster

TICK = 0.1
PERIOD = 15.0
DRAINING_PERIOD = 5.0


@dataclass
class FakeWorker:
    """One process in one pod."""

    key: Key
    pod: str
    taskqueue: Key
    address: str = ""
    silent: bool = False
    translated: bool = False
    in_flight: int = 0
    drain: Drain | None = None
    lease_until: float = 0
    number: int = 0
    reported: tuple[State, float] | None = None

    @property
    def state(self) -> State:
        if self.drain is None:
            return State.CONSUMING
        return State.DRAINING if self.in_flight else State.DRAINED

    @property
    def connection(self) -> Connection:
        """What the broker shows of it; behind an address translation, not from where it comes."""
        marks = frozenset({"192.0.2.1" if self.translated else self.address})
        return Connection(marks, {self.taskqueue.name: True}, self.in_flight)

    def report(self, answer: Answer | None = None) -> bytes:
        self.number += 1
        self.reported = self.state, _now()
        report = Report(
            version=1,
            taskqueue=str(self.taskqueue),
            pod=self.pod,
            incarnation=md5(self.pod.encode(), usedforsecurity=False).hexdigest(),
            number=self.number,
            state=self.state,
            in_flight=self.in_flight,
            hoarded=0,
            idle_seconds=0 if self.in_flight else 1,
            oldest_seconds=1 if self.in_flight else None,
            completed=0,
            failed=0,
            busy_seconds=0,
            task_timeout_seconds=60,
            drain=self.drain,
            answer=answer,
        )
        return json.dumps(asdict(report)).encode()

    def obey(self, command: Body) -> Answer:
        mark = (command["epoch"], command["seq"])
        if self.drain is not None and mark < (self.drain.epoch, self.drain.seq):
            return Answer(command["id"], Result.REFUSED, "superseded")
        if command["command"] == "report":
            return Answer(command["id"], Result.DONE)
        drains = command["command"] == "drain"
        self.drain = Drain(command["installation"], *mark) if drains else None
        self.lease_until = _now() + LEASE_SECONDS
        return Answer(command["id"], Result.DONE)

    def due(self) -> bool:
        if self.drain is not None and _now() > self.lease_until:
            self.drain = None
        state, at = self.reported or (None, 0)
        return state is not self.state or _now() - at > (PERIOD if self.drain is None else DRAINING_PERIOD)


@dataclass
class FakeWorkers:
    """All workers of all Deployments.

    Attributes:
        removed: What each pod that was removed was doing, tasks in flight among it.
    """

    cluster: FakeCluster
    brokers: FakeBrokers
    there: dict[Key, FakeWorker] = field(default_factory=dict)
    removed: list[FakeWorker] = field(default_factory=list)
    told: Counter[str] = field(default_factory=Counter)
    _made: int = 0

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(TICK)
            for key in list(self.cluster.deployments):
                self._replace(key)
            conversation = self.brokers.broker.conversation
            if conversation is None or self.brokers.broker.fault is not None:
                continue
            conversation.answer = self._command
            self.brokers.broker.connections = lambda: [worker.connection for worker in self.there.values()]
            for worker in list(self.there.values()):
                if worker.due() and not worker.silent and str(worker.taskqueue) in conversation.listens:
                    conversation.heard(worker.report(), worker.pod)

    def of(self, key: Key) -> list[FakeWorker]:
        return [worker for worker in self.there.values() if worker.taskqueue == key]

    def _command(self, address: str, command: bytes) -> None:
        worker = next((each for each in self.there.values() if each.pod == address), None)
        if worker is None or worker.silent or self.brokers.broker.conversation is None:
            return
        body = json.loads(command)
        self.told[body["command"]] += 1
        report = worker.report(worker.obey(body))
        self.brokers.broker.conversation.heard(report, address)

    def _replace(self, key: Key) -> None:
        there = self.cluster.deployments[key]
        pods = sorted((self._pod(each.key) for each in self.of(key)), key=place)
        surplus = len(pods) - there["spec"]["replicas"]
        for pod in pods[: max(0, surplus)]:
            self.removed.append(self.there.pop(pod.key))
            self.cluster.remove("pods", pod.key)
        for _ in range(-surplus):
            self._make(key, there)
        for worker in self.of(key):
            self._show(worker)
        ready = sum(worker.state is not State.DRAINED for worker in self.of(key))
        status = {
            "replicas": len(self.of(key)),
            "updatedReplicas": len(self.of(key)),
            "readyReplicas": ready,
            "observedGeneration": there["metadata"]["generation"],
            "conditions": [],
        }
        if there.get("status") != status:
            self.cluster._store("deployments", there | {"status": status})

    def _make(self, key: Key, there: Body) -> None:
        self._made += 1
        template = there["spec"]["template"]["metadata"]
        name = Key(key.namespace, f"{key.name}-{template['annotations'][ANNOTATION_DIGEST]}-{self._made}")
        worker = self.there[name] = FakeWorker(name, f"uid-of-{name.name}", key, f"10.0.0.{self._made}")
        labels = template["labels"] | {LABEL_NAME: key.name}
        metadata = template | {**name._asdict(), "uid": worker.pod, "labels": labels}
        self.cluster._store("pods", {"metadata": metadata, "spec": {"nodeName": "node"}, "status": _status(worker)})

    def _show(self, worker: FakeWorker) -> None:
        body = self.cluster.pods[worker.key]
        if body["status"] != _status(worker):
            self.cluster._store("pods", body | {"status": _status(worker)})

    def _pod(self, key: Key) -> Pod:
        return Pod.parse(self.cluster.pods[key])


def _status(worker: FakeWorker) -> Body:
    ready = worker.state is not State.DRAINED
    conditions = [{"type": "Ready", "status": str(ready)}]
    shown = {"phase": "Running", "conditions": conditions, "podIP": worker.address}
    return shown | container({"running": {}}, ready=ready)


def _now() -> float:
    return asyncio.get_running_loop().time()
