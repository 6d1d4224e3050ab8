"""Workers that keep the protocol, and the queue they consume."""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol

from taskqueue_operator.drain.protocol import Answer, Drain, Report, Result, State

from .rules import Rule

PREFETCH = 2
FORGETS = 120
"""In seconds: after so long without a command a worker forgets which was the highest."""


class Clock(Protocol):
    now: int
    harm: list[str]


@dataclass
class Queue:
    """Messages by number, and since when each of them waits.

    Without a leader it delivers nothing, and confirms a cancel that has not happened.
    """

    clock: Clock
    waiting: dict[int, int] = field(default_factory=dict)
    holders: dict[int, str] = field(default_factory=dict)
    led: bool = True
    published: int = 0

    def publish(self) -> None:
        self.published += 1
        self.give_back(self.published)

    def take(self, holder: str) -> int:
        first = min(self.waiting)
        del self.waiting[first]
        self.holders[first] = holder
        return first

    def start(self, message: int, holder: str) -> None:
        if self.holders.get(message) != holder:
            self.clock.harm.append(f"message {message} was given back and is worked on")

    def give_back(self, message: int) -> None:
        self.waiting[message] = self.clock.now
        self.holders.pop(message, None)


@dataclass
class Process:
    """One incarnation of a worker. `send` carries its reports; `subscribed` is what the broker thinks."""

    pod: str
    incarnation: str
    random: Random
    off: frozenset[Rule]
    queue: Queue
    send: Callable[["Process", Report], None]
    began_at: int
    state: State = State.STARTING
    subscribed: bool = False
    hoard: list[int] = field(default_factory=list)
    task: int | None = None
    task_ends: int = 0
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
        if self.state is State.STARTING and now > self.began_at:
            self._consume(now)
        if self.drain is not None and now >= self.lease_ends and Rule.LEASE not in self.off:
            self.drain = None
            self._consume(now)
        if self.task is not None and now >= self.task_ends:
            self.task, self.idle_since = None, now
        self._take(now)
        self._settle(now)
        period = 5 if self.state in {State.DRAINING, State.DRAINED} else 15
        if now - self.reported_at >= period:
            self.report(now)

    def end(self) -> None:
        """Die: what it held is delivered again."""
        for message in (*self.hoard, *([self.task] if self.task is not None else ())):
            self.queue.give_back(message)
        self.hoard, self.task, self.subscribed = [], None, False

    def terminate(self, now: int) -> None:
        self.state, self.subscribed = State.LEAVING, False
        self._hand_back()
        self.report(now)

    def obey(self, command: dict[str, Any], now: int) -> None:
        if command["incarnation"] != self.incarnation:
            return
        if now - self.commanded_at > FORGETS:
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
            prefetched=len(self.hoard),
            idle_seconds=0 if self.task is not None else now - self.idle_since,
            oldest_seconds=None,
            completed=0,
            failed=0,
            busy_seconds=0,
            task_timeout_seconds=300,
            drain=self.drain,
            answer=answer,
        )
        self.send(self, report)

    def _drain(self, command: dict[str, Any], now: int) -> Result:
        certain = self.queue.led or Rule.CERTAIN in self.off
        if self.drain is None and not certain:
            return Result.REFUSED
        if self.drain is None:
            # A leader that is not there has not heard of it.
            self.subscribed = not self.queue.led
            self._hand_back()
        self.drain = Drain(command["installation"], command["epoch"], command["seq"])
        self.lease_ends = now + command["lease_seconds"]
        if self.state is not State.DRAINED:
            self.state = State.DRAINING
            self._stop(now)
        return Result.DONE

    def _hand_back(self) -> None:
        for message in self.hoard:
            self.queue.give_back(message)
        if Rule.NO_START not in self.off:
            self.hoard = []

    def _consume(self, now: int) -> None:
        self.state, self.subscribed, self.idle_since = State.CONSUMING, True, now
        self.report(now)

    def _take(self, now: int) -> None:
        if self.subscribed and self.queue.led:
            while len(self.hoard) < PREFETCH and self.queue.waiting:
                self.hoard.append(self.queue.take(self.incarnation))
        if self.task is None and self.hoard and self._may_start():
            self.task = self.hoard.pop(0)
            self.queue.start(self.task, self.incarnation)
            self.task_ends = now + self.random.choice((1, 2, 3, 10, 40))

    def _may_start(self) -> bool:
        # With a subscription that it thinks cancelled, it is not aware of being drained either.
        return self.state is State.CONSUMING or self.subscribed or Rule.NO_START in self.off

    def _settle(self, now: int) -> None:
        if self._stop(now):
            self.report(now)

    def _stop(self, now: int) -> bool:
        if self.state is not State.DRAINING or self.task is not None or self.hoard:
            return False
        self.state, self.stopped_at = State.DRAINED, now
        return True
