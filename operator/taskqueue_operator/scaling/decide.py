"""From a reading to a desired number of workers, as a pure function that can be replayed and explained.

The stages, each of which may change the number and then leaves a line: mode, demand (held up by running tasks),
activation from zero, stabilization window, idle grace before zero, bounds. Names and meaning follow autoscaling/v2.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Self

from taskqueue_operator.resource.scaling import Mode

from .memory import Memory, is_quiet
from .policy import Policy
from .reading import Reading


class Why(StrEnum):
    """What determined the desired number. Part of the API: status, Events, metric labels."""

    BACKLOG = "Backlog"
    RUNNING_TASKS = "RunningTasks"
    IDLE = "Idle"
    IDLE_GRACE = "IdleGrace"
    STABILIZING = "ScaleDownStabilized"
    UNKNOWN = "ReadingUnknown"
    PAUSED = "Paused"
    MIN_REPLICAS = "TooFewReplicas"
    MAX_REPLICAS = "TooManyReplicas"


@dataclass(frozen=True, slots=True)
class Workers:
    """What runs now: the `replicas` asked for and how many of them are `ready`, that is, consume."""

    replicas: int
    ready: int = 0


@dataclass(frozen=True, slots=True)
class Decision:
    """A number of workers and how it came about.

    Attributes:
        desired: The number that is wanted.
        why: The stage that had the last word.
        lines: One line of explanation for each stage that said something.
        memory: To be handed to the next decision.
    """

    desired: int
    why: Why
    lines: tuple[str, ...]
    memory: Memory

    @property
    def explanation(self) -> str:
        """The lines as one sentence."""
        return "; ".join(self.lines)

    def then(self, desired: int, why: Why, line: str) -> Self:
        """Let a later stage change the number."""
        return replace(self, desired=desired, why=why, lines=(*self.lines, line))


def decide(reading: Reading, workers: Workers, policy: Policy, memory: Memory, now: datetime) -> Decision:
    """Say how many workers there should be.

    Without an `at_most` nothing but `maxReplicas` lowers the number; without an `at_least` nothing but `minReplicas`
    raises it. `minReplicas <= desired <= maxReplicas` always, except while Paused.
    """
    fresh = not memory.recommendations
    memory = memory.see(reading, now)
    if policy.mode is Mode.PAUSED:
        return _paused(workers, policy, memory.record(workers.replicas, now, policy.scale_down_window))
    wanted = _demand(reading, workers, policy, memory)
    certain = reading.at_most is not None and not fresh
    recommended = wanted.desired if certain else max(wanted.desired, workers.replicas)
    wanted = replace(wanted, memory=memory.record(recommended, now, policy.scale_down_window))
    wanted = _stabilize(wanted, workers, policy)
    return _bounds(_idle_grace(wanted, reading, workers, policy, now), policy)


def _paused(workers: Workers, policy: Policy, memory: Memory) -> Decision:
    if policy.paused_replicas is None:
        return Decision(workers.replicas, Why.PAUSED, ("paused: the number of workers stays",), memory)
    return Decision(policy.paused_replicas, Why.PAUSED, (f"paused at {policy.paused_replicas}",), memory)


def _demand(reading: Reading, workers: Workers, policy: Policy, memory: Memory) -> Decision:
    now = workers.replicas
    if reading.at_least is not None and (now > 0 or reading.at_least > policy.activation_ready):
        needed = _for_backlog(reading.at_least, policy)
        if needed > now:
            return Decision(needed, Why.BACKLOG, (_division(reading.at_least, needed, policy),), memory)
    if reading.at_most is None:
        doubt = f" ({reading.doubt})" if reading.doubt else ""
        return Decision(now, Why.UNKNOWN, (f"depth unknown{doubt}: the number of workers is not lowered",), memory)
    if now == 0:
        return Decision(0, Why.IDLE, (_asleep(reading.at_least or 0, policy),), memory)
    needed = _for_backlog(reading.at_most, policy)
    line = _division(reading.at_most, needed, policy)
    if needed > now:  # by what may be there at most; what is there for certain needs no more
        line = f"at most {line}: none of {now:,} is superfluous"
    decision = Decision(min(needed, now), Why.BACKLOG, (line,), memory)
    return _held_up(decision, reading, workers, policy)


def _held_up(decision: Decision, reading: Reading, workers: Workers, policy: Policy) -> Decision:
    """Keep workers that run tasks: with ready alone, those that just keep up would look superfluous.

    A term that could *raise* the number would double it up to the maximum where workers hoard.
    """
    running = min(_ceil(reading.unacked or 0, policy.concurrency), workers.ready, workers.replicas)
    if running <= decision.desired:
        return decision
    line = f"{reading.unacked:,} unacked / {policy.concurrency} at once keep {running}"
    return decision.then(running, Why.RUNNING_TASKS, line)


def _stabilize(decision: Decision, workers: Workers, policy: Policy) -> Decision:
    highest = min(decision.memory.highest(), workers.replicas)
    if decision.desired >= highest:
        return decision
    line = f"held at {highest}, the highest wanted within {_seconds(policy.scale_down_window)} s"
    return decision.then(highest, Why.STABILIZING, line)


def _idle_grace(decision: Decision, reading: Reading, workers: Workers, policy: Policy, now: datetime) -> Decision:
    if decision.desired > 0 or workers.replicas == 0:
        return decision
    idle = now - (decision.memory.busy_at or now)
    if is_quiet(reading) and idle >= policy.idle:
        return decision.then(0, Why.IDLE, f"nothing to do for {_seconds(idle)} s")
    line = f"the last worker stays until {_seconds(policy.idle)} s without work"
    return decision.then(1, Why.IDLE_GRACE, line)


def _bounds(decision: Decision, policy: Policy) -> Decision:
    if decision.desired > policy.max_replicas:
        line = f"limited to {policy.max_replicas} by maxReplicas"
        return decision.then(policy.max_replicas, Why.MAX_REPLICAS, line)
    if decision.desired < policy.min_replicas:
        line = f"raised to {policy.min_replicas} by minReplicas"
        return decision.then(policy.min_replicas, Why.MIN_REPLICAS, line)
    return decision


def _for_backlog(ready: int, policy: Policy) -> int:
    return _ceil(ready, policy.ready_per_replica)


def _ceil(amount: int, per: int) -> int:
    return -(-amount // per)


def _division(ready: int, needed: int, policy: Policy) -> str:
    return f"ready {ready:,} / {policy.ready_per_replica:,} per replica = {needed:,}"


def _asleep(ready: int, policy: Policy) -> str:
    return f"asleep: ready {ready:,} is not above activationReady {policy.activation_ready:,}"


def _seconds(span: timedelta) -> int:
    return int(span.total_seconds())
