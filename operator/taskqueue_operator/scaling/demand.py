"""How many workers the queue calls for: out by what is there for certain, in by what may be there at most."""

from decimal import Decimal

from .decision import Decision, DecisionReason, Workers
from .memory import Memory
from .policy import Policy
from .reading import Reading


def demand(reading: Reading, workers: Workers, policy: Policy, memory: Memory) -> Decision:
    """Begin a decision with what the backlog calls for, held up by running tasks and within the tolerance.

    Demand = ready / readyPerReplica, rounded up. What is not known changes nothing.
    """
    decision = _raised(reading, workers, policy, memory) or _lowered(reading, workers, policy, memory)
    return _tolerated(decision, reading, workers, policy)


def _raised(reading: Reading, workers: Workers, policy: Policy, memory: Memory) -> Decision | None:
    ready, now = reading.at_least, workers.replicas
    if ready is None or (now == 0 and ready <= policy.activation_ready):
        return None
    needed = ceil(ready, policy.ready_per_replica)
    return (
        Decision(needed, DecisionReason.BACKLOG, (_division(ready, needed, policy),), memory) if needed > now else None
    )


def _lowered(reading: Reading, workers: Workers, policy: Policy, memory: Memory) -> Decision:
    now = workers.replicas
    if now == 0 and not reading.blind:  # a doubt about more than `at_least` says nothing new to who has no workers
        line = f"asleep: ready {reading.at_least or 0:,} is not above activationReady {policy.activation_ready:,}"
        return Decision(0, DecisionReason.IDLE, (line,), memory)
    if reading.at_most is None:
        doubt = f" ({reading.doubt})" if reading.doubt else ""
        return Decision(
            now, DecisionReason.UNKNOWN, (f"depth unknown{doubt}: the number of workers is not lowered",), memory
        )
    needed = ceil(reading.at_most, policy.ready_per_replica)
    line = _division(reading.at_most, needed, policy)
    if needed > now:  # by what may be there at most; what is there for certain needs no more
        line = f"at most {line}: none of {now:,} is superfluous"
    return _held_up(Decision(min(needed, now), DecisionReason.BACKLOG, (line,), memory), reading, workers, policy)


def _held_up(decision: Decision, reading: Reading, workers: Workers, policy: Policy) -> Decision:
    """Keep workers that run tasks: with ready alone, those that just keep up would look superfluous.

    A term that could *raise* the number would double it up to the maximum where workers hoard.
    """
    running = min(ceil(reading.unacked or 0, policy.concurrency), workers.ready, workers.replicas)
    if running <= decision.desired:
        return decision
    line = f"{reading.unacked:,} unacked / {policy.concurrency} at once keep {running}"
    return decision.then(running, DecisionReason.RUNNING_TASKS, line)


def _tolerated(decision: Decision, reading: Reading, workers: Workers, policy: Policy) -> Decision:
    """Leave the number where the backlog differs little from what it is there for, as an HPA does."""
    now, out = workers.replicas, decision.desired > workers.replicas
    tolerance = (policy.scale_up if out else policy.scale_down).tolerance
    if not tolerance or now in {0, decision.desired}:
        return decision
    ready = reading.at_least if out else reading.at_most
    # The share by which the backlog is above or below what the present workers are there for.
    apart = abs(Decimal(ready or 0) / (policy.ready_per_replica * now) - 1)
    if apart > tolerance:
        return decision
    line = f"{float(apart):.1%} from what {now:,} are there for, within the tolerance of {float(tolerance):.1%}"
    return decision.then(now, DecisionReason.TOLERANCE, line)


def ceil(amount: int, per: int) -> int:
    """Divide, rounding up."""
    return -(-amount // per)


def _division(ready: int, needed: int, policy: Policy) -> str:
    return f"ready {ready:,} / {policy.ready_per_replica:,} per replica = {needed:,}"
