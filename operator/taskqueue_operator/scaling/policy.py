"""The policy of a TaskQueue: `spec.scaling` with all defaults applied, in the types that decisions need."""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Self

from taskqueue_operator.resource import behavior
from taskqueue_operator.resource.behavior import PolicyType, SelectPolicy
from taskqueue_operator.resource.scaling import FallbackBehavior, Mode
from taskqueue_operator.resource.scaling import Scaling as Spec
from taskqueue_operator.resource.taskqueue import TaskQueue

from .schedule import Schedule


@dataclass(frozen=True, slots=True)
class Rate:
    """A rate policy: a number of workers, or a percentage, that may be added or removed within a period."""

    type: PolicyType
    value: int
    period: timedelta


@dataclass(frozen=True, slots=True)
class Rules:
    """Scaling rules of one direction; without rates the number changes immediately."""

    window: timedelta = timedelta(0)
    rates: tuple[Rate, ...] = ()
    select: SelectPolicy = SelectPolicy.MAX
    tolerance: Decimal = Decimal(0)

    @classmethod
    def of(cls, rules: behavior.ScaleUp | behavior.ScaleDown) -> Self:
        """Return the rules of a spec."""
        return cls(
            window=timedelta(seconds=rules.stabilization_window_seconds),
            rates=tuple(
                Rate(policy.type, policy.value, timedelta(seconds=policy.period_seconds))
                for policy in rules.policies or ()
            ),
            select=rules.select_policy,
            tolerance=rules.tolerance or Decimal(0),
        )


@dataclass(frozen=True, slots=True)
class Fallback:
    """Number of workers once the queue has been unreadable for `after`; CURRENT ignores `replicas`."""

    after: timedelta
    replicas: int
    behavior: FallbackBehavior


@dataclass(frozen=True, slots=True)
class Policy:
    """The policy of one TaskQueue; the field names are those of `spec.scaling`."""

    max_replicas: int
    min_replicas: int = 0
    ready_per_replica: int = 20
    activation_ready: int = 0
    idle: timedelta = timedelta(seconds=60)
    scale_up: Rules = Rules()
    scale_down: Rules = Rules(window=timedelta(seconds=60))
    schedules: tuple[Schedule, ...] = ()
    fallback: Fallback | None = None
    concurrency: int = 1
    mode: Mode = Mode.AUTO
    paused_replicas: int | None = None

    @classmethod
    def of(cls, taskqueue: TaskQueue) -> Self:
        """Return the policy of a TaskQueue."""
        scaling = taskqueue.spec.scaling
        return cls(
            max_replicas=scaling.max_replicas,
            min_replicas=scaling.min_replicas,
            ready_per_replica=scaling.ready_per_replica,
            # No further message arrives then: a few that are left would never exceed the threshold.
            activation_ready=0 if taskqueue.is_being_emptied else scaling.activation_ready,
            idle=timedelta(seconds=scaling.idle_seconds),
            scale_up=Rules.of(scaling.behavior.scale_up),
            scale_down=Rules.of(scaling.behavior.scale_down),
            schedules=tuple(map(Schedule.of, scaling.schedules or ())),
            fallback=_fallback(scaling),
            concurrency=taskqueue.spec.worker.concurrency,
            mode=scaling.mode,
            paused_replicas=scaling.paused_replicas,
        )

    @property
    def longest_period(self) -> timedelta:
        """The longest period of the rate policies; zero if there are none."""
        periods = (rate.period for rules in (self.scale_up, self.scale_down) for rate in rules.rates)
        return max(periods, default=timedelta(0))


def _fallback(scaling: Spec) -> Fallback | None:
    fallback = scaling.fallback
    if fallback is None:
        return None
    return Fallback(timedelta(seconds=fallback.after_seconds), fallback.replicas or 0, fallback.behavior)
