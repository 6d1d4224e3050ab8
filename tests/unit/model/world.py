"""Everything together, and what may go wrong in it: one walk through the interleavings, drawn from a seed.

Harm is: a pod removed whose worker runs a task, although its operator could have known; a message given back and worked
on; a worker that stays drained; zero workers beside messages that were there when the last one stopped.
"""

import json
from collections import defaultdict
from dataclasses import dataclass, fields
from random import Random
from typing import Self

from taskqueue_operator.drain.context import QueueState
from taskqueue_operator.drain.protocol import Command, Report, State
from taskqueue_operator.workers.api_objects import Pod

from .cluster import LATEST_WRITE, Cluster, Write
from .operators import Operator, moment
from .rules import Rule
from .workers import Process, Queue

SECONDS = 240
KNOWN = 5
"""In seconds: who has run for so long is known to run, by the watches."""


@dataclass(frozen=True)
class Weather:
    """How likely things are to go wrong: with each message, with each write, or in each second.

    Attributes:
        lost: A message is lost.
        late: It is up to half a minute late.
        twice: It comes twice.
        slow: A write is up to 20 s late.
        mute: It is answered by nothing.
        crash: A worker dies.
        deaf: For up to a minute and a half no command, or no report, gets through.
        leaderless: The queue loses its leader, or finds one.
        stop: An operator is stopped, to wake some time later.
        takeover: Another one takes the lead.
        turn: Another number of workers is wanted.
    """

    lost: float = 0
    late: float = 0
    twice: float = 0
    slow: float = 0
    mute: float = 0
    crash: float = 0
    deaf: float = 0
    leaderless: float = 0
    stop: float = 0
    takeover: float = 0
    turn: float = 0

    @classmethod
    def draw(cls, random: Random) -> Self:
        """Let about half of all go wrong, rarely or often."""
        worst = cls(0.3, 0.4, 0.3, 0.4, 0.3, 0.02, 0.02, 0.05, 0.05, 0.03, 0.2)
        drawn = {f.name: getattr(worst, f.name) * random.choice((0, 0, 0.2, 1)) for f in fields(cls)}
        return cls(**drawn | {"turn": random.choice((0.02, 0.05, 0.2))})


class World:
    """One walk. `harm` says what happened, with the second at which it did."""

    def __init__(self, seed: int, off: frozenset[Rule] = frozenset(), weather: Weather | None = None) -> None:
        self.random, self.off = Random(seed), off
        self.weather = weather or Weather.draw(self.random)
        self.now = 0
        self.harm: list[str] = []
        self.queue = Queue(self)
        self.cluster = Cluster(self.random, off, self._removed, annotations_count=seed % 2 == 0)
        self.processes: dict[str, Process] = {}
        self.starts: dict[str, int] = {}
        self.incarnations = 0
        self.mail: defaultdict[int, list[tuple[str, Command | tuple[Report, str]]]] = defaultdict(list)
        self.deaf = {"workers": 0, "operators": 0}
        self.desired = 4
        self.swept_at, self.swept_empty = 0, False
        self.led_at_sweep = True
        self.operators: list[Operator] = []
        self.removed = 0
        self._lead()

    def run(self) -> list[str]:
        """Walk until harm or the end, and then until all that was set off has ended."""
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
            # Probe and sweep at once: the older one of the two is what counts.
            self.swept_at, self.swept_empty = self.now, self.queue.led and not self.queue.waiting
            self.led_at_sweep = self.queue.led
        for operator in self.operators:
            if operator.awake and operator.leads:
                made = operator.step(self.now, self.desired, self._queue_state())
                if made is not None and made.lower_to == 0:
                    self._check_zero()
        self._deliver()

    def _queue_state(self) -> QueueState:
        return QueueState(self.led_at_sweep, moment(self.swept_at) if self.swept_empty else None)

    # What goes wrong.

    def _disturb(self) -> None:
        draw, weather = self.random.random, self.weather
        if draw() < 0.3 and len(self.queue.waiting) < 10:
            self.queue.publish()
        if draw() < weather.turn:
            self.desired = self.random.choice((0, 0, 1, 2, 3, 4, 6))
        if draw() < weather.leaderless:
            self.queue.led = not self.queue.led
        elif not self.queue.led and draw() < 0.2:
            self.queue.led = True
        if draw() < weather.deaf:
            self.deaf[self.random.choice(("workers", "operators"))] = self.now + self.random.randrange(20, 90)
        for uid in list(self.processes):
            if draw() < weather.crash:
                self._end(uid)
        self._disturb_operators()

    def _disturb_operators(self) -> None:
        draw, weather, leader = self.random.random, self.weather, self.operators[-1]
        for operator in self.operators:
            if operator.awake and draw() < weather.stop:
                operator.awake = False
            elif not operator.awake and draw() < 0.03:
                operator.awake = True
        if draw() < weather.takeover or (not leader.awake and weather.takeover and draw() < 0.1):
            self._lead()

    def _lead(self) -> None:
        """Make another operator the leader; the former one learns it late."""
        epoch = len(self.operators) + 1
        for former in self.operators[:-1]:
            former.leads = False
        self.operators.append(Operator(epoch, self.now, self.random, self.cluster, self._command, self._write))

    def _calm(self) -> None:
        """Everybody who leads is dead, or has nothing to do any more; nothing else goes wrong."""
        self.weather = Weather()
        self.deaf = {"workers": 0, "operators": 0}
        self.queue.led = True
        alive = self.random.random() < 0.5
        for operator in self.operators:
            operator.leads = operator.awake = alive and operator is self.operators[-1]
        if alive and self.desired == 0:
            self.desired = 2

    def _judge(self) -> None:
        leader = self.operators[-1]
        for uid, process in self.processes.items():
            wanted = not leader.leads or self.desired >= len(self.cluster.live)
            if process.state in {State.DRAINING, State.DRAINED} and wanted:
                self.harm.append(f"{uid} stays drained")
        if leader.leads and len(self.cluster.live) != self.desired and not self._busy():
            self.harm.append(f"there are {len(self.cluster.live)} workers, not {self.desired}")

    def _busy(self) -> bool:
        return any(process.task is not None for process in self.processes.values())

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
            self.processes[uid] = Process(
                uid, f"{self.incarnations:032x}", self.random, self.off, self.queue, self._report, self.now
            )
            self.processes[uid].report(self.now)

    def _terminate(self, uid: str) -> None:
        process = self.processes.get(uid)
        if process is not None and process.state is not State.LEAVING:
            process.terminate(self.now)
        if process is None or process.task is None:
            self.processes.pop(uid, None)
            self.cluster.pods.pop(uid, None)

    def _end(self, uid: str) -> None:
        self.processes.pop(uid).end()
        self.starts.pop(uid)
        pod = self.cluster.pods.get(uid)
        if pod is not None:
            self.cluster.patch(uid, restarts=pod.restarts + 1)

    def _show(self, uid: str) -> None:
        """Write what has become of the pod, once in a while."""
        pod, process = self.cluster.pods.get(uid), self.processes.get(uid)
        if pod is None:
            return
        ready = process is not None and process.state in {State.CONSUMING, State.DRAINING}
        phase = "Running" if process is not None or pod.phase == "Running" else "Pending"
        if (pod.bare, pod.ready, pod.phase) != (process is None, ready, phase):
            slow = pod.ready and process is not None and self.random.random() < 0.7
            self.cluster.patch(uid, bare=process is None, phase=phase, ready=pod.ready if slow else ready)

    # What is on its way.

    def _report(self, process: Process, report: Report) -> None:
        self._post("operators", (report, process.address))

    def _write(self, write: Write) -> None:
        """Ask the API server; now and then it is late, or its answer is lost."""
        slow = self.random.random() < self.weather.slow
        write.at = self.now + self.random.randrange(LATEST_WRITE if slow else 2)
        if slow or self.random.random() < self.weather.mute:
            write.answer = None
        self.cluster.writes.append(write)

    def _command(self, address: str, command: Command) -> None:
        self._post(address, command)

    def _post(self, to: str, message: Command | tuple[Report, str]) -> None:
        draw, weather = self.random.random, self.weather
        if self.now < self.deaf["operators" if to == "operators" else "workers"] or draw() < weather.lost:
            return
        for _ in range(1 + (draw() < weather.twice)):
            delay = self.random.choice((2, 3, 4, 8, 16, 30)) if draw() < weather.late else self.random.randrange(2)
            self.mail[self.now + delay].append((to, message))

    def _deliver(self) -> None:
        for at in [at for at in sorted(self.mail) if at <= self.now]:
            for to, message in self.mail.pop(at):
                self._hand_over(to, message)

    def _hand_over(self, to: str, message: Command | tuple[Report, str]) -> None:
        if isinstance(message, Command):
            for process in self.processes.values():
                if process.address == to:
                    process.obey(json.loads(message.write()), self.now)
            return
        for operator in self.operators:
            if operator.awake:
                operator.inbox.append(message)
            else:
                operator.pile.append(message)

    # What harm is.

    def _removed(self, pod: Pod) -> None:
        self.removed += 1
        process, why = self.processes.get(pod.uid), self.cluster.lowered_by
        if process is None or process.task is None or why is None or pod.uid in why.bare:
            return
        decided_at = why.decided_at
        known = any(operator.heard.get(process.incarnation, self.now) <= decided_at for operator in self.operators)
        if known or process.began_at + KNOWN <= decided_at:
            self.harm.append(f"{self.now}: {pod.uid} was removed while it ran a task, decided at {decided_at}")

    def _check_zero(self) -> None:
        stops = [process.stopped_at for process in self.processes.values()]
        if any(since <= max(stops, default=self.now) for since in self.queue.waiting.values()):
            self.harm.append(f"{self.now}: zero workers, while messages wait since before the last one stopped")
