"""Derives the desired number of workers from a reading, as a pure function that can be replayed and explained.

The stages in order: mode, fallback, demand (with activation, running tasks and tolerance), stabilization window, idle
grace before zero, rate policies, obstacle, bounds (raised by schedules). Each stage that changes the number adds a line
to the explanation. Names and semantics follow autoscaling/v2.
"""

from dataclasses import replace
from datetime import datetime
from types import MappingProxyType
from typing import Final

from taskqueue_operator.resource.scaling import FallbackBehavior, Mode

from .behavior import limit_rate, stabilize
from .decision import Decision, DecisionReason, Workers, whole_seconds
from .demand import demand
from .memory import Memory
from .policy import Policy
from .reading import Reading
from .schedule import Minimum, effective_minimum

TRIAL_REPLICAS: Final = MappingProxyType(
    {
        DecisionReason.WORKERS_STARTING: 3,
        DecisionReason.WORKERS_FAILING: 3,
        DecisionReason.DEPENDENCY_UNAVAILABLE: 1,
    }
)
"""How many workers try, despite an obstacle, whether it still exists; 0 for every other obstacle."""


def decide(reading: Reading, workers: Workers, policy: Policy, memory: Memory, now: datetime) -> Decision:
    """Return how many workers there should be.

    If `at_most` of the reading is unknown, only `maxReplicas` and a fallback can lower the number. If `at_least` is
    unknown, only a minimum and a fallback can raise it. Except while Paused, minimum <= desired <= `maxReplicas`.
    """
    is_new = memory.began is None
    memory = memory.observe(reading, workers.replicas, now, period=policy.longest_period)
    if is_new:
        memory = _recommend_current(memory, policy, workers)
    if policy.mode is Mode.PAUSED:
        return _paused(workers, policy, _recommend_current(memory, policy, workers))
    minimum = effective_minimum(policy.min_replicas, policy.schedules, now)
    decision = _fallback(workers, policy, memory)
    if decision is None:
        recommendation = _recommend(reading, workers, policy, memory, is_new=is_new)
        decision = _apply_behavior(recommendation, reading, workers, policy, minimum)
    return _apply_bounds(_cap_at_obstacle(decision, workers), policy, minimum)


def _recommend(reading: Reading, workers: Workers, policy: Policy, memory: Memory, *, is_new: bool) -> Decision:
    """Return the demand of the queue, recorded in the memory."""
    recommendation = demand(reading, workers, policy, memory)
    certain = reading.at_most is not None and not is_new
    high = recommendation.desired if certain else max(recommendation.desired, workers.replicas)
    return replace(recommendation, memory=_record(memory, policy, high, recommendation.desired))


def _apply_behavior(
    recommendation: Decision, reading: Reading, workers: Workers, policy: Policy, minimum: Minimum
) -> Decision:
    if workers.replicas >= minimum.replicas:
        # Before the stages that delay scale-in: they must not explain why workers below the minimum are kept.
        recommendation = _raise_to_minimum(recommendation, minimum)
    stable = _idle_grace(stabilize(recommendation, workers, policy), reading, workers, policy)
    return limit_rate(stable, workers, policy)


def _record(memory: Memory, policy: Policy, high: int, low: int) -> Memory:
    # Recommendations above the maximum are equivalent. Without the cap, a long backlog would grow the memory.
    high, low = min(high, policy.max_replicas), min(low, policy.max_replicas)
    return memory.record(high=high, low=low, down=policy.scale_down.window, up=policy.scale_up.window)


def _recommend_current(memory: Memory, policy: Policy, workers: Workers) -> Memory:
    return _record(memory, policy, workers.replicas, workers.replicas)


def _paused(workers: Workers, policy: Policy, memory: Memory) -> Decision:
    if policy.paused_replicas is None:
        line = "paused: the number of workers does not change"
        return Decision(workers.replicas, DecisionReason.PAUSED, (line,), memory)
    line = f"paused: pausedReplicas is {policy.paused_replicas:,}"
    return Decision(policy.paused_replicas, DecisionReason.PAUSED, (line,), memory)


def _fallback(workers: Workers, policy: Policy, memory: Memory) -> Decision | None:
    """Return the decision of the fallback once the queue has been unreadable for long enough; also from zero."""
    fallback = policy.fallback
    if fallback is None or memory.unreadable_for < fallback.after:
        return None
    desired = {
        FallbackBehavior.STATIC: fallback.replicas,
        FallbackBehavior.AT_LEAST: max(workers.replicas, fallback.replicas),
        FallbackBehavior.AT_MOST: min(workers.replicas, fallback.replicas),
        FallbackBehavior.CURRENT: workers.replicas,
    }[fallback.behavior]
    number = "" if fallback.behavior is FallbackBehavior.CURRENT else f" {fallback.replicas:,}"
    line = f"unreadable for at least {whole_seconds(fallback.after)} s: fallback {fallback.behavior}{number}"
    return Decision(desired, DecisionReason.FALLBACK, (line,), _recommend_current(memory, policy, workers))


def _idle_grace(decision: Decision, reading: Reading, workers: Workers, policy: Policy) -> Decision:
    if decision.desired > 0 or workers.replicas == 0:
        return decision
    seconds = whole_seconds(policy.idle)
    if reading.is_empty and decision.memory.idle_for >= policy.idle:
        # Not the exact idle time: the explanation would change with each decision.
        return decision.changed_to(0, DecisionReason.IDLE, f"idle for {seconds} s")
    line = f"the last worker is kept until the queue has been idle for {seconds} s"
    return decision.changed_to(1, DecisionReason.IDLE_GRACE, line)


def _cap_at_obstacle(decision: Decision, workers: Workers) -> Decision:
    """Do not add workers that could not start, or could do nothing."""
    obstacle = workers.obstacle
    if obstacle is None or decision.desired <= workers.replicas:
        return decision
    limit = max(workers.replicas, TRIAL_REPLICAS.get(obstacle.reason, 0))
    if decision.desired <= limit:
        return decision
    return decision.changed_to(limit, obstacle.reason, f"limited to {limit:,}: {obstacle.message}")


def _apply_bounds(decision: Decision, policy: Policy, minimum: Minimum) -> Decision:
    if decision.desired > policy.max_replicas:
        line = f"limited to {policy.max_replicas:,} by maxReplicas"
        return decision.changed_to(policy.max_replicas, DecisionReason.MAX_REPLICAS, line)
    return _raise_to_minimum(decision, minimum)


def _raise_to_minimum(decision: Decision, minimum: Minimum) -> Decision:
    if decision.desired >= minimum.replicas:
        return decision
    source = f"schedule {minimum.schedule}" if minimum.schedule else "minReplicas"
    line = f"raised to {minimum.replicas:,} by {source}"
    return decision.changed_to(minimum.replicas, DecisionReason.MIN_REPLICAS, line)
