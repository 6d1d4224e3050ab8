"""Each stage of a decision: the number, the reason and the lines that explain it."""

from dataclasses import dataclass
from datetime import timedelta

import pytest

from taskqueue_operator.resource.scaling import Mode
from taskqueue_operator.scaling.decide import Why, Workers, decide
from taskqueue_operator.scaling.memory import Memory, Recommendation
from taskqueue_operator.scaling.policy import Policy
from taskqueue_operator.scaling.reading import Doubt, Reading

from .given import at, certain, doubtful, settled

NOTHING_WANTED = settled(0)
AT_ONCE = Policy(20, scale_down_window=timedelta(0))


@dataclass(frozen=True)
class Case:
    reading: Reading
    workers: Workers
    policy: Policy
    desired: int
    why: Why
    lines: tuple[str, ...]
    memory: Memory = NOTHING_WANTED


CASES = {
    "paused freezes": Case(
        certain(5000),
        Workers(3),
        Policy(20, mode=Mode.PAUSED),
        3,
        Why.PAUSED,
        ("paused: the number of workers stays",),
    ),
    "paused goes where it is told, beyond the bounds": Case(
        certain(0),
        Workers(3),
        Policy(20, min_replicas=2, mode=Mode.PAUSED, paused_replicas=30),
        30,
        Why.PAUSED,
        ("paused at 30",),
    ),
    "a backlog calls for workers": Case(
        certain(101), Workers(0), Policy(20), 6, Why.BACKLOG, ("ready 101 / 20 per replica = 6",)
    ),
    "maxReplicas limits": Case(
        certain(5230),
        Workers(1),
        Policy(50, ready_per_replica=100),
        50,
        Why.MAX_REPLICAS,
        ("ready 5,230 / 100 per replica = 53", "limited to 50 by maxReplicas"),
    ),
    "minReplicas raises": Case(
        certain(0),
        Workers(0),
        Policy(50, min_replicas=2),
        2,
        Why.MIN_REPLICAS,
        ("asleep: ready 0 is not above activationReady 0", "raised to 2 by minReplicas"),
    ),
    "activationReady lets it sleep": Case(
        certain(10),
        Workers(0),
        Policy(50, activation_ready=10),
        0,
        Why.IDLE,
        ("asleep: ready 10 is not above activationReady 10",),
    ),
    "a wake is decided, and explained, by what is there for certain": Case(
        Reading(at(0), 0, 70, 0),
        Workers(0),
        Policy(50, activation_ready=10),
        0,
        Why.IDLE,
        ("asleep: ready 0 is not above activationReady 10",),
    ),
    "more than activationReady wakes": Case(
        certain(11),
        Workers(0),
        Policy(50, activation_ready=10),
        1,
        Why.BACKLOG,
        ("ready 11 / 20 per replica = 1",),
    ),
    "a doubt does not keep from waking": Case(
        doubtful(100), Workers(0), Policy(50), 5, Why.BACKLOG, ("ready 100 / 20 per replica = 5",)
    ),
    "an unknown depth keeps the workers": Case(
        doubtful(0),
        Workers(9),
        AT_ONCE,
        9,
        Why.UNKNOWN,
        ("depth unknown (Absent): the number of workers is not lowered",),
    ),
    "no reading at all keeps the workers": Case(
        doubtful(None, Doubt.NO_PROBE),
        Workers(9),
        AT_ONCE,
        9,
        Why.UNKNOWN,
        ("depth unknown (NoProbe): the number of workers is not lowered",),
    ),
    "what may be there keeps the workers, but raises nothing": Case(
        Reading(at(0), 20, 500, 0),
        Workers(4, 4),
        AT_ONCE,
        4,
        Why.BACKLOG,
        ("at most ready 500 / 20 per replica = 25: none of 4 is superfluous",),
    ),
    "running tasks keep their workers": Case(
        certain(20, unacked=30),
        Workers(18, 18),
        Policy(20, concurrency=2, scale_down_window=timedelta(0)),
        15,
        Why.RUNNING_TASKS,
        ("ready 20 / 20 per replica = 1", "30 unacked / 2 at once keep 15"),
    ),
    "no more running tasks are believed than workers consume": Case(
        certain(20, unacked=300),
        Workers(18, 4),
        AT_ONCE,
        4,
        Why.RUNNING_TASKS,
        ("ready 20 / 20 per replica = 1", "300 unacked / 1 at once keep 4"),
    ),
    "the highest of the window holds": Case(
        certain(20),
        Workers(9),
        Policy(20),
        7,
        Why.STABILIZING,
        ("ready 20 / 20 per replica = 1", "held at 7, the highest wanted within 60 s"),
        settled(7),
    ),
    "a new memory holds what is there": Case(
        certain(20),
        Workers(9),
        AT_ONCE,
        9,
        Why.STABILIZING,
        ("ready 20 / 20 per replica = 1", "held at 9, the highest wanted within 0 s"),
        Memory(),
    ),
    "the last worker stays for a while": Case(
        certain(0),
        Workers(9),
        AT_ONCE,
        1,
        Why.IDLE_GRACE,
        ("ready 0 / 20 per replica = 0", "the last worker stays until 60 s without work"),
        settled(0, busy=-59),
    ),
    "with nothing to do for long the last worker goes": Case(
        certain(0),
        Workers(1),
        AT_ONCE,
        0,
        Why.IDLE,
        ("ready 0 / 20 per replica = 0", "nothing to do for 60 s"),
        settled(0, busy=-60),
    ),
    "a task that nobody seems to run keeps the last worker": Case(
        certain(0, unacked=1),
        Workers(1, 0),
        AT_ONCE,
        1,
        Why.IDLE_GRACE,
        ("ready 0 / 20 per replica = 0", "the last worker stays until 60 s without work"),
        settled(0, busy=-600),
    ),
    "workers above maxReplicas go, even when the depth is unknown": Case(
        doubtful(None, Doubt.NO_SWEEP),
        Workers(9),
        Policy(5),
        5,
        Why.MAX_REPLICAS,
        ("depth unknown (NoSweep): the number of workers is not lowered", "limited to 5 by maxReplicas"),
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_the_stage_changes_the_number_and_says_so(case: Case) -> None:
    decision = decide(case.reading, case.workers, case.policy, case.memory, at(0))
    assert (decision.desired, decision.why, decision.lines) == (case.desired, case.why, case.lines)


def test_every_reason_has_its_case() -> None:
    assert {case.why for case in CASES.values()} == set(Why)


def test_the_explanation_is_one_sentence() -> None:
    decision = decide(certain(5230), Workers(1), Policy(50, ready_per_replica=100), settled(0), at(0))
    assert decision.explanation == "ready 5,230 / 100 per replica = 53; limited to 50 by maxReplicas"


def test_a_recommendation_counts_until_its_window_has_passed() -> None:
    memory = Memory((Recommendation(at(0), 7),), at(0))
    within, after = (decide(certain(20), Workers(9), Policy(20), memory, at(then)) for then in (60, 61))
    assert (within.desired, after.desired) == (7, 1)


@pytest.mark.parametrize("work", [certain(1), certain(0, unacked=1), doubtful(0)], ids=["ready", "unacked", "doubt"])
def test_work_that_is_seen_starts_the_idle_time_anew(work: Reading) -> None:
    memory = settled(0, busy=-600)
    memory = decide(work, Workers(1), AT_ONCE, memory, at(0)).memory
    assert decide(certain(0), Workers(1), AT_ONCE, memory, at(59)).desired == 1
    assert decide(certain(0), Workers(1), AT_ONCE, memory, at(60)).desired == 0
