"""Deployment controller, kubelet and workers in memory: the pods follow `spec.replicas`, and their workers report."""

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
from .fake_cluster import FakeCluster, by_replica_set

TICK_SECONDS = 0.1
REPORT_SECONDS = 15.0
DRAINING_REPORT_SECONDS = 5.0


@dataclass
class FakeWorker:
    """One process in one pod.

    Attributes:
        restarts: How often the container was restarted.
        blocked_status: The status of the pod while no container runs in it.
        report_overrides: Fields of its reports that differ; None leaves out a field.
    """

    key: Key
    pod: str
    deployment: Key
    taskqueue: Key
    address: str = ""
    silent: bool = False
    address_translated: bool = False
    in_flight: int = 0
    drain: Drain | None = None
    lease_until: float = 0
    highest: tuple[int, int] = (0, 0)
    number: int = 0
    reported: tuple[State, float] | None = None
    restarts: int = 0
    blocked_status: Body | None = None
    report_overrides: Body = field(default_factory=dict)

    @property
    def state(self) -> State:
        if self.drain is None:
            return State.CONSUMING
        return State.DRAINING if self.in_flight else State.DRAINED

    @property
    def connection(self) -> Connection:
        """The connection as the broker lists it; an address translation hides the address of the pod."""
        addresses = frozenset({"192.0.2.1" if self.address_translated else self.address})
        return Connection(addresses, {self.taskqueue.name: True}, self.in_flight)

    @property
    def incarnation(self) -> str:
        return md5(f"{self.pod} {self.restarts}".encode(), usedforsecurity=False).hexdigest()

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
        fields = asdict(report) | self.report_overrides
        return json.dumps(
            {name: value for name, value in fields.items() if value is not None or name not in self.report_overrides}
        ).encode()

    def execute(self, command: Body) -> Answer:
        token = (command["epoch"], command["seq"])
        if token < self.highest:
            return Answer(command["id"], Result.REFUSED, "superseded")
        self.highest = token
        if command["command"] == "report":
            return Answer(command["id"], Result.DONE)
        drains = command["command"] == "drain"
        self.drain = Drain(command["installation"], *token) if drains else None
        self.lease_until = _now() + LEASE_SECONDS
        return Answer(command["id"], Result.DONE)

    def restart(self) -> None:
        """Restart the container."""
        self.restarts += 1
        self.in_flight, self.drain, self.highest, self.number, self.reported = 0, None, (0, 0), 0, None

    def report_due(self) -> bool:
        if self.drain is not None and _now() > self.lease_until:
            self.drain = None
        state, at = self.reported or (None, 0)
        return state is not self.state or _now() - at > (
            REPORT_SECONDS if self.drain is None else DRAINING_REPORT_SECONDS
        )


@dataclass
class FakeWorkers:
    """All workers of all Deployments.

    Attributes:
        removed: The workers of removed pods, in their last state.
        pod_capacity: How many pods fit on the nodes.
        by_pod: The workers whose pods exist.
        commands: How many commands of each kind were received.
        arrivals: Called for each report and command; seconds until each copy of it arrives.
    """

    cluster: FakeCluster
    brokers: FakeBrokers
    by_pod: dict[Key, FakeWorker] = field(default_factory=dict)
    removed: list[FakeWorker] = field(default_factory=list)
    commands: Counter[str] = field(default_factory=Counter)
    pod_capacity: int = 1000
    arrivals: Callable[[str], Sequence[float]] = lambda _: (0.0,)
    _made: int = 0

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            for key in list(self.cluster.deployments):
                self._replace(key)
            self.work()
            self.brokers.broker.connections = lambda: [worker.connection for worker in self.by_pod.values()]
            if self.brokers.broker.fault is not None:
                continue
            for channel in self.brokers.broker.control_channels:
                channel.answer = self._command
            for worker in list(self.by_pod.values()):
                if worker.blocked_status is None and worker.report_due() and not worker.silent:
                    self._report(worker)

    def work(self) -> None:
        """Run the tasks of the workers; here there are none."""

    def of(self, key: Key) -> list[FakeWorker]:
        """Return the workers of a Deployment."""
        return [worker for worker in self.by_pod.values() if worker.deployment == key]

    def _report(self, worker: FakeWorker, answer: Answer | None = None) -> None:
        report = worker.report(answer)
        for channel in self.brokers.broker.control_channels:
            if str(worker.taskqueue) in channel.subscribed:
                self._carry("report", partial(channel.on_report, str(worker.taskqueue), report, worker.pod))

    def _command(self, address: str, command: bytes) -> None:
        self._carry("command", partial(self._execute, address, json.loads(command)))

    def _execute(self, address: str, command: Body) -> None:
        worker = next((worker for worker in self.by_pod.values() if worker.pod == address), None)
        if worker is None or worker.silent or worker.blocked_status is not None:
            return
        if command["incarnation"] != worker.incarnation:
            return
        self.commands[command["command"]] += 1
        self._report(worker, worker.execute(command))

    def _carry(self, what: str, deliver: Callable[[], object]) -> None:
        for delay in self.arrivals(what):
            if delay:
                asyncio.get_running_loop().call_later(delay, deliver)
            else:
                deliver()

    def _replace(self, key: Key) -> None:
        deployment = self.cluster.deployments[key]
        pods = sorted((self._pod(worker.key) for worker in self.of(key)), key=rank)
        surplus = len(pods) - deployment["spec"]["replicas"]
        for pod in pods[: max(0, surplus)]:
            self.removed.append(self.by_pod.pop(pod.key))
            self.cluster.remove("pods", pod.key)
        for _ in range(-surplus):
            self._make(key, deployment)
        for worker in self.of(key):
            if worker.blocked_status is UNSCHEDULABLE and not self._is_full():
                worker.blocked_status = None
            self._update_status(worker)
        ready = sum(_is_ready(worker) for worker in self.of(key))
        status = {
            "replicas": len(self.of(key)),
            "updatedReplicas": len(self.of(key)),
            "readyReplicas": ready,
            "observedGeneration": deployment["metadata"]["generation"],
            "conditions": [],
        }
        if deployment.get("status") != status:
            self.cluster._store("deployments", deployment | {"status": status})

    def _make(self, key: Key, deployment: Body) -> None:
        self._made += 1
        template = deployment["spec"]["template"]["metadata"]
        version = template.get("annotations", {}).get(ANNOTATION_DIGEST, "7d9f")
        name = Key(key.namespace, f"{key.name}-{version}-{self._made}")
        taskqueue = Key(key.namespace, template["labels"].get(LABEL_NAME, key.name))
        blocked_status = UNSCHEDULABLE if self._is_full() else None
        uid, address = f"uid-of-{name.name}", f"10.0.0.{self._made}"
        worker = FakeWorker(name, uid, key, taskqueue, address, blocked_status=blocked_status)
        self.by_pod[name] = worker
        metadata = template | {**name._asdict(), "uid": worker.pod, "ownerReferences": by_replica_set(key)}
        self.cluster._store("pods", {"metadata": metadata, "spec": _spec(worker), "status": _status(worker)})

    def _is_full(self) -> bool:
        return sum(worker.blocked_status is not UNSCHEDULABLE for worker in self.by_pod.values()) >= self.pod_capacity

    def _update_status(self, worker: FakeWorker) -> None:
        body, shown = self.cluster.pods[worker.key], {"spec": _spec(worker), "status": _status(worker)}
        if body | shown != body:
            self.cluster._store("pods", body | shown)

    def _pod(self, key: Key) -> Pod:
        return Pod.parse(self.cluster.pods[key])


def _spec(worker: FakeWorker) -> Body:
    return {} if worker.blocked_status is UNSCHEDULABLE else {"nodeName": "node"}


def _status(worker: FakeWorker) -> Body:
    if worker.blocked_status is not None:
        return worker.blocked_status
    ready = _is_ready(worker)
    conditions = [{"type": "Ready", "status": str(ready)}]
    shown = {"phase": "Running", "conditions": conditions, "podIP": worker.address}
    return shown | container({"running": {}}, ready=ready, restartCount=worker.restarts)


def _is_ready(worker: FakeWorker) -> bool:
    return worker.blocked_status is None and worker.state is not State.DRAINED


def _now() -> float:
    return asyncio.get_running_loop().time()
