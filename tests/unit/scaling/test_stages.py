"""Each stage of a decision: the number, the reason and the lines that explain it."""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

import pytest

from taskqueue_operator.resource.behavior import PolicyType, SelectPolicy
from taskqueue_operator.resource.scaling import FallbackBehavior, Mode
from taskqueue_operator.scaling.decide import decide
from taskqueue_operator.scaling.decision import DecisionReason, Obstacle, Workers
from taskqueue_operator.scaling.memory import Change, Memory, Recommendation
from taskqueue_operator.scaling.policy import Fallback, Policy, Rate, Rules
from taskqueue_operator.scaling.reading import Doubt, Reading
from taskqueue_operator.scaling.schedule import Schedule

from .given import at, certain, doubtful, settled

NOTHING_WANTED = settled(0)
AT_ONCE = Policy(20, scale_down=Rules(window=timedelta(0)))


def pods(value: int, seconds: int) -> Rate:
    return Rate(PolicyType.PODS, value, timedelta(seconds=seconds))


def percent(value: int, seconds: int) -> Rate:
    return Rate(PolicyType.PERCENT, value, timedelta(seconds=seconds))


def always(replicas: int) -> Schedule:
    return Schedule(f"always-{replicas}", "UTC", "0 0 * * *", "0 0 29 2 *", replicas)


@dataclass(frozen=True)
class Case:
    reading: Reading
    workers: Workers
    policy: Policy
    desired: int
    why: DecisionReason
    lines: tuple[str, ...]
    memory: Memory = NOTHING_WANTED


CASES = {
    "paused freezes": Case(
        certain(5000),
        Workers(3),
        Policy(20, mode=Mode.PAUSED),
        3,
        DecisionReason.PAUSED,
        ("paused: the number of workers stays",),
    ),
    "paused goes where it is told, beyond the bounds": Case(
        certain(0),
        Workers(3),
        Policy(20, min_replicas=2, mode=Mode.PAUSED, paused_replicas=30),
        30,
        DecisionReason.PAUSED,
        ("paused at 30",),
    ),
    "a backlog calls for workers": Case(
        certain(101), Workers(0), Policy(20), 6, DecisionReason.BACKLOG, ("ready 101 / 20 per replica = 6",)
    ),
    "maxReplicas limits": Case(
        certain(5230),
        Workers(1),
        Policy(50, ready_per_replica=100),
        50,
        DecisionReason.MAX_REPLICAS,
        ("ready 5,230 / 100 per replica = 53", "limited to 50 by maxReplicas"),
    ),
    "minReplicas raises": Case(
        certain(0),
        Workers(0),
        Policy(50, min_replicas=2),
        2,
        DecisionReason.MIN_REPLICAS,
        ("asleep: ready 0 is not above activationReady 0", "raised to 2 by minReplicas"),
    ),
    "activationReady lets it sleep": Case(
        certain(10),
        Workers(0),
        Policy(50, activation_ready=10),
        0,
        DecisionReason.IDLE,
        ("asleep: ready 10 is not above activationReady 10",),
    ),
    "a wake is decided, and explained, by what is there for certain": Case(
        Reading(at(0), 0, 70, 0),
        Workers(0),
        Policy(50, activation_ready=10),
        0,
        DecisionReason.IDLE,
        ("asleep: ready 0 is not above activationReady 10",),
    ),
    "more than activationReady wakes": Case(
        certain(11),
        Workers(0),
        Policy(50, activation_ready=10),
        1,
        DecisionReason.BACKLOG,
        ("ready 11 / 20 per replica = 1",),
    ),
    "a doubt does not keep from waking": Case(
        doubtful(100), Workers(0), Policy(50), 5, DecisionReason.BACKLOG, ("ready 100 / 20 per replica = 5",)
    ),
    "an unknown depth keeps the workers": Case(
        doubtful(0),
        Workers(9),
        AT_ONCE,
        9,
        DecisionReason.UNKNOWN,
        ("depth unknown (Absent): the number of workers is not lowered",),
    ),
    "no reading at all keeps the workers": Case(
        doubtful(None, Doubt.NO_PROBE),
        Workers(9),
        AT_ONCE,
        9,
        DecisionReason.UNKNOWN,
        ("depth unknown (NoProbe): the number of workers is not lowered",),
    ),
    "what may be there keeps the workers, but raises nothing": Case(
        Reading(at(0), 20, 500, 0),
        Workers(4, 4),
        AT_ONCE,
        4,
        DecisionReason.BACKLOG,
        ("at most ready 500 / 20 per replica = 25: none of 4 is superfluous",),
    ),
    "running tasks keep their workers": Case(
        certain(20, unacked=30),
        Workers(18, 18),
        Policy(20, concurrency=2, scale_down=Rules(window=timedelta(0))),
        15,
        DecisionReason.RUNNING_TASKS,
        ("ready 20 / 20 per replica = 1", "30 unacked / 2 at once keep 15"),
    ),
    "no more running tasks are believed than workers consume": Case(
        certain(20, unacked=300),
        Workers(18, 4),
        AT_ONCE,
        4,
        DecisionReason.RUNNING_TASKS,
        ("ready 20 / 20 per replica = 1", "300 unacked / 1 at once keep 4"),
    ),
    "the highest of the window holds": Case(
        certain(20),
        Workers(9),
        Policy(20),
        7,
        DecisionReason.SCALE_DOWN_STABILIZED,
        ("ready 20 / 20 per replica = 1", "held at 7, the highest wanted within 60 s"),
        settled(7),
    ),
    "a new memory holds what is there": Case(
        certain(20),
        Workers(9),
        AT_ONCE,
        9,
        DecisionReason.SCALE_DOWN_STABILIZED,
        ("ready 20 / 20 per replica = 1", "held at 9, the highest wanted within 0 s"),
        Memory(),
    ),
    "the last worker stays for a while": Case(
        certain(0),
        Workers(9),
        AT_ONCE,
        1,
        DecisionReason.IDLE_GRACE,
        ("ready 0 / 20 per replica = 0", "the last worker stays until 60 s without work"),
        settled(0, busy=-59),
    ),
    "with nothing to do for long the last worker goes": Case(
        certain(0),
        Workers(1),
        AT_ONCE,
        0,
        DecisionReason.IDLE,
        ("ready 0 / 20 per replica = 0", "nothing to do for 60 s"),
        settled(0, busy=-60),
    ),
    "a task that nobody seems to run keeps the last worker": Case(
        certain(0, unacked=1),
        Workers(1, 0),
        AT_ONCE,
        1,
        DecisionReason.IDLE_GRACE,
        ("ready 0 / 20 per replica = 0", "the last worker stays until 60 s without work"),
        settled(0, busy=-600),
    ),
    "a backlog within the tolerance calls for nobody": Case(
        certain(220),
        Workers(10),
        Policy(20, scale_up=Rules(tolerance=Decimal("0.1"))),
        10,
        DecisionReason.TOLERANCE,
        ("ready 220 / 20 per replica = 11", "10.0% from what 10 are there for, within the tolerance of 10.0%"),
    ),
    "a backlog within the tolerance removes nobody": Case(
        certain(180),
        Workers(10),
        Policy(20, scale_down=Rules(tolerance=Decimal("0.1"))),
        10,
        DecisionReason.TOLERANCE,
        ("ready 180 / 20 per replica = 9", "10.0% from what 10 are there for, within the tolerance of 10.0%"),
    ),
    "the lowest of the window holds": Case(
        certain(400),
        Workers(2),
        Policy(50, scale_up=Rules(window=timedelta(seconds=30))),
        5,
        DecisionReason.SCALE_UP_STABILIZED,
        ("ready 400 / 20 per replica = 20", "held at 5, the lowest wanted within 30 s"),
        settled(5),
    ),
    "a wake waits for no window": Case(
        certain(400),
        Workers(0),
        Policy(50, scale_up=Rules(window=timedelta(seconds=30))),
        20,
        DecisionReason.BACKLOG,
        ("ready 400 / 20 per replica = 20",),
        settled(0),
    ),
    "scaling out is no faster than its rates": Case(
        certain(400),
        Workers(5),
        Policy(50, scale_up=Rules(rates=(pods(4, 15), percent(100, 15)))),
        10,
        DecisionReason.SCALE_UP_LIMIT,
        ("ready 400 / 20 per replica = 20", "limited to 10 by behavior.scaleUp"),
    ),
    "scaling in is no faster than its rates": Case(
        certain(20),
        Workers(10),
        Policy(50, scale_down=Rules(rates=(pods(4, 15), percent(10, 15)), select=SelectPolicy.MIN)),
        9,
        DecisionReason.SCALE_DOWN_LIMIT,
        ("ready 20 / 20 per replica = 1", "limited to 9 by behavior.scaleDown"),
    ),
    "what the rates have allowed is spent": Case(
        certain(400),
        Workers(9),
        Policy(50, scale_up=Rules(rates=(pods(4, 15),))),
        10,
        DecisionReason.SCALE_UP_LIMIT,
        ("ready 400 / 20 per replica = 20", "limited to 10 by behavior.scaleUp"),
        settled(20, replicas=9, changes=(Change(at(-20), 4), Change(at(-14), 3))),
    ),
    "after a start the rates of scaling in count as spent": Case(
        certain(20),
        Workers(10),
        Policy(50, scale_down=Rules(rates=(pods(4, 15),))),
        10,
        DecisionReason.SCALE_DOWN_LIMIT,
        ("ready 20 / 20 per replica = 1", "limited to 10 by behavior.scaleDown"),
        settled(0, began=at(-14)),
    ),
    "scaling in can be switched off": Case(
        certain(20),
        Workers(10),
        Policy(50, scale_down=Rules(select=SelectPolicy.DISABLED)),
        10,
        DecisionReason.SCALE_DOWN_LIMIT,
        ("ready 20 / 20 per replica = 1", "limited to 10 by behavior.scaleDown"),
    ),
    "scaling out can be switched off": Case(
        certain(400),
        Workers(0),
        Policy(50, scale_up=Rules(select=SelectPolicy.DISABLED)),
        0,
        DecisionReason.SCALE_UP_LIMIT,
        ("ready 400 / 20 per replica = 20", "limited to 0 by behavior.scaleUp"),
    ),
    "a percentage of nothing is one when it wakes": Case(
        certain(400),
        Workers(0),
        Policy(50, scale_up=Rules(rates=(percent(100, 15),))),
        1,
        DecisionReason.SCALE_UP_LIMIT,
        ("ready 400 / 20 per replica = 20", "limited to 1 by behavior.scaleUp"),
    ),
    "a version that does not start is not multiplied": Case(
        certain(400),
        Workers(1, obstacle=Obstacle(DecisionReason.WORKERS_FAILING, "no worker of this version has started (a: b)")),
        Policy(50),
        3,
        DecisionReason.WORKERS_FAILING,
        ("ready 400 / 20 per replica = 20", "stopped at 3: no worker of this version has started (a: b)"),
    ),
    "a version that does not start does not remove the others": Case(
        certain(400),
        Workers(
            7, 7, obstacle=Obstacle(DecisionReason.WORKERS_FAILING, "no worker of this version has started (a: b)")
        ),
        Policy(50),
        7,
        DecisionReason.WORKERS_FAILING,
        ("ready 400 / 20 per replica = 20", "stopped at 7: no worker of this version has started (a: b)"),
    ),
    "a full cluster is not pushed": Case(
        certain(400),
        Workers(2, obstacle=Obstacle(DecisionReason.UNSCHEDULABLE, "no node takes more workers")),
        Policy(50),
        2,
        DecisionReason.UNSCHEDULABLE,
        ("ready 400 / 20 per replica = 20", "stopped at 2: no node takes more workers"),
    ),
    "a quota is not pushed": Case(
        certain(400),
        Workers(2, obstacle=Obstacle(DecisionReason.QUOTA_EXCEEDED, "ResourceQuota compute is exceeded")),
        Policy(50),
        2,
        DecisionReason.QUOTA_EXCEEDED,
        ("ready 400 / 20 per replica = 20", "stopped at 2: ResourceQuota compute is exceeded"),
    ),
    "a schedule raises": Case(
        certain(0),
        Workers(0),
        Policy(50, min_replicas=1, schedules=(always(4), always(5), always(2))),
        5,
        DecisionReason.MIN_REPLICAS,
        ("asleep: ready 0 is not above activationReady 0", "raised to 5 by schedule always-5"),
    ),
    "workers above maxReplicas go, even when the depth is unknown": Case(
        doubtful(None, Doubt.NO_SWEEP),
        Workers(9),
        Policy(5),
        5,
        DecisionReason.MAX_REPLICAS,
        ("depth unknown (NoSweep): the number of workers is not lowered", "limited to 5 by maxReplicas"),
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_the_stage_changes_the_number_and_says_so(case: Case) -> None:
    decision = decide(case.reading, case.workers, case.policy, case.memory, at(0))
    assert (decision.desired, decision.why, decision.lines) == (case.desired, case.why, case.lines)


BLIND_FOR_TWO_MINUTES = settled(0, read_at=at(-120))


@pytest.mark.parametrize(
    ("behavior", "there", "desired"),
    [
        (FallbackBehavior.STATIC, 9, 6),
        (FallbackBehavior.STATIC, 2, 6),
        (FallbackBehavior.AT_LEAST, 9, 9),
        (FallbackBehavior.AT_LEAST, 0, 6),
        (FallbackBehavior.AT_MOST, 9, 6),
        (FallbackBehavior.AT_MOST, 2, 2),
        (FallbackBehavior.CURRENT, 9, 9),
    ],
)
def test_the_fallback_does_what_the_user_says(behavior: FallbackBehavior, there: int, desired: int) -> None:
    policy = Policy(20, fallback=Fallback(timedelta(seconds=120), 6, behavior))
    decision = decide(doubtful(None), Workers(there), policy, BLIND_FOR_TWO_MINUTES, at(0))
    assert (decision.desired, decision.why) == (desired, DecisionReason.FALLBACK)
    assert decision.explanation.startswith(f"not readable for more than 120 s: fallback {behavior}")


@pytest.mark.parametrize(
    ("reading", "blind"),
    [(doubtful(None), True), (doubtful(0, Doubt.NOT_RUNNING), True), (doubtful(0, Doubt.NO_SWEEP), False)],
)
def test_the_fallback_is_for_a_queue_of_which_nothing_is_known(reading: Reading, blind: bool) -> None:  # noqa: FBT001
    policy = Policy(20, fallback=Fallback(timedelta(seconds=120), 6, FallbackBehavior.AT_LEAST))
    assert decide(reading, Workers(0), policy, BLIND_FOR_TWO_MINUTES, at(0)).desired == (6 if blind else 0)


def test_the_fallback_waits_for_its_time_from_the_start_of_the_operator_too() -> None:
    policy = Policy(20, fallback=Fallback(timedelta(seconds=120), 6, FallbackBehavior.AT_LEAST))
    memory = decide(doubtful(None), Workers(0), policy, Memory(), at(0)).memory
    before, after = (decide(doubtful(None), Workers(0), policy, memory, at(then)).desired for then in (119, 120))
    assert (before, after) == (0, 6)


def test_the_fallback_ends_with_the_first_reading() -> None:
    policy = Policy(20, fallback=Fallback(timedelta(seconds=120), 6, FallbackBehavior.STATIC))
    memory = decide(doubtful(None), Workers(6), policy, BLIND_FOR_TWO_MINUTES, at(0)).memory
    read = decide(certain(300, now=1), Workers(6), policy, memory, at(1))
    assert (read.desired, read.why) == (15, DecisionReason.BACKLOG)
    assert decide(doubtful(None), Workers(15), policy, read.memory, at(100)).desired == 15


def test_every_reason_has_its_case() -> None:
    assert {case.why for case in CASES.values()} == set(DecisionReason) - {DecisionReason.FALLBACK}


def test_the_explanation_is_one_sentence() -> None:
    decision = decide(certain(5230), Workers(1), Policy(50, ready_per_replica=100), settled(0), at(0))
    assert decision.explanation == "ready 5,230 / 100 per replica = 53; limited to 50 by maxReplicas"


def test_a_recommendation_counts_until_its_window_has_passed() -> None:
    memory = settled(0, highs=(Recommendation(at(0), 7),))
    within, after = (decide(certain(20), Workers(9), Policy(20), memory, at(then)) for then in (59, 60))
    assert (within.desired, after.desired) == (7, 1)


@pytest.mark.parametrize("work", [certain(1), certain(0, unacked=1), doubtful(0)], ids=["ready", "unacked", "doubt"])
def test_work_that_is_seen_starts_the_idle_time_anew(work: Reading) -> None:
    memory = settled(0, busy=-600)
    memory = decide(work, Workers(1), AT_ONCE, memory, at(0)).memory
    assert decide(certain(0), Workers(1), AT_ONCE, memory, at(59)).desired == 1
    assert decide(certain(0), Workers(1), AT_ONCE, memory, at(60)).desired == 0
