"""The rate of scaling: stabilization windows and rate policies, as in `behavior` of autoscaling/v2.

The formulas are those of the HPA controller (podautoscaler/horizontal.go: stabilizeRecommendationWithBehaviors,
calculateScaleUpLimitWithScalingRules, calculateScaleDownLimitWithBehaviors), in integers.
"""

import sys
from collections.abc import Callable, Sequence

from taskqueue_operator.resource.behavior import PolicyType, SelectPolicy

from .decision import Decision, DecisionReason, Workers, whole_seconds
from .demand import ceil_div
from .memory import Memory
from .policy import Policy, Rate, Rules


def stabilize(decision: Decision, workers: Workers, policy: Policy) -> Decision:
    """Limit scale-in to the highest, and scale-out to the lowest recommendation of the stabilization window.

    Scaling from zero ignores the window.
    """
    replicas, memory = workers.replicas, decision.memory
    if decision.desired < replicas:
        highest = min(memory.highest(), replicas)
        if highest > decision.desired:
            seconds = whole_seconds(policy.scale_down.window)
            line = f"held at {highest:,}, the highest recommendation of the last {seconds} s"
            return decision.changed_to(highest, DecisionReason.SCALE_DOWN_STABILIZED, line)
    elif decision.desired > replicas > 0:
        lowest = max(memory.lowest(), replicas)
        if lowest < min(decision.desired, policy.max_replicas):
            seconds = whole_seconds(policy.scale_up.window)
            line = f"held at {lowest:,}, the lowest recommendation of the last {seconds} s"
            return decision.changed_to(lowest, DecisionReason.SCALE_UP_STABILIZED, line)
    return decision


def limit_rate(decision: Decision, workers: Workers, policy: Policy) -> Decision:
    """Limit the change to what the rate policies allow; the first replica from zero is exempt."""
    replicas, memory = workers.replicas, decision.memory
    if decision.desired > replicas:
        rules = policy.scale_up
        exempt = replicas if replicas or rules.select is SelectPolicy.DISABLED else 1
        proposals = [_scale_up_limit(rate, replicas, memory) for rate in rules.rates]
        allowed = max(_select_limit(rules, replicas, proposals, max), exempt)
        if allowed < decision.desired:
            line = f"limited to {allowed:,} by behavior.scaleUp"
            return decision.changed_to(allowed, DecisionReason.SCALE_UP_LIMIT, line)
    elif decision.desired < replicas:
        rules = policy.scale_down
        proposals = [_scale_down_limit(rate, replicas, memory) for rate in rules.rates]
        allowed = min(_select_limit(rules, replicas, proposals, min), replicas)
        if allowed > decision.desired:
            line = f"limited to {allowed:,} by behavior.scaleDown"
            return decision.changed_to(allowed, DecisionReason.SCALE_DOWN_LIMIT, line)
    return decision


def _select_limit(rules: Rules, replicas: int, proposals: Sequence[int], widest: Callable[..., int]) -> int:
    """Return the limit that `selectPolicy` selects: the proposal with the largest or the smallest change."""
    if rules.select is SelectPolicy.DISABLED:
        return replicas
    if not proposals:
        return widest(0, sys.maxsize)
    narrowest = min if widest is max else max
    return (widest if rules.select is SelectPolicy.MAX else narrowest)(proposals)


def _scale_up_limit(rate: Rate, replicas: int, memory: Memory) -> int:
    start = replicas - memory.changed_within(rate.period)
    return start + rate.value if rate.type is PolicyType.PODS else ceil_div(start * (100 + rate.value), 100)


def _scale_down_limit(rate: Rate, replicas: int, memory: Memory) -> int:
    if memory.age < rate.period:
        return replicas  # removals before the start of the operator are unknown, so the budget counts as spent
    start = replicas - memory.changed_within(rate.period)
    return start - rate.value if rate.type is PolicyType.PODS else start * max(0, 100 - rate.value) // 100
