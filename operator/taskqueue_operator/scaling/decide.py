"""From a reading to a desired number of workers, as a pure function that can be replayed and explained.

The stages in their order, each of which may change the number and then leaves a line: mode, fallback, activation and
demand (held up by running tasks), tolerance, stabilization window, idle grace before zero, rates, obstacle, bounds
(raised by schedules). Names and meaning follow autoscaling/v2.
"""

from dataclasses import replace
from datetime import datetime

from taskqueue_operator.resource.scaling import FallbackBehavior, Mode

from .behavior import limit_rate, stabilize
from .decision import Decision, DecisionReason, Workers, seconds
from .demand import demand
from .memory import Memory, is_quiet
from .policy import Policy
from .reading import Reading
from .schedule import Minimum, minimum

MAX_UNPROVEN_REPLICAS = 3
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
    least = minimum(policy.min_replicas, policy.schedules, now)
    decision = _fall_back(workers, policy, memory)
    if decision is None:
        wanted = _recommend(reading, workers, policy, memory, fresh=fresh)
        decision = _apply_behavior(wanted, reading, workers, policy, least)
    return _bounds(_cap_at_obstacle(decision, workers), policy, least)


def _recommend(reading: Reading, workers: Workers, policy: Policy, memory: Memory, *, fresh: bool) -> Decision:
    """Say what the queue calls for, and remember it."""
    wanted = demand(reading, workers, policy, memory)
    certain = reading.at_most is not None and not fresh
    high = wanted.desired if certain else max(wanted.desired, workers.replicas)
    return replace(wanted, memory=_record(memory, policy, high, wanted.desired))


def _apply_behavior(wanted: Decision, reading: Reading, workers: Workers, policy: Policy, least: Minimum) -> Decision:
    """Go towards what is wanted, at the pace that is allowed."""
    if workers.replicas >= least.replicas:
        # Before all that holds workers back, which has nothing to say of those that stay anyway.
        wanted = _at_least(wanted, least)
    steady = _idle_grace(stabilize(wanted, workers, policy), reading, workers, policy)
    return limit_rate(steady, workers, policy)


def _record(memory: Memory, policy: Policy, high: int, low: int) -> Memory:
    # Beyond the maximum all numbers are the same; told apart, a memory would grow with each step of a long backlog.
    high, low = min(high, policy.max_replicas), min(low, policy.max_replicas)
    return memory.record(high=high, low=low, down=policy.scale_down.window, up=policy.scale_up.window)


def _paused(workers: Workers, policy: Policy, memory: Memory) -> Decision:
    if policy.paused_replicas is None:
        return Decision(workers.replicas, DecisionReason.PAUSED, ("paused: the number of workers stays",), memory)
    return Decision(policy.paused_replicas, DecisionReason.PAUSED, (f"paused at {policy.paused_replicas:,}",), memory)


def _fall_back(workers: Workers, policy: Policy, memory: Memory) -> Decision | None:
    """Do as the user says once the queue has been unreadable for so long; from zero too."""
    fallback = policy.fallback
    if fallback is None or memory.blind < fallback.after:
        return None
    desired = {
        FallbackBehavior.STATIC: fallback.replicas,
        FallbackBehavior.AT_LEAST: max(workers.replicas, fallback.replicas),
        FallbackBehavior.AT_MOST: min(workers.replicas, fallback.replicas),
        FallbackBehavior.CURRENT: workers.replicas,
    }[fallback.behavior]
    number = "" if fallback.behavior is FallbackBehavior.CURRENT else f" {fallback.replicas:,}"
    line = f"not readable for more than {seconds(fallback.after)} s: fallback {fallback.behavior}{number}"
    return Decision(
        desired, DecisionReason.FALLBACK, (line,), _record(memory, policy, workers.replicas, workers.replicas)
    )


def _idle_grace(decision: Decision, reading: Reading, workers: Workers, policy: Policy) -> Decision:
    if decision.desired > 0 or workers.replicas == 0:
        return decision
    if is_quiet(reading) and decision.memory.idle >= policy.idle:
        # Not how long exactly: the words would differ with each decision.
        return decision.then(0, DecisionReason.IDLE, f"nothing to do for {seconds(policy.idle)} s")
    line = f"the last worker stays until {seconds(policy.idle)} s without work"
    return decision.then(1, DecisionReason.IDLE_GRACE, line)


def _cap_at_obstacle(decision: Decision, workers: Workers) -> Decision:
    """Add no more workers that could not work either."""
    obstacle = workers.obstacle
    if obstacle is None or decision.desired <= workers.replicas:
        return decision
    trial = MAX_UNPROVEN_REPLICAS if obstacle.why is DecisionReason.WORKERS_FAILING else 0
    most = max(workers.replicas, trial)
    if decision.desired <= most:
        return decision
    return decision.then(most, obstacle.why, f"stopped at {most:,}: {obstacle.message}")


def _bounds(decision: Decision, policy: Policy, least: Minimum) -> Decision:
    if decision.desired > policy.max_replicas:
        line = f"limited to {policy.max_replicas:,} by maxReplicas"
        return decision.then(policy.max_replicas, DecisionReason.MAX_REPLICAS, line)
    return _at_least(decision, least)


def _at_least(decision: Decision, least: Minimum) -> Decision:
    if decision.desired < least.replicas:
        by = f"schedule {least.schedule}" if least.schedule else "minReplicas"
        return decision.then(least.replicas, DecisionReason.MIN_REPLICAS, f"raised to {least.replicas:,} by {by}")
    return decision
