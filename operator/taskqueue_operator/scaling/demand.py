"""The demand of the queue: scale-out by the lower bound of its depth, scale-in by the upper bound.

A task that runs counts too: otherwise a message that waits behind a task of an hour would get no worker (ADR 13).
"""

from dataclasses import dataclass
from fractions import Fraction

from .decision import Decision, DecisionReason, Workers
from .memory import Memory
from .policy import Policy
from .reading import Reading


def demand(reading: Reading, workers: Workers, policy: Policy, memory: Memory) -> Decision:
    """Return a decision for the demand of the queue, kept up by running tasks and within the tolerance.

    A bound that is unknown changes nothing.
    """
    decision = _scale_out(reading, workers, policy, memory) or _scale_in(reading, workers, policy, memory)
    return _apply_tolerance(decision, reading, workers, policy)


@dataclass(frozen=True, slots=True)
class _Need:
    """What a number of ready messages and the running tasks call for.

    A running task counts as much as a ready message, but no more than its share of a worker: when a worker takes a
    message, the need never rises. So workers cannot add workers by what they hold.
    """

    ready: int
    running: int
    policy: Policy

    @property
    def workers(self) -> Fraction:
        """The exact number of workers."""
        per, concurrency = self.policy.ready_per_replica, self.policy.concurrency
        return Fraction(self.ready, per) + Fraction(self.running, max(per, concurrency))

    @property
    def replicas(self) -> int:
        """The number of workers, rounded up."""
        return ceil_div(self.workers.numerator, self.workers.denominator)

    @property
    def line(self) -> str:
        """The division, as part of an explanation."""
        per, concurrency = self.policy.ready_per_replica, self.policy.concurrency
        ready = f"{self.ready:,} / {per:,} per replica"
        running = f" + running {self.running:,} / {max(per, concurrency):,}" if self.running else ""
        return f"{ready}{running} = {self.replicas:,}"


def _scale_out(reading: Reading, workers: Workers, policy: Policy, memory: Memory) -> Decision | None:
    ready, replicas = reading.at_least, workers.replicas
    if ready is None or (replicas == 0 and ready <= policy.activation_ready):
        return None
    need = _Need(ready, _running(reading.held_at_least, workers, policy), policy)
    if need.replicas <= replicas:
        return None
    return Decision(need.replicas, DecisionReason.BACKLOG, (f"ready {need.line}",), memory)


def _scale_in(reading: Reading, workers: Workers, policy: Policy, memory: Memory) -> Decision:
    replicas = workers.replicas
    if replicas == 0 and not reading.unreadable:  # at zero the upper bound is irrelevant: nothing can be scaled in
        ready = reading.at_least or 0
        line = f"at zero: ready {ready:,} is not greater than activationReady {policy.activation_ready:,}"
        return Decision(0, DecisionReason.IDLE, (line,), memory)
    if reading.at_most is None:
        doubt = f" ({reading.doubt})" if reading.doubt else ""
        line = f"queue depth unknown{doubt}: no scale-in"
        return Decision(replicas, DecisionReason.QUEUE_UNREADABLE, (line,), memory)
    need = _Need(reading.at_most, _running(reading.unacked, workers, policy), policy)
    line = f"ready {need.line}"
    if need.replicas > replicas:  # only by the upper bound; the lower bound does not call for more workers
        line = f"ready at most {need.line}: {replicas:,} workers are kept"
    decision = Decision(min(need.replicas, replicas), DecisionReason.BACKLOG, (line,), memory)
    return _keep_running_tasks(decision, reading, workers, policy)


def _running(unacked: int | None, workers: Workers, policy: Policy) -> int:
    """Return how many of the unacked messages the ready workers can run at once.

    What they prefetch beyond that waits, and it waits where no other worker can take it.
    """
    return min(unacked or 0, policy.concurrency * min(workers.ready, workers.replicas))


def _keep_running_tasks(decision: Decision, reading: Reading, workers: Workers, policy: Policy) -> Decision:
    """Keep workers that run tasks: by the need alone, workers that just keep up would be removed."""
    busy = ceil_div(_running(reading.unacked, workers, policy), policy.concurrency)
    if busy <= decision.desired:
        return decision
    line = f"kept at {busy:,} by running tasks: {reading.unacked:,} unacked, concurrency {policy.concurrency:,}"
    return decision.changed_to(busy, DecisionReason.RUNNING_TASKS, line)


def _apply_tolerance(decision: Decision, reading: Reading, workers: Workers, policy: Policy) -> Decision:
    """Keep the number if the need deviates little from the current workers, as an HPA does."""
    replicas, scales_out = workers.replicas, decision.desired > workers.replicas
    tolerance = (policy.scale_up if scales_out else policy.scale_down).tolerance
    if not tolerance or replicas in {0, decision.desired}:
        return decision
    ready, unacked = (reading.at_least, reading.held_at_least) if scales_out else (reading.at_most, reading.unacked)
    need = _Need(ready or 0, _running(unacked, workers, policy), policy)
    deviation = abs(need.workers / replicas - 1)
    if deviation > Fraction(tolerance):
        return decision
    line = f"kept at {replicas:,}: deviation {float(deviation):.1%} is within the tolerance of {float(tolerance):.1%}"
    return decision.changed_to(replicas, DecisionReason.TOLERANCE, line)


def ceil_div(dividend: int, divisor: int) -> int:
    """Return the quotient, rounded up."""
    return -(-dividend // divisor)
