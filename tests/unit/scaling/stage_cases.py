"""Inputs of decisions for each stage, with the expected number and reason."""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from taskqueue_operator.resource.behavior import PolicyType, SelectPolicy
from taskqueue_operator.resource.scaling import Mode
from taskqueue_operator.scaling.decision import DecisionReason, Obstacle, Workers
from taskqueue_operator.scaling.memory import Change, Memory
from taskqueue_operator.scaling.policy import Policy, Rate, Rules
from taskqueue_operator.scaling.reading import Doubt, Reading
from taskqueue_operator.scaling.schedule import Schedule

from .builders import at, certain, doubtful, settled

ZERO_RECOMMENDED = settled(0)
NO_WINDOW = Policy(20, scale_down=Rules(window=timedelta(0)))


def pods(value: int, seconds: int) -> Rate:
    return Rate(PolicyType.PODS, value, timedelta(seconds=seconds))


def percent(value: int, seconds: int) -> Rate:
    return Rate(PolicyType.PERCENT, value, timedelta(seconds=seconds))


def always_active(replicas: int) -> Schedule:
    return Schedule(f"always-{replicas}", "UTC", "0 0 * * *", "0 0 29 2 *", replicas)


@dataclass(frozen=True)
class Case:
    """Inputs and outcome of a decision; `CASES` has them by the key of the approved explanation."""

    reading: Reading
    workers: Workers
    policy: Policy
    desired: int
    reason: DecisionReason
    memory: Memory = ZERO_RECOMMENDED


CASES = {
    "decision.paused_without_replicas": Case(
        certain(5000),
        Workers(3),
        Policy(20, mode=Mode.PAUSED),
        3,
        DecisionReason.PAUSED,
    ),
    "decision.paused_with_replicas_beyond_the_bounds": Case(
        certain(0),
        Workers(3),
        Policy(20, min_replicas=2, mode=Mode.PAUSED, paused_replicas=30),
        30,
        DecisionReason.PAUSED,
    ),
    "decision.backlog": Case(certain(101), Workers(0), Policy(20), 6, DecisionReason.BACKLOG),
    "decision.limited_by_max_replicas": Case(
        certain(5230),
        Workers(1),
        Policy(50, ready_per_replica=100),
        50,
        DecisionReason.MAX_REPLICAS,
    ),
    "decision.raised_by_min_replicas": Case(
        certain(0),
        Workers(0),
        Policy(50, min_replicas=2),
        2,
        DecisionReason.MIN_REPLICAS,
    ),
    "decision.at_zero_up_to_activation_ready": Case(
        certain(10),
        Workers(0),
        Policy(50, activation_ready=10),
        0,
        DecisionReason.IDLE,
    ),
    "decision.at_zero_by_the_lower_bound": Case(
        Reading(at(0), 0, 70, 0),
        Workers(0),
        Policy(50, activation_ready=10),
        0,
        DecisionReason.IDLE,
    ),
    "decision.from_zero_above_activation_ready": Case(
        certain(11),
        Workers(0),
        Policy(50, activation_ready=10),
        1,
        DecisionReason.BACKLOG,
    ),
    "decision.from_zero_without_an_upper_bound": Case(doubtful(100), Workers(0), Policy(50), 5, DecisionReason.BACKLOG),
    "decision.depth_unknown": Case(
        doubtful(0),
        Workers(9),
        NO_WINDOW,
        9,
        DecisionReason.QUEUE_UNREADABLE,
    ),
    "decision.no_probe": Case(
        doubtful(None, Doubt.NO_PROBE),
        Workers(9),
        NO_WINDOW,
        9,
        DecisionReason.QUEUE_UNREADABLE,
    ),
    "decision.upper_bound_keeps_workers": Case(
        Reading(at(0), 20, 500, 0),
        Workers(4, 4),
        NO_WINDOW,
        4,
        DecisionReason.BACKLOG,
    ),
    "decision.running_tasks": Case(
        certain(20, unacked=30),
        Workers(18, 18),
        Policy(20, concurrency=2, scale_down=Rules(window=timedelta(0))),
        15,
        DecisionReason.RUNNING_TASKS,
    ),
    "decision.behind_running_tasks": Case(
        certain(2, unacked=2),
        Workers(2, 2),
        Policy(5, ready_per_replica=1),
        4,
        DecisionReason.BACKLOG,
    ),
    "decision.running_tasks_up_to_ready_workers": Case(
        certain(20, unacked=300),
        Workers(18, 4),
        NO_WINDOW,
        4,
        DecisionReason.RUNNING_TASKS,
    ),
    "decision.scale_down_window": Case(
        certain(20),
        Workers(9),
        Policy(20),
        7,
        DecisionReason.SCALE_DOWN_STABILIZED,
        settled(7),
    ),
    "decision.new_memory_keeps_workers": Case(
        certain(20),
        Workers(9),
        NO_WINDOW,
        9,
        DecisionReason.SCALE_DOWN_STABILIZED,
        Memory(),
    ),
    "decision.idle_grace": Case(
        certain(0),
        Workers(9),
        NO_WINDOW,
        1,
        DecisionReason.IDLE_GRACE,
        settled(0, busy=-59),
    ),
    "decision.idle": Case(
        certain(0),
        Workers(1),
        NO_WINDOW,
        0,
        DecisionReason.IDLE,
        settled(0, busy=-60),
    ),
    "decision.unacked_message_prevents_zero": Case(
        certain(0, unacked=1),
        Workers(1, 0),
        NO_WINDOW,
        1,
        DecisionReason.IDLE_GRACE,
        settled(0, busy=-600),
    ),
    "decision.tolerance_of_scale_up": Case(
        certain(220),
        Workers(10),
        Policy(20, scale_up=Rules(tolerance=Decimal("0.1"))),
        10,
        DecisionReason.TOLERANCE,
    ),
    "decision.tolerance_of_scale_down": Case(
        certain(180),
        Workers(10),
        Policy(20, scale_down=Rules(tolerance=Decimal("0.1"))),
        10,
        DecisionReason.TOLERANCE,
    ),
    "decision.scale_up_window": Case(
        certain(400),
        Workers(2),
        Policy(50, scale_up=Rules(window=timedelta(seconds=30))),
        5,
        DecisionReason.SCALE_UP_STABILIZED,
        settled(5),
    ),
    "decision.from_zero_without_the_window": Case(
        certain(400),
        Workers(0),
        Policy(50, scale_up=Rules(window=timedelta(seconds=30))),
        20,
        DecisionReason.BACKLOG,
        settled(0),
    ),
    "decision.scale_up_rate": Case(
        certain(400),
        Workers(5),
        Policy(50, scale_up=Rules(rates=(pods(4, 15), percent(100, 15)))),
        10,
        DecisionReason.SCALE_UP_LIMIT,
    ),
    "decision.scale_down_rate": Case(
        certain(20),
        Workers(10),
        Policy(50, scale_down=Rules(rates=(pods(4, 15), percent(10, 15)), select=SelectPolicy.MIN)),
        9,
        DecisionReason.SCALE_DOWN_LIMIT,
    ),
    "decision.scale_up_budget_is_spent": Case(
        certain(400),
        Workers(9),
        Policy(50, scale_up=Rules(rates=(pods(4, 15),))),
        10,
        DecisionReason.SCALE_UP_LIMIT,
        settled(20, replicas=9, changes=(Change(at(-20), 4), Change(at(-14), 3))),
    ),
    "decision.scale_down_budget_counts_as_spent_after_a_start": Case(
        certain(20),
        Workers(10),
        Policy(50, scale_down=Rules(rates=(pods(4, 15),))),
        10,
        DecisionReason.SCALE_DOWN_LIMIT,
        settled(0, began=at(-14)),
    ),
    "decision.scale_down_disabled": Case(
        certain(20),
        Workers(10),
        Policy(50, scale_down=Rules(select=SelectPolicy.DISABLED)),
        10,
        DecisionReason.SCALE_DOWN_LIMIT,
    ),
    "decision.scale_up_disabled": Case(
        certain(400),
        Workers(0),
        Policy(50, scale_up=Rules(select=SelectPolicy.DISABLED)),
        0,
        DecisionReason.SCALE_UP_LIMIT,
    ),
    "decision.from_zero_by_a_percentage": Case(
        certain(400),
        Workers(0),
        Policy(50, scale_up=Rules(rates=(percent(100, 15),))),
        1,
        DecisionReason.SCALE_UP_LIMIT,
    ),
    "decision.failing_version_is_limited": Case(
        certain(400),
        Workers(
            1, obstacle=Obstacle(DecisionReason.WORKERS_FAILING, "no worker of this version has been ready (a: b)")
        ),
        Policy(50),
        3,
        DecisionReason.WORKERS_FAILING,
    ),
    "decision.unproven_version_is_limited": Case(
        certain(400),
        Workers(0, obstacle=Obstacle(DecisionReason.WORKERS_STARTING, "no worker of this version has been ready yet")),
        Policy(50),
        3,
        DecisionReason.WORKERS_STARTING,
    ),
    "decision.failing_version_keeps_workers": Case(
        certain(400),
        Workers(
            7, 7, obstacle=Obstacle(DecisionReason.WORKERS_FAILING, "no worker of this version has been ready (a: b)")
        ),
        Policy(50),
        7,
        DecisionReason.WORKERS_FAILING,
    ),
    "decision.no_node": Case(
        certain(400),
        Workers(2, obstacle=Obstacle(DecisionReason.UNSCHEDULABLE, "no node takes more workers")),
        Policy(50),
        2,
        DecisionReason.UNSCHEDULABLE,
    ),
    "decision.dependency_unavailable": Case(
        certain(400),
        Workers(2, 2, obstacle=Obstacle(DecisionReason.DEPENDENCY_UNAVAILABLE, 'no worker reaches "payments"')),
        Policy(50),
        2,
        DecisionReason.DEPENDENCY_UNAVAILABLE,
    ),
    "decision.one_worker_tries_the_dependency": Case(
        certain(400),
        Workers(0, obstacle=Obstacle(DecisionReason.DEPENDENCY_UNAVAILABLE, 'no worker reaches "payments"')),
        Policy(50),
        1,
        DecisionReason.DEPENDENCY_UNAVAILABLE,
    ),
    "decision.a_dependency_does_not_lower_the_minimum": Case(
        certain(400),
        Workers(2, 2, obstacle=Obstacle(DecisionReason.DEPENDENCY_UNAVAILABLE, 'no worker reaches "payments"')),
        Policy(50, min_replicas=4),
        4,
        DecisionReason.MIN_REPLICAS,
    ),
    "decision.quota": Case(
        certain(400),
        Workers(2, obstacle=Obstacle(DecisionReason.QUOTA_EXCEEDED, "ResourceQuota compute is exceeded")),
        Policy(50),
        2,
        DecisionReason.QUOTA_EXCEEDED,
    ),
    "decision.raised_by_a_schedule": Case(
        certain(0),
        Workers(0),
        Policy(50, min_replicas=1, schedules=(always_active(4), always_active(5), always_active(2))),
        5,
        DecisionReason.MIN_REPLICAS,
    ),
    "decision.depth_unknown_above_max_replicas": Case(
        doubtful(None, Doubt.NO_SWEEP),
        Workers(9),
        Policy(5),
        5,
        DecisionReason.MAX_REPLICAS,
    ),
}
