"""Controllers, kubelet and workers in memory: pods become as many as are asked for, and each keeps the protocol."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from hashlib import md5

from taskqueue_operator.control.ports import Body
from taskqueue_operator.drain.consumers import Connection
from taskqueue_operator.drain.protocol import LEASE_SECONDS, Answer, Drain, Report, Result, State
from taskqueue_operator.drain.replicaset_order import rank
from taskqueue_operator.resource.names import ANNOTATION_DIGEST, LABEL_NAME, Key
from taskqueue_operator.workers.api_objects import Pod
from tests.unit.workers.pod_statuses import UNSCHEDULABLE, container

from .fake_broker import FakeBrokers
from .fake_cluster import BY_REPLICA_SET, FakeCluster

TICK = 0.1
PERIOD = 15.0
DRAINING_PERIOD = 5.0


@dataclass
class FakeWorker:
    """One process in one pod.

    Attributes:
        life: How often the container was started again.
        obstacle: What the kubelet or the scheduler says of the pod while no container runs in it.
        says: Fields of its reports that are otherwise; None leaves one out.
    """

    key: Key
    pod: str
    taskqueue: Key
    address: str = ""
    silent: bool = False
    translated: bool = False
    in_flight: int = 0
    drain: Drain | None = None
    lease_until: float = 0
    highest: tuple[int, int] = (0, 0)
    number: int = 0
    reported: tuple[State, float] | None = None
    life: int = 0
    obstacle: Body | None = None
    says: Body = field(default_factory=dict)

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

    @property
    def incarnation(self) -> str:
        return md5(f"{self.pod} {self.life}".encode(), usedforsecurity=False).hexdigest()

    def report(self, answer: Answer | None = None) -> bytes:
        self.number += 1
        self.reported = self.state, _now()
        report = Report(
            version=1,
            taskqueue=str(self.taskqueue),
            pod=self.pod,
            incarnation=self.incarnation,
            number=self.number,
            state=self.state,
            in_flight=self.in_flight,
            prefetched=0,
            idle_seconds=0 if self.in_flight else 1,
            oldest_seconds=1 if self.in_flight else None,
            completed=0,
            failed=0,
            busy_seconds=0,
            task_timeout_seconds=60,
            drain=self.drain,
            answer=answer,
        )
        said = asdict(report) | self.says
        return json.dumps(
            {name: value for name, value in said.items() if value is not None or name not in self.says}
        ).encode()

    def obey(self, command: Body) -> Answer:
        mark = (command["epoch"], command["seq"])
        if mark < self.highest:
            return Answer(command["id"], Result.REFUSED, "superseded")
        self.highest = mark
        if command["command"] == "report":
            return Answer(command["id"], Result.DONE)
        drains = command["command"] == "drain"
        self.drain = Drain(command["installation"], *mark) if drains else None
        self.lease_until = _now() + LEASE_SECONDS
        return Answer(command["id"], Result.DONE)

    def start_again(self) -> None:
        """Begin another life of the container."""
        self.life += 1
        self.in_flight, self.drain, self.highest, self.number, self.reported = 0, None, (0, 0), 0, None

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
        places: How many pods the nodes take.
        fate: How many seconds later each copy of a report, or of a command, arrives; called for each of them.
    """

    cluster: FakeCluster
    brokers: FakeBrokers
    there: dict[Key, FakeWorker] = field(default_factory=dict)
    removed: list[FakeWorker] = field(default_factory=list)
    told: Counter[str] = field(default_factory=Counter)
    places: int = 1000
    fate: Callable[[str], Sequence[float]] = lambda _: (0.0,)
    _made: int = 0

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(TICK)
            for key in list(self.cluster.deployments):
                self._replace(key)
            self.work()
            self.brokers.broker.connections = lambda: [worker.connection for worker in self.there.values()]
            if self.brokers.broker.fault is not None:
                continue
            for conversation in self.brokers.broker.conversations:
                conversation.answer = self._command
            for worker in list(self.there.values()):
                if worker.obstacle is None and worker.due() and not worker.silent:
                    self._report(worker)

    def work(self) -> None:
        """Let time pass in the workers; whatever they do is up to the test."""

    def of(self, key: Key) -> list[FakeWorker]:
        return [worker for worker in self.there.values() if worker.taskqueue == key]

    def _report(self, worker: FakeWorker, answer: Answer | None = None) -> None:
        report = worker.report(answer)
        for conversation in self.brokers.broker.conversations:
            if str(worker.taskqueue) in conversation.listens:
                self._carry("report", partial(conversation.heard, str(worker.taskqueue), report, worker.pod))

    def _command(self, address: str, command: bytes) -> None:
        self._carry("command", partial(self._obey, address, json.loads(command)))

    def _obey(self, address: str, command: Body) -> None:
        worker = next((each for each in self.there.values() if each.pod == address), None)
        if worker is None or worker.silent or worker.obstacle is not None:
            return
        if command["incarnation"] != worker.incarnation:
            return
        self.told[command["command"]] += 1
        self._report(worker, worker.obey(command))

    def _carry(self, what: str, deliver: Callable[[], object]) -> None:
        for delay in self.fate(what):
            if delay:
                asyncio.get_running_loop().call_later(delay, deliver)
            else:
                deliver()

    def _replace(self, key: Key) -> None:
        there = self.cluster.deployments[key]
        pods = sorted((self._pod(each.key) for each in self.of(key)), key=rank)
        surplus = len(pods) - there["spec"]["replicas"]
        for pod in pods[: max(0, surplus)]:
            self.removed.append(self.there.pop(pod.key))
            self.cluster.remove("pods", pod.key)
        for _ in range(-surplus):
            self._make(key, there)
        for worker in self.of(key):
            if worker.obstacle is UNSCHEDULABLE and not self._is_full():
                worker.obstacle = None
            self._show(worker)
        ready = sum(_is_ready(worker) for worker in self.of(key))
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
        obstacle = UNSCHEDULABLE if self._is_full() else None
        worker = FakeWorker(name, f"uid-of-{name.name}", key, f"10.0.0.{self._made}", obstacle=obstacle)
        self.there[name] = worker
        labels = template["labels"] | {LABEL_NAME: key.name}
        metadata = template | {**name._asdict(), "uid": worker.pod, "labels": labels, "ownerReferences": BY_REPLICA_SET}
        self.cluster._store("pods", {"metadata": metadata, "spec": _spec(worker), "status": _status(worker)})

    def _is_full(self) -> bool:
        return sum(each.obstacle is not UNSCHEDULABLE for each in self.there.values()) >= self.places

    def _show(self, worker: FakeWorker) -> None:
        body, shown = self.cluster.pods[worker.key], {"spec": _spec(worker), "status": _status(worker)}
        if body | shown != body:
            self.cluster._store("pods", body | shown)

    def _pod(self, key: Key) -> Pod:
        return Pod.parse(self.cluster.pods[key])


def _spec(worker: FakeWorker) -> Body:
    return {} if worker.obstacle is UNSCHEDULABLE else {"nodeName": "node"}


def _status(worker: FakeWorker) -> Body:
    if worker.obstacle is not None:
        return worker.obstacle
    ready = _is_ready(worker)
    conditions = [{"type": "Ready", "status": str(ready)}]
    shown = {"phase": "Running", "conditions": conditions, "podIP": worker.address}
    return shown | container({"running": {}}, ready=ready, restartCount=worker.life)


def _is_ready(worker: FakeWorker) -> bool:
    return worker.obstacle is None and worker.state is not State.DRAINED


def _now() -> float:
    return asyncio.get_running_loop().time()
