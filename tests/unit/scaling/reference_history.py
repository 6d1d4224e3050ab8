"""A brute-force reference for decisions: it keeps all steps, and derives the limits from them.

Unlike `Memory` it does not compress anything: a step is kept as long as the rules of its time and of all later times
count it. Numbers are fractions.
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
    """Return the effective minimum: the schedules of `sim` are active in the first half of every ten minutes."""
    active = [
        schedule.min_replicas
        for schedule in policy.schedules
        if now.minute % 10 < 5 and schedule.time_zone != "Mars/Olympus"
    ]
    return max([policy.min_replicas, *active])


def running(step: Recording, unacked: int | None) -> int:
    """Return how many of the unacked messages run: no more than the ready workers can run."""
    return min(unacked or 0, step.policy.concurrency * min(step.workers.ready, step.workers.replicas))


def need(step: Recording, ready: int, unacked: int | None) -> Fraction:
    """Return the exact number of workers for so many ready and unacked messages."""
    per = step.policy.ready_per_replica
    return Fraction(ready, per) + Fraction(running(step, unacked), max(per, step.policy.concurrency))


def demand(step: Recording) -> int:
    """Return the demand of the queue, without stages that depend on the past."""
    replicas, reading, policy = step.workers.replicas, step.reading, step.policy
    if reading.at_least is not None and (replicas or reading.at_least > policy.activation_ready):
        needed = need(step, reading.at_least, reading.held_at_least)
        if needed > replicas:
            share = needed / replicas - 1 if replicas else INFINITE
            return replicas if share <= policy.scale_up.tolerance else ceil(needed)
    if reading.at_most is None or replicas == 0:
        return replicas
    needed = need(step, reading.at_most, reading.unacked)
    if abs(1 - needed / replicas) <= policy.scale_down.tolerance:
        return replicas
    return min(max(ceil(needed), ceil(Fraction(running(step, reading.unacked), policy.concurrency))), replicas)


def is_idle(step: Recording) -> bool:
    return (step.reading.at_most, step.reading.unacked) == (0, 0)


@dataclass
class History:
    """All steps since the start of the operator."""

    steps: list[Recording] = field(default_factory=list)
    highs: list[tuple[datetime, int]] = field(default_factory=list)
    lows: list[tuple[datetime, int]] = field(default_factory=list)
    counted: list[Recording] = field(default_factory=list)

    def add(self, step: Recording) -> None:
        """Add a step, before it is checked."""
        longest = _longest(step.policy)
        self.counted = [past for past in self.counted if step.at - past.at < longest]
        self.counted += self.steps[-1:] if longest else []
        self.steps.append(step)
        replicas, first, most = step.workers.replicas, len(self.steps) == 1, step.policy.max_replicas
        calls = replicas if self.falls_back() or step.policy.mode is Mode.PAUSED else demand(step)
        uncertain = first or step.reading.at_most is None
        self.highs.append((step.at, min(max(calls, replicas) if uncertain else calls, most)))
        self.lows.append((step.at, min(calls, replicas if first and step.policy.scale_up.window else most)))
        self.highs = [high for high in self.highs if _within(high[0], step.policy.scale_down.window, step.at)]
        self.lows = [low for low in self.lows if _within(low[0], step.policy.scale_up.window, step.at)]

    def falls_back(self) -> bool:
        """Whether the fallback applies at the last step."""
        step = self.steps[-1]
        if step.policy.fallback is None or step.policy.mode is Mode.PAUSED or not step.reading.unreadable:
            return False
        read = [past.at for past in self.steps if not past.reading.unreadable] or [self.steps[0].at]
        return step.at - read[-1] >= step.policy.fallback.after

    def fallback(self) -> int:
        """Return the number of the fallback, limited by an obstacle."""
        step = self.steps[-1]
        replicas, fallback = step.workers.replicas, step.policy.fallback
        assert fallback is not None
        number = {
            FallbackBehavior.STATIC: fallback.replicas,
            FallbackBehavior.AT_LEAST: max(replicas, fallback.replicas),
            FallbackBehavior.AT_MOST: min(replicas, fallback.replicas),
            FallbackBehavior.CURRENT: replicas,
        }[fallback.behavior]
        return number if step.workers.obstacle is None else min(number, obstacle_limit(step))

    def highest(self) -> int:
        """Return the lower limit of the scale-down window."""
        return max(number for _, number in self.highs)

    def lowest(self) -> int:
        """Return the upper limit of the scale-up window."""
        return min(number for _, number in self.lows)

    def upper_rate_limit(self) -> int:
        """Return the highest number that the rate policies allow."""
        step, rules = self.steps[-1], self.steps[-1].policy.scale_up
        replicas = step.workers.replicas
        if rules.select is SelectPolicy.DISABLED:
            return replicas
        proposals = []
        for rate in rules.rates:
            start = self._at_start(rate)
            more = rate.value if rate.type is PolicyType.PODS else Fraction(start * rate.value, 100)
            proposals.append(ceil(start + more))
        largest = rules.select is SelectPolicy.MAX
        return max((max if largest else min)(proposals, default=INFINITE), replicas, 1)

    def lower_rate_limit(self) -> int:
        """Return the lowest number that the rate policies allow."""
        step, rules = self.steps[-1], self.steps[-1].policy.scale_down
        replicas = step.workers.replicas
        if rules.select is SelectPolicy.DISABLED:
            return replicas
        proposals = []
        for rate in rules.rates:
            start = self._at_start(rate)
            less = rate.value if rate.type is PolicyType.PODS else Fraction(start * rate.value, 100)
            unknown = step.at - self.steps[0].at < rate.period
            proposals.append(replicas if unknown else floor(start - less))
        largest = rules.select is SelectPolicy.MAX
        return min((min if largest else max)(proposals, default=0), replicas)

    def idle_for(self, idle: timedelta) -> bool:
        """Whether the queue was certainly idle during all this time."""
        now = self.steps[-1].at
        if now - self.steps[0].at < idle:
            return False
        recent = (past for past in reversed(self.steps) if now - past.at < idle or past is self.steps[-1])
        return all(is_idle(past) for past in recent)

    def _at_start(self, rate: Rate) -> int:
        """Return the number of replicas at the first step within the period."""
        now = self.steps[-1].at
        return next(past.workers.replicas for past in (*self.counted, self.steps[-1]) if now - past.at < rate.period)


def obstacle_limit(step: Recording) -> int:
    """Return the highest number that an obstacle allows; some workers try whether it still exists."""
    obstacle = step.workers.obstacle
    assert obstacle is not None
    trial = {"WorkersFailing": 3, "WorkersStarting": 3, "DependencyUnavailable": 1}.get(obstacle.reason, 0)
    return max(step.workers.replicas, trial)


def _longest(policy: Policy) -> timedelta:
    return max(
        (rate.period for rules in (policy.scale_up, policy.scale_down) for rate in rules.rates), default=timedelta(0)
    )


def _within(then: datetime, window: timedelta, now: datetime) -> bool:
    """Whether a recommendation is within the window; that of the present step always is."""
    return then == now or now - then < window
