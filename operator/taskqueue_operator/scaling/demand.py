"""The demand of the queue: scale-out by the lower bound of its depth, scale-in by the upper bound."""

from decimal import Decimal

from .decision import Decision, DecisionReason, Workers
from .memory import Memory
from .policy import Policy
from .reading import Reading


def demand(reading: Reading, workers: Workers, policy: Policy, memory: Memory) -> Decision:
    """Return a decision for the demand of the backlog, kept up by running tasks and within the tolerance.

    Demand = ready / readyPerReplica, rounded up. A bound that is unknown changes nothing.
    """
    decision = _scale_out(reading, workers, policy, memory) or _scale_in(reading, workers, policy, memory)
    return _apply_tolerance(decision, reading, workers, policy)


def _scale_out(reading: Reading, workers: Workers, policy: Policy, memory: Memory) -> Decision | None:
    ready, replicas = reading.at_least, workers.replicas
    if ready is None or (replicas == 0 and ready <= policy.activation_ready):
        return None
    needed = ceil_div(ready, policy.ready_per_replica)
    if needed <= replicas:
        return None
    line = f"ready {_division(ready, needed, policy)}"
    return Decision(needed, DecisionReason.BACKLOG, (line,), memory)


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
    needed = ceil_div(reading.at_most, policy.ready_per_replica)
    line = f"ready {_division(reading.at_most, needed, policy)}"
    if needed > replicas:  # only by the upper bound; the lower bound does not call for more workers
        line = f"ready at most {_division(reading.at_most, needed, policy)}: {replicas:,} workers are kept"
    decision = Decision(min(needed, replicas), DecisionReason.BACKLOG, (line,), memory)
    return _keep_running_tasks(decision, reading, workers, policy)


def _keep_running_tasks(decision: Decision, reading: Reading, workers: Workers, policy: Policy) -> Decision:
    """Keep workers that run tasks: by ready alone, workers that just keep up would be removed.

    Running tasks never raise the number: with a large prefetch, more workers hold more messages, and so on up to the
    maximum.
    """
    busy = min(ceil_div(reading.unacked or 0, policy.concurrency), workers.ready, workers.replicas)
    if busy <= decision.desired:
        return decision
    line = f"kept at {busy:,} by running tasks: {reading.unacked:,} unacked, concurrency {policy.concurrency:,}"
    return decision.changed_to(busy, DecisionReason.RUNNING_TASKS, line)


def _apply_tolerance(decision: Decision, reading: Reading, workers: Workers, policy: Policy) -> Decision:
    """Keep the number if the backlog deviates little from the target of the current workers, as an HPA does."""
    replicas, scales_out = workers.replicas, decision.desired > workers.replicas
    tolerance = (policy.scale_up if scales_out else policy.scale_down).tolerance
    if not tolerance or replicas in {0, decision.desired}:
        return decision
    ready = reading.at_least if scales_out else reading.at_most
    deviation = abs(Decimal(ready or 0) / (policy.ready_per_replica * replicas) - 1)
    if deviation > tolerance:
        return decision
    line = f"kept at {replicas:,}: deviation {float(deviation):.1%} is within the tolerance of {float(tolerance):.1%}"
    return decision.changed_to(replicas, DecisionReason.TOLERANCE, line)


def ceil_div(dividend: int, divisor: int) -> int:
    """Return the quotient, rounded up."""
    return -(-dividend // divisor)


def _division(ready: int, needed: int, policy: Policy) -> str:
    return f"{ready:,} / {policy.ready_per_replica:,} per replica = {needed:,}"
