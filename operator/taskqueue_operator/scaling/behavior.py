"""How fast the number may change: stabilization windows and rates, as in `behavior` of autoscaling/v2.

The formulas are those of the HPA controller (podautoscaler/horizontal.go: stabilizeRecommendationWithBehaviors,
calculateScaleUpLimitWithScalingRules, calculateScaleDownLimitWithBehaviors), in integers.
"""

import sys
from collections.abc import Callable, Sequence

from taskqueue_operator.resource.behavior import PolicyType, SelectPolicy

from .decision import Decision, DecisionReason, Workers, seconds
from .demand import ceil
from .memory import Memory
from .policy import Policy, Rate, Rules


def stabilize(decision: Decision, workers: Workers, policy: Policy) -> Decision:
    """Scale in to the highest number wanted within the window, out to the lowest; a wake from zero waits for none."""
    now, memory = workers.replicas, decision.memory
    if decision.desired < now:
        highest = min(memory.highest(), now)
        if highest > decision.desired:
            line = f"held at {highest:,}, the highest wanted within {seconds(policy.scale_down.window)} s"
            return decision.then(highest, DecisionReason.SCALE_DOWN_STABILIZED, line)
    elif decision.desired > now > 0:
        lowest = max(memory.lowest(), now)
        if lowest < min(decision.desired, policy.max_replicas):
            line = f"held at {lowest:,}, the lowest wanted within {seconds(policy.scale_up.window)} s"
            return decision.then(lowest, DecisionReason.SCALE_UP_STABILIZED, line)
    return decision


def limit_rate(decision: Decision, workers: Workers, policy: Policy) -> Decision:
    """Change the number no faster than the rates allow; the first worker of a wake comes whatever they say."""
    replicas, memory = workers.replicas, decision.memory
    if decision.desired > replicas:
        rules = policy.scale_up
        least = replicas if replicas or rules.select is SelectPolicy.DISABLED else 1
        proposals = [_raised(rate, replicas, memory) for rate in rules.rates]
        allowed = max(_limit(rules, replicas, proposals, max), least)
        if allowed < decision.desired:
            return decision.then(allowed, DecisionReason.SCALE_UP_LIMIT, f"limited to {allowed:,} by behavior.scaleUp")
    elif decision.desired < replicas:
        rules = policy.scale_down
        proposals = [_lowered(rate, replicas, memory) for rate in rules.rates]
        allowed = min(_limit(rules, replicas, proposals, min), replicas)
        if allowed > decision.desired:
            return decision.then(
                allowed, DecisionReason.SCALE_DOWN_LIMIT, f"limited to {allowed:,} by behavior.scaleDown"
            )
    return decision


def _limit(rules: Rules, replicas: int, proposals: Sequence[int], widest: Callable[..., int]) -> int:
    """Say how far the number may go: to the proposal that changes most, or least."""
    if rules.select is SelectPolicy.DISABLED:
        return replicas
    if not proposals:
        return widest(0, sys.maxsize)
    narrowest = min if widest is max else max
    return (widest if rules.select is SelectPolicy.MAX else narrowest)(proposals)


def _raised(rate: Rate, replicas: int, memory: Memory) -> int:
    start = replicas - memory.changed_within(rate.period)
    return start + rate.value if rate.type is PolicyType.PODS else ceil(start * (100 + rate.value), 100)


def _lowered(rate: Rate, replicas: int, memory: Memory) -> int:
    if memory.age < rate.period:
        return replicas  # what was removed before the start is unknown: the budget counts as spent
    start = replicas - memory.changed_within(rate.period)
    return start - rate.value if rate.type is PolicyType.PODS else start * max(0, 100 - rate.value) // 100
