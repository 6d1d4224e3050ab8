"""Worker processes that keep the control protocol, and the queue they consume."""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol

from taskqueue_operator.drain.protocol import Answer, Drain, Report, Result, State

from .rules import Rule

PREFETCH = 2
TASK_TIMEOUT_SECONDS = 45
"""Longer than every task that ends."""
NEVER = 10**9
FENCING_MEMORY_SECONDS = 120
"""A worker forgets the highest epoch and seq after this long without a command."""


class Clock(Protocol):
    now: int
    harm: list[str]


@dataclass
class SimulatedQueue:
    """A queue of numbered messages.

    Without a leader it delivers nothing, and confirms a cancel that has not happened.

    Attributes:
        ready: By the number of a message, since when it is ready.
        holders: By the number of a message, the incarnation that holds it.
        has_leader: Whether the queue has a leader.
    """

    clock: Clock
    ready: dict[int, int] = field(default_factory=dict)
    holders: dict[int, str] = field(default_factory=dict)
    has_leader: bool = True
    published: int = 0

    def publish(self) -> None:
        self.published += 1
        self.requeue(self.published)

    def deliver(self, holder: str) -> int:
        first = min(self.ready)
        del self.ready[first]
        self.holders[first] = holder
        return first

    def start(self, message: int, holder: str) -> None:
        if self.holders.get(message) != holder:
            self.clock.harm.append(f"message {message} was requeued and is running")

    def requeue(self, message: int) -> None:
        self.ready[message] = self.clock.now
        self.holders.pop(message, None)


@dataclass
class WorkerProcess:
    """One incarnation of a worker.

    Attributes:
        off: Rules that are switched off.
        send: Sends a report.
        subscribed: Whether the broker has a consumer for it.
        prefetched: Messages that it holds and has not started.
        hangs: The probability that a task never ends.
    """

    pod: str
    incarnation: str
    random: Random
    off: frozenset[Rule]
    queue: SimulatedQueue
    send: Callable[["WorkerProcess", Report], None]
    started_at: int
    state: State = State.STARTING
    subscribed: bool = False
    prefetched: list[int] = field(default_factory=list)
    task: int | None = None
    task_began: int = 0
    task_ends: int = 0
    hangs: float = 0
    idle_since: int = 0
    drain: Drain | None = None
    lease_ends: int = 0
    highest: tuple[int, int] = (0, 0)
    commanded_at: int = 0
    number: int = 0
    reported_at: int = -100
    stopped_at: int = 0

    @property
    def address(self) -> str:
        return f"reply-to {self.incarnation}"

    def step(self, now: int) -> None:
        if self.state is State.STARTING and now > self.started_at:
            self._consume(now)
        if self.drain is not None and now >= self.lease_ends and Rule.LEASE not in self.off:
            self.drain = None
            self._consume(now)
        if self.task is not None and now >= self.task_ends:
            self.task, self.idle_since = None, now
        self._run_next(now)
        self._settle(now)
        period = 5 if self.state in {State.DRAINING, State.DRAINED} else 15
        if now - self.reported_at >= period:
            self.report(now)

    def is_overdue(self, at: int) -> bool:
        """Whether it runs a task that has exceeded its timeout, and will never end."""
        return self.task is not None and at - self.task_began > TASK_TIMEOUT_SECONDS

    def end(self) -> None:
        """Die: the messages that it held are delivered again."""
        for message in (*self.prefetched, *([self.task] if self.task is not None else ())):
            self.queue.requeue(message)
        self.prefetched, self.task, self.subscribed = [], None, False

    def terminate(self, now: int) -> None:
        self.state, self.subscribed = State.LEAVING, False
        self._requeue_prefetched()
        self.report(now)

    def on_command(self, command: dict[str, Any], now: int) -> None:
        if command["incarnation"] != self.incarnation:
            return
        if now - self.commanded_at > FENCING_MEMORY_SECONDS:
            self.highest = (0, 0)
        self.commanded_at = now
        result, reason = Result.DONE, None
        order = (command["epoch"], command["seq"])
        if order < self.highest and Rule.ORDER not in self.off:
            result, reason = Result.REFUSED, "superseded"
        elif self.state is State.LEAVING:
            result, reason = Result.REFUSED, "leaving"
        elif command["command"] == "drain":
            self.highest = order
            result = self._drain(command, now)
        elif command["command"] == "undrain":
            self.highest = order
            if self.drain is not None:
                self.drain = None
                self._consume(now)
        self.report(now, Answer(command["id"], result, reason))

    def report(self, now: int, answer: Answer | None = None) -> None:
        self.number += 1
        self.reported_at = now
        report = Report(
            version=1,
            taskqueue="media/thumbnails",
            pod=self.pod,
            incarnation=self.incarnation,
            number=self.number,
            state=self.state,
            in_flight=int(self.task is not None),
            prefetched=len(self.prefetched),
            idle_seconds=0 if self.task is not None else now - self.idle_since,
            oldest_seconds=now - self.task_began if self.task is not None else None,
            completed=0,
            failed=0,
            busy_seconds=0,
            task_timeout_seconds=TASK_TIMEOUT_SECONDS,
            drain=self.drain,
            answer=answer,
        )
        self.send(self, report)

    def _drain(self, command: dict[str, Any], now: int) -> Result:
        certain = self.queue.has_leader or Rule.CERTAIN in self.off
        if self.drain is None and not certain:
            return Result.REFUSED
        if self.drain is None:
            # Without a leader the broker has not processed the cancel.
            self.subscribed = not self.queue.has_leader
            self._requeue_prefetched()
        self.drain = Drain(command["installation"], command["epoch"], command["seq"])
        self.lease_ends = now + command["lease_seconds"]
        if self.state is not State.DRAINED:
            self.state = State.DRAINING
            self._stop(now)
        return Result.DONE

    def _requeue_prefetched(self) -> None:
        for message in self.prefetched:
            self.queue.requeue(message)
        if Rule.NO_START not in self.off:
            self.prefetched = []

    def _consume(self, now: int) -> None:
        self.state, self.subscribed, self.idle_since = State.CONSUMING, True, now
        self.report(now)

    def _run_next(self, now: int) -> None:
        if self.subscribed and self.queue.has_leader:
            while len(self.prefetched) < PREFETCH and self.queue.ready:
                self.prefetched.append(self.queue.deliver(self.incarnation))
        if self.task is None and self.prefetched and self._may_start():
            self.task = self.prefetched.pop(0)
            self.queue.start(self.task, self.incarnation)
            self.task_began = now
            self.task_ends = now + self.random.choice((1, 2, 3, 10, 40))
            if self.hangs and self.random.random() < self.hangs:
                self.task_ends = NEVER

    def _may_start(self) -> bool:
        # A worker whose cancel was not processed does not know that it still consumes.
        return self.state is State.CONSUMING or self.subscribed or Rule.NO_START in self.off

    def _settle(self, now: int) -> None:
        if self._stop(now):
            self.report(now)

    def _stop(self, now: int) -> bool:
        if self.state is not State.DRAINING or self.task is not None or self.prefetched:
            return False
        self.state, self.stopped_at = State.DRAINED, now
        return True
