"""All parts together, and what may fail between them: one random walk through the interleavings, drawn from a seed.

Harm is: a removed pod whose worker runs a task, although its operator could have known; a message that runs after it
was requeued; a worker that stays drained; zero workers beside messages that were ready when the last one stopped.
"""

import json
from collections import defaultdict
from dataclasses import dataclass, fields
from random import Random
from typing import Self

from taskqueue_operator.drain.context import QueueState
from taskqueue_operator.drain.protocol import Command, Report, State
from taskqueue_operator.workers.api_objects import Pod

from .operator_process import OperatorProcess, moment
from .rules import Rule
from .simulated_cluster import MAX_WRITE_DELAY_SECONDS, SimulatedCluster, Write
from .worker_process import SimulatedQueue, WorkerProcess

SECONDS = 240
KNOWN_AFTER_SECONDS = 5
"""The watches have shown a container that has been running for this long."""


@dataclass(frozen=True)
class FaultRates:
    """The probability of faults: per message, per write, or per second.

    Attributes:
        lost: A message is lost.
        late: A message is up to 30 s late.
        twice: A message arrives twice.
        slow: A write is up to 20 s late.
        unanswered: The answer to a write is lost.
        crash: A worker process dies.
        partition: For up to 90 s no command, or no report, arrives.
        leaderless: The queue loses its leader, or elects one.
        stop: An operator process stops, and continues some time later.
        takeover: Another operator becomes the leader.
        change: The desired number of workers changes.
        hang: A task never ends.
    """

    lost: float = 0
    late: float = 0
    twice: float = 0
    slow: float = 0
    unanswered: float = 0
    crash: float = 0
    partition: float = 0
    leaderless: float = 0
    stop: float = 0
    takeover: float = 0
    change: float = 0
    hang: float = 0

    @classmethod
    def draw(cls, random: Random) -> Self:
        """Draw about half of all faults, rare or frequent."""
        worst = cls(0.3, 0.4, 0.3, 0.4, 0.3, 0.02, 0.02, 0.05, 0.05, 0.03, 0.2, 0.2)
        drawn = {f.name: getattr(worst, f.name) * random.choice((0, 0, 0.2, 1)) for f in fields(cls)}
        return cls(**drawn | {"change": random.choice((0.02, 0.05, 0.2))})


class Simulation:
    """One random walk. `harm` lists what happened, with the second in which it happened."""

    def __init__(self, seed: int, off: frozenset[Rule] = frozenset(), rates: FaultRates | None = None) -> None:
        self.random, self.off = Random(seed), off
        self.rates = rates or FaultRates.draw(self.random)
        self.now = 0
        self.harm: list[str] = []
        self.queue = SimulatedQueue(self)
        self.cluster = SimulatedCluster(self.random, self._on_removed, annotations_count=seed % 2 == 0)
        self.processes: dict[str, WorkerProcess] = {}
        self.starts: dict[str, int] = {}
        self.incarnations = 0
        self.mail: defaultdict[int, list[tuple[str, Command | tuple[Report, str]]]] = defaultdict(list)
        self.partitioned_until = {"workers": 0, "operators": 0}
        self.desired = 4
        self.swept_at, self.swept_empty = 0, False
        self.leader_at_sweep = True
        self.operators: list[OperatorProcess] = []
        self.removed = 0
        self._lead()

    def run(self) -> list[str]:
        """Walk until harm or the end, and then without faults until all that was begun has ended."""
        while self.now < SECONDS and not self.harm:
            self._disturb()
            self._step()
        self._calm()
        for _ in range(200):
            if self.harm:
                break
            self._step()
        if not self.harm:
            self._judge()
        return self.harm

    def _step(self) -> None:
        self.now += 1
        self.cluster.step(self.now)
        self._kubelet()
        self._deliver()
        for process in self.processes.values():
            process.step(self.now)
        if self.now % 5 == 0:
            # A probe and a sweep at the same time.
            self.swept_at, self.swept_empty = self.now, self.queue.has_leader and not self.queue.ready
            self.leader_at_sweep = self.queue.has_leader
        for operator in self.operators:
            if operator.awake and operator.leads:
                operator.step(self.now, self.desired, self._queue_state())
        self._deliver()

    def _queue_state(self) -> QueueState:
        return QueueState(self.leader_at_sweep, moment(self.swept_at) if self.swept_empty else None)

    # Faults.

    def _disturb(self) -> None:
        draw, rates = self.random.random, self.rates
        if draw() < 0.3 and len(self.queue.ready) < 10:
            self.queue.publish()
        if draw() < rates.change:
            self.desired = self.random.choice((0, 0, 1, 2, 3, 4, 6))
        if draw() < rates.leaderless:
            self.queue.has_leader = not self.queue.has_leader
        elif not self.queue.has_leader and draw() < 0.2:
            self.queue.has_leader = True
        if draw() < rates.partition:
            self.partitioned_until[self.random.choice(("workers", "operators"))] = self.now + self.random.randrange(
                20, 90
            )
        for uid in list(self.processes):
            if draw() < rates.crash:
                self._end(uid)
        self._disturb_operators()

    def _disturb_operators(self) -> None:
        draw, rates, leader = self.random.random, self.rates, self.operators[-1]
        for operator in self.operators:
            if operator.awake and draw() < rates.stop:
                operator.awake = False
            elif not operator.awake and draw() < 0.03:
                operator.awake = True
        if draw() < rates.takeover or (not leader.awake and rates.takeover and draw() < 0.1):
            self._lead()

    def _lead(self) -> None:
        """Make another operator the leader; the former one learns of it late."""
        epoch = len(self.operators) + 1
        for former in self.operators[:-1]:
            former.leads = False
        self.operators.append(
            OperatorProcess(epoch, self.now, self.random, self.off, self.cluster, self._send, self._write)
        )

    def _calm(self) -> None:
        """End all faults; one operator leads, or none runs any more. A task that hangs continues to."""
        self.rates = FaultRates()
        for process in self.processes.values():
            process.hangs = 0
        self.partitioned_until = {"workers": 0, "operators": 0}
        self.queue.has_leader = True
        alive = self.random.random() < 0.5
        for operator in self.operators:
            operator.leads = operator.awake = alive and operator is self.operators[-1]
        if alive and self.desired == 0:
            self.desired = 2

    def _judge(self) -> None:
        leader = self.operators[-1]
        for uid, process in self.processes.items():
            needed = not leader.leads or self.desired >= len(self.cluster.active)
            if process.state in {State.DRAINING, State.DRAINED} and needed:
                self.harm.append(f"{uid} stays drained")
        if leader.leads and len(self.cluster.active) != self.desired and not self._busy():
            self.harm.append(f"there are {len(self.cluster.active)} workers, not {self.desired}")

    def _busy(self) -> bool:
        processes = self.processes.values()
        return any(process.task is not None and not process.is_overdue(self.now) for process in processes)

    # The kubelet.

    def _kubelet(self) -> None:
        for uid, pod in list(self.cluster.pods.items()):
            if pod.deleting:
                self._terminate(uid)
            elif uid not in self.processes:
                self._start(uid)
            if self.random.random() < 0.6:
                self._show(uid)

    def _start(self, uid: str) -> None:
        begins = self.starts.setdefault(uid, self.now + self.random.randrange(1, 4))
        if self.now >= begins:
            self.incarnations += 1
            self.processes[uid] = WorkerProcess(
                uid, f"{self.incarnations:032x}", self.random, self.off, self.queue, self._report, self.now
            )
            self.processes[uid].hangs = self.rates.hang
            self.processes[uid].report(self.now)

    def _terminate(self, uid: str) -> None:
        process = self.processes.get(uid)
        if process is not None and process.state is not State.LEAVING:
            process.terminate(self.now)
        if process is None or process.task is None or process.is_overdue(self.now):  # the kubelet kills it then
            self.processes.pop(uid, None)
            self.cluster.pods.pop(uid, None)

    def _end(self, uid: str) -> None:
        self.processes.pop(uid).end()
        self.starts.pop(uid)
        pod = self.cluster.pods.get(uid)
        if pod is not None:
            self.cluster.patch(uid, restarts=pod.restarts + 1)

    def _show(self, uid: str) -> None:
        """Write the status of a pod, from time to time."""
        pod, process = self.cluster.pods.get(uid), self.processes.get(uid)
        if pod is None:
            return
        ready = process is not None and process.state in {State.CONSUMING, State.DRAINING}
        phase = "Running" if process is not None or pod.phase == "Running" else "Pending"
        if (pod.container_stopped, pod.ready, pod.phase) != (process is None, ready, phase):
            slow = pod.ready and process is not None and self.random.random() < 0.7
            self.cluster.patch(uid, container_stopped=process is None, phase=phase, ready=pod.ready if slow else ready)

    # Messages and writes on their way.

    def _report(self, process: WorkerProcess, report: Report) -> None:
        self._post("operators", (report, process.address))

    def _write(self, write: Write) -> None:
        """Send a write to the API server. It may be late, and its answer may be lost."""
        if write.changes.get("replicas") == 0:
            self._check_zero()
        slow = self.random.random() < self.rates.slow
        write.at = self.now + self.random.randrange(MAX_WRITE_DELAY_SECONDS if slow else 2)
        if slow or self.random.random() < self.rates.unanswered:
            write.answer = None
        self.cluster.writes.append(write)

    def _send(self, address: str, command: Command) -> None:
        self._post(address, command)

    def _post(self, to: str, message: Command | tuple[Report, str]) -> None:
        draw, rates = self.random.random, self.rates
        if self.now < self.partitioned_until["operators" if to == "operators" else "workers"] or draw() < rates.lost:
            return
        for _ in range(1 + (draw() < rates.twice)):
            delay = self.random.choice((2, 3, 4, 8, 16, 30)) if draw() < rates.late else self.random.randrange(2)
            self.mail[self.now + delay].append((to, message))

    def _deliver(self) -> None:
        for at in [at for at in sorted(self.mail) if at <= self.now]:
            for to, message in self.mail.pop(at):
                self._receive(to, message)

    def _receive(self, to: str, message: Command | tuple[Report, str]) -> None:
        if isinstance(message, Command):
            for process in self.processes.values():
                if process.address == to:
                    process.on_command(json.loads(message.write()), self.now)
            return
        for operator in self.operators:
            if operator.awake:
                operator.inbox.append(message)
            else:
                operator.backlog.append(message)

    # Harm.

    def _on_removed(self, pod: Pod) -> None:
        self.removed += 1
        process, write = self.processes.get(pod.uid), self.cluster.scaled_in_by
        if process is None or process.task is None or write is None or pod.uid in write.without_container:
            return
        decided_at = write.decided_at
        if process.is_overdue(decided_at):
            return
        first_reports = (operator.first_reports.get(process.incarnation, self.now) for operator in self.operators)
        known = any(at <= decided_at for at in first_reports)
        if known or process.started_at + KNOWN_AFTER_SECONDS <= decided_at:
            self.harm.append(f"{self.now}: {pod.uid} was removed while it ran a task, decided at {decided_at}")

    def _check_zero(self) -> None:
        stops = [process.stopped_at for process in self.processes.values()]
        if any(since <= max(stops, default=self.now) for since in self.queue.ready.values()):
            self.harm.append(f"{self.now}: zero workers, while messages are ready since before the last one stopped")
