"""From a reading to a desired number of workers, as a pure function that can be replayed and explained.

The stages in their order, each of which may change the number and then leaves a line: mode, fallback, activation and
demand (held up by running tasks), tolerance, stabilization window, idle grace before zero, rates, obstacle, bounds
(raised by schedules). Names and meaning follow autoscaling/v2.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from taskqueue_operator.resource.scaling import FallbackBehavior, Mode

from .decision import Decision, Why, Workers
from .demand import demand
from .memory import Memory, is_quiet
from .pace import limit_rate, stabilize
from .policy import Policy
from .reading import Reading
from .schedule import minimum

TRIAL = 3
"""How many workers may try a version that has not started yet."""


def decide(reading: Reading, workers: Workers, policy: Policy, memory: Memory, now: datetime) -> Decision:
    """Say how many workers there should be.

    Without an `at_most` nothing lowers the number but `maxReplicas` and a fallback that says so; without an `at_least`
    nothing raises it but a minimum or a fallback. minimum <= desired <= `maxReplicas` always, except while Paused.
    """
    fresh = memory.began is None
    memory = memory.see(reading, workers.replicas, now, period=policy.longest_period)
    if fresh:
        memory = _record(memory, policy, workers.replicas, workers.replicas)
    if policy.mode is Mode.PAUSED:
        return _paused(workers, policy, _record(memory, policy, workers.replicas, workers.replicas))
    decision = _fall_back(reading, workers, policy, memory, now) or _follow(
        reading, workers, policy, memory, now, fresh=fresh
    )
    return _bounds(_unmultiplied(decision, workers), policy, now)


def _follow(  # noqa: PLR0913  the inputs of `decide`, and whether they are the first
    reading: Reading, workers: Workers, policy: Policy, memory: Memory, now: datetime, *, fresh: bool
) -> Decision:
    """Let the number follow the queue, at the pace that is allowed."""
    wanted = demand(reading, workers, policy, memory)
    certain = reading.at_most is not None and not fresh
    high = wanted.desired if certain else max(wanted.desired, workers.replicas)
    wanted = replace(wanted, memory=_record(memory, policy, high, wanted.desired))
    steady = _idle_grace(stabilize(wanted, workers, policy), reading, workers, policy, now)
    return limit_rate(steady, workers, policy, now)


def _record(memory: Memory, policy: Policy, high: int, low: int) -> Memory:
    # Beyond the maximum all numbers are the same; told apart, a memory would grow with each step of a long backlog.
    high, low = min(high, policy.max_replicas), min(low, policy.max_replicas)
    return memory.record(high=high, low=low, down=policy.scale_down.window, up=policy.scale_up.window)


def _paused(workers: Workers, policy: Policy, memory: Memory) -> Decision:
    if policy.paused_replicas is None:
        return Decision(workers.replicas, Why.PAUSED, ("paused: the number of workers stays",), memory)
    return Decision(policy.paused_replicas, Why.PAUSED, (f"paused at {policy.paused_replicas:,}",), memory)


def _fall_back(reading: Reading, workers: Workers, policy: Policy, memory: Memory, now: datetime) -> Decision | None:
    """Do as the user says once the queue has been unreadable for so long; from zero too."""
    fallback, blind = policy.fallback, now - (memory.read_at or now)
    if fallback is None or not reading.blind or blind < fallback.after:
        return None
    desired = {
        FallbackBehavior.STATIC: fallback.replicas,
        FallbackBehavior.AT_LEAST: max(workers.replicas, fallback.replicas),
        FallbackBehavior.AT_MOST: min(workers.replicas, fallback.replicas),
        FallbackBehavior.CURRENT: workers.replicas,
    }[fallback.behavior]
    number = "" if fallback.behavior is FallbackBehavior.CURRENT else f" {fallback.replicas:,}"
    line = f"not readable for more than {_seconds(fallback.after)} s: fallback {fallback.behavior}{number}"
    return Decision(desired, Why.FALLBACK, (line,), _record(memory, policy, workers.replicas, workers.replicas))


def _idle_grace(decision: Decision, reading: Reading, workers: Workers, policy: Policy, now: datetime) -> Decision:
    if decision.desired > 0 or workers.replicas == 0:
        return decision
    idle = now - (decision.memory.busy_at or now)
    if is_quiet(reading) and idle >= policy.idle:
        return decision.then(0, Why.IDLE, f"nothing to do for {_seconds(idle)} s")
    line = f"the last worker stays until {_seconds(policy.idle)} s without work"
    return decision.then(1, Why.IDLE_GRACE, line)


def _unmultiplied(decision: Decision, workers: Workers) -> Decision:
    """Add no more workers that could not work either."""
    obstacle = workers.obstacle
    if obstacle is None or decision.desired <= workers.replicas:
        return decision
    trial = TRIAL if obstacle.why is Why.WORKERS_FAILING else 0
    most = max(workers.replicas, trial)
    if decision.desired <= most:
        return decision
    return decision.then(most, obstacle.why, f"stopped at {most:,}: {obstacle.message}")


def _bounds(decision: Decision, policy: Policy, now: datetime) -> Decision:
    if decision.desired > policy.max_replicas:
        line = f"limited to {policy.max_replicas:,} by maxReplicas"
        return decision.then(policy.max_replicas, Why.MAX_REPLICAS, line)
    least = minimum(policy.min_replicas, policy.schedules, now)
    if decision.desired < least.replicas:
        by = f"schedule {least.schedule}" if least.schedule else "minReplicas"
        return decision.then(least.replicas, Why.MIN_REPLICAS, f"raised to {least.replicas:,} by {by}")
    return decision


def _seconds(span: timedelta) -> int:
    return int(span.total_seconds())
