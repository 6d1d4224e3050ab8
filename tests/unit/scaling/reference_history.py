"""A brute-force reference: all that was ever seen, and what the rules say of it, worked out the long way.

Nothing is condensed here as in `Memory`: each step stays for as long as the rules of its time and of all times since
let it count. Numbers are worked out with fractions.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fractions import Fraction
from math import ceil, floor

from taskqueue_operator.resource.behavior import PolicyType, SelectPolicy
from taskqueue_operator.resource.scaling import FallbackBehavior, Mode
from taskqueue_operator.scaling.policy import Policy, Rate
from taskqueue_operator.scaling.recording import Recording

INFINITE = 10**9


def minimum(policy: Policy, now: datetime) -> int:
    """The schedules of the `world` are on in the first half of every ten minutes."""
    on = [each.min_replicas for each in policy.schedules if now.minute % 10 < 5 and each.time_zone != "Mars/Olympus"]
    return max([policy.min_replicas, *on])


def wanted(step: Recording) -> int:
    """What the queue calls for, before anything that looks back."""
    there, reading, policy = step.workers.replicas, step.reading, step.policy
    per = policy.ready_per_replica
    if reading.at_least is not None and (there or reading.at_least > policy.activation_ready):
        needed = Fraction(reading.at_least, per)
        if needed > there:
            share = needed / there - 1 if there else INFINITE
            return there if share <= policy.scale_up.tolerance else ceil(needed)
    if reading.at_most is None or there == 0:
        return there
    needed = Fraction(reading.at_most, per)
    if abs(1 - needed / there) <= policy.scale_down.tolerance:
        return there
    running = Fraction(reading.unacked or 0, policy.concurrency)
    return min(max(ceil(needed), min(ceil(running), step.workers.ready)), there)


def is_idle(step: Recording) -> bool:
    return (step.reading.at_most, step.reading.unacked) == (0, 0)


@dataclass
class History:
    """What happened since the operator started."""

    steps: list[Recording] = field(default_factory=list)
    highs: list[tuple[datetime, int]] = field(default_factory=list)
    lows: list[tuple[datetime, int]] = field(default_factory=list)
    counted: list[Recording] = field(default_factory=list)

    def see(self, step: Recording) -> None:
        """Note a step before it is judged."""
        longest = _longest(step.policy)
        self.counted = [each for each in self.counted if step.at - each.at < longest]
        self.counted += self.steps[-1:] if longest else []
        self.steps.append(step)
        there, first, most = step.workers.replicas, len(self.steps) == 1, step.policy.max_replicas
        calls = there if self.falls_back() or step.policy.mode is Mode.PAUSED else wanted(step)
        uncertain = first or step.reading.at_most is None
        self.highs.append((step.at, min(max(calls, there) if uncertain else calls, most)))
        self.lows.append((step.at, min(calls, there if first and step.policy.scale_up.window else most)))
        self.highs = [each for each in self.highs if _within(each[0], step.policy.scale_down.window, step.at)]
        self.lows = [each for each in self.lows if _within(each[0], step.policy.scale_up.window, step.at)]

    def falls_back(self) -> bool:
        """Whether the last step is a case for the fallback: blind for so long."""
        step = self.steps[-1]
        if step.policy.fallback is None or step.policy.mode is Mode.PAUSED or not step.reading.unreadable:
            return False
        read = [each.at for each in self.steps if not each.reading.unreadable] or [self.steps[0].at]
        return step.at - read[-1] >= step.policy.fallback.after

    def fallback(self) -> int:
        """What the user asked for then, within the bounds and what is possible."""
        step = self.steps[-1]
        there, asked = step.workers.replicas, step.policy.fallback
        assert asked is not None
        number = {
            FallbackBehavior.STATIC: asked.replicas,
            FallbackBehavior.AT_LEAST: max(there, asked.replicas),
            FallbackBehavior.AT_MOST: min(there, asked.replicas),
            FallbackBehavior.CURRENT: there,
        }[asked.behavior]
        return number if step.workers.obstacle is None else min(number, most_despite_obstacle(step))

    def highest(self) -> int:
        """Not to be undercut."""
        return max(number for _, number in self.highs)

    def lowest(self) -> int:
        """Not to be exceeded."""
        return min(number for _, number in self.lows)

    def most(self) -> int:
        """How far the rates let the number rise."""
        step, rules = self.steps[-1], self.steps[-1].policy.scale_up
        there = step.workers.replicas
        if rules.select is SelectPolicy.DISABLED:
            return there
        proposals = []
        for rate in rules.rates:
            start = self._at_start(rate)
            more = rate.value if rate.type is PolicyType.PODS else Fraction(start * rate.value, 100)
            proposals.append(ceil(start + more))
        largest = rules.select is SelectPolicy.MAX
        return max((max if largest else min)(proposals, default=INFINITE), there, 1)

    def least(self) -> int:
        """How far the rates let the number fall."""
        step, rules = self.steps[-1], self.steps[-1].policy.scale_down
        there = step.workers.replicas
        if rules.select is SelectPolicy.DISABLED:
            return there
        proposals = []
        for rate in rules.rates:
            start = self._at_start(rate)
            less = rate.value if rate.type is PolicyType.PODS else Fraction(start * rate.value, 100)
            unknown = step.at - self.steps[0].at < rate.period
            proposals.append(there if unknown else floor(start - less))
        largest = rules.select is SelectPolicy.MAX
        return min((min if largest else max)(proposals, default=0), there)

    def quiet_for(self, idle: timedelta) -> bool:
        """Whether there was nothing to do, for certain, in all this time."""
        now = self.steps[-1].at
        if now - self.steps[0].at < idle:
            return False
        recent = (each for each in reversed(self.steps) if now - each.at < idle or each is self.steps[-1])
        return all(is_idle(each) for each in recent)

    def _at_start(self, rate: Rate) -> int:
        """How many there were at the first step within the period."""
        now = self.steps[-1].at
        return next(each.workers.replicas for each in (*self.counted, self.steps[-1]) if now - each.at < rate.period)


def most_despite_obstacle(step: Recording) -> int:
    """How many there may be while something keeps workers from starting: three may try a version."""
    obstacle = step.workers.obstacle
    assert obstacle is not None
    return max(step.workers.replicas, 3 if obstacle.reason == "WorkersFailing" else 0)


def _longest(policy: Policy) -> timedelta:
    return max(
        (rate.period for rules in (policy.scale_up, policy.scale_down) for rate in rules.rates), default=timedelta(0)
    )


def _within(then: datetime, window: timedelta, now: datetime) -> bool:
    """What is wanted now counts without a window too."""
    return then == now or now - then < window
