"""What the HPA controller of Kubernetes 1.36 does, reimplemented from podautoscaler/horizontal.go, as a reference.

It keeps all recommendations and changes. (The controller may overwrite a change of one direction once the rate policies
of that direction no longer count it, although those of the other direction still would.)
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil

from taskqueue_operator.resource.behavior import PolicyType, SelectPolicy
from taskqueue_operator.scaling.policy import Policy, Rate, Rules

Number = float | Fraction


@dataclass
class HorizontalPodAutoscaler:
    """Scales on one external metric with target `readyPerReplica` per pod; in the controller, `number` is float."""

    policy: Policy
    number: Callable[[str], Number]
    recommendations: list[tuple[float, int]] = field(default_factory=list)
    changes: list[tuple[float, int]] = field(default_factory=list)

    def desired(self, now: float, ready: int, replicas: int) -> int:
        """Return the desired number of pods; `replicas` is within the bounds."""
        recommended = self._of_metric(ready, replicas)
        stable = self._stabilized(now, recommended, replicas)
        if stable > replicas:
            return min(stable, max(self._up_limit(now, replicas), replicas), self.policy.max_replicas)
        if stable < replicas:
            return max(stable, min(self._down_limit(now, replicas), replicas), self.policy.min_replicas)
        return stable

    def scaled(self, now: float, by: int) -> None:
        """Record a change of the number of pods."""
        self.changes.append((now, by))

    def _of_metric(self, ready: int, replicas: int) -> int:
        """As GetExternalPerPodMetricReplicas."""
        per = self.policy.ready_per_replica
        ratio = self.number(str(ready)) / (self.number(str(per)) * replicas)
        down, up = (self.number(str(rules.tolerance)) for rules in (self.policy.scale_down, self.policy.scale_up))
        return replicas if 1 - down <= ratio <= 1 + up else ceil(self.number(str(ready)) / self.number(str(per)))

    def _stabilized(self, now: float, recommended: int, replicas: int) -> int:
        """As stabilizeRecommendationWithBehaviors."""
        lowest, highest = (
            pick(
                recommended,
                *(replicas for at, replicas in self.recommendations if at > now - rules.window.total_seconds()),
            )
            for pick, rules in ((_least, self.policy.scale_up), (_most, self.policy.scale_down))
        )
        self.recommendations.append((now, recommended))
        return min(max(replicas, lowest), highest)

    def _up_limit(self, now: float, replicas: int) -> int:
        """As calculateScaleUpLimitWithScalingRules."""

        def proposal(start: int, rate: Rate) -> int:
            if rate.type is PolicyType.PODS:
                return start + rate.value
            return ceil(self.number(str(start)) * (1 + self.number(str(rate.value)) / 100))

        return self._limit(now, replicas, self.policy.scale_up, proposal, change_most=max)

    def _down_limit(self, now: float, replicas: int) -> int:
        """As calculateScaleDownLimitWithBehaviors."""

        def proposal(start: int, rate: Rate) -> int:
            if rate.type is PolicyType.PODS:
                return start - rate.value
            return int(self.number(str(start)) * (1 - self.number(str(rate.value)) / 100))

        return self._limit(now, replicas, self.policy.scale_down, proposal, change_most=min)

    def _limit(
        self, now: float, replicas: int, rules: Rules, proposal: Callable[[int, Rate], int], change_most: object
    ) -> int:
        if rules.select is SelectPolicy.DISABLED:
            return replicas
        pick = max if (change_most is max) == (rules.select is SelectPolicy.MAX) else min
        return pick(proposal(replicas - self._changed(now, rate), rate) for rate in rules.rates)

    def _changed(self, now: float, rate: Rate) -> int:
        """As getReplicasChangePerPeriod, of both directions."""
        return sum(by for at, by in self.changes if at > now - rate.period.total_seconds())


def _least(*numbers: int) -> int:
    return min(numbers)


def _most(*numbers: int) -> int:
    return max(numbers)
