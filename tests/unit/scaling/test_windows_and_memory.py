"""Properties of any sequence of readings: windows, idle time, memory, replay."""

from dataclasses import dataclass
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue_operator.scaling.decide import decide
from taskqueue_operator.scaling.decision import Decision, DecisionReason, Workers
from taskqueue_operator.scaling.memory import Memory, Recommendation, is_idle
from taskqueue_operator.scaling.policy import Policy, Rules
from taskqueue_operator.scaling.reading import Doubt, Reading

from .builders import at, certain, doubtful, settled

POLICY = Policy(
    12, ready_per_replica=10, scale_down=Rules(window=timedelta(seconds=10)), idle=timedelta(seconds=25), concurrency=2
)
NO_WINDOW = Policy(20, scale_down=Rules(window=timedelta(0)))


@dataclass(frozen=True)
class Tick:
    """A reading, and the seconds since the previous one."""

    after: float
    ready: int
    unacked: int
    known: bool

    def reading(self, now: float) -> Reading:
        if self.known:
            return certain(self.ready, self.unacked, now=now)
        return Reading(at(now), None, None, None, Doubt.NO_SWEEP)


@dataclass(frozen=True)
class Step:
    """A decision, its time, and the number of workers before it."""

    now: float
    reading: Reading
    before: int
    decision: Decision


ticks = st.builds(
    Tick,
    st.sampled_from([0.25, 1, 5, 9, 21]),
    st.sampled_from([0, 0, 0, 1, 15, 60, 300]),
    st.sampled_from([0, 0, 0, 3, 40]),
    st.sampled_from([True, True, True, False]),
)
histories = st.lists(ticks, min_size=1, max_size=30)


def play(history: list[Tick], replicas: int = 0, policy: Policy = POLICY) -> list[Step]:
    """Decide on each reading; workers start and stop immediately."""
    steps: list[Step] = []
    memory, now = Memory(), 0.0
    for tick in history:
        now += tick.after
        reading = tick.reading(now)
        decision = decide(reading, Workers(replicas, replicas), policy, memory, at(now))
        steps.append(Step(now, reading, replicas, decision))
        memory, replicas = decision.memory, decision.desired
    return steps


def recommendation(step: Step) -> int:
    """The recommendation at a step, calculated independently; if the reading is unknown, the current number."""
    if step.reading.at_most is None:
        return step.before
    running = min(step.reading.unacked or 0, POLICY.concurrency * step.before)
    outstanding = step.reading.at_most + running  # readyPerReplica is greater than the concurrency
    return max(-(-outstanding // POLICY.ready_per_replica), -(-running // POLICY.concurrency))


@given(histories, st.integers(0, 12))
def test_scale_in_never_goes_below_the_window(history: list[Tick], replicas: int) -> None:
    """Compared with a reference that keeps all steps: the memory drops only irrelevant recommendations."""
    steps = play(history, replicas)
    for n, step in enumerate(steps):
        recent = [past for past in steps[: n + 1] if step.now - past.now < POLICY.scale_down.window.total_seconds()]
        known = [
            max(recommendation(past), past.before) if past is steps[0] else recommendation(past) for past in recent
        ]
        assert step.decision.desired >= min(step.before, max(known), POLICY.max_replicas)
        if step.decision.desired > 1:
            assert step.decision.desired <= max(*known, step.before if recommendation(step) >= step.before else 0)


@given(histories, st.integers(1, 12))
def test_zero_is_reached_only_after_the_idle_time_without_doubt(history: list[Tick], replicas: int) -> None:
    steps = play(history, replicas)
    for n, step in enumerate(steps):
        if step.before > 0 and step.decision.desired == 0:
            idle_from = step.now - POLICY.idle.total_seconds()
            assert steps[0].now <= idle_from
            assert all(is_idle(past.reading) for past in steps[: n + 1] if past.now > idle_from)


@given(histories)
def test_the_first_decision_after_a_start_does_not_scale_in(history: list[Tick]) -> None:
    assert play(history[:1], replicas=9)[0].decision.desired >= 9


@given(histories, st.integers(0, 12))
def test_invariant_6_the_same_inputs_give_the_same_decisions(history: list[Tick], replicas: int) -> None:
    assert play(history, replicas) == play(history, replicas)


@given(histories, st.integers(0, 12))
def test_the_memory_keeps_only_relevant_recommendations(history: list[Tick], replicas: int) -> None:
    for step in play(history, replicas):
        kept = step.decision.memory.highs
        numbers = [past.replicas for past in kept]
        assert numbers == sorted(set(numbers), reverse=True)
        assert all(at(step.now) - past.at <= POLICY.scale_down.window for past in kept)


@pytest.mark.slow
def test_the_memory_stays_small_over_an_hour() -> None:
    history = [Tick(1, n * 37 % 120, 0, known=True) for n in range(3600)]
    assert max(len(step.decision.memory.highs) for step in play(history)) <= POLICY.max_replicas + 1


@pytest.mark.slow
def test_the_memory_stays_small_while_a_backlog_far_beyond_the_maximum_shrinks() -> None:
    policy = Policy(12, ready_per_replica=1, scale_down=Rules(window=timedelta(hours=1)))
    history = [Tick(1, 100_000 - 10 * n, 0, known=True) for n in range(3600)]
    assert max(len(step.decision.memory.highs) for step in play(history, policy=policy)) <= policy.max_replicas


def test_workers_that_just_keep_up_are_kept() -> None:
    """Every message is delivered at once, so none is ready: without running tasks all workers would be removed."""
    busy = [Tick(1, 0, 24, known=True)] * 600
    assert {step.decision.desired for step in play(busy, replicas=12)} == {12}
    idle = [Tick(1, 0, 0, known=True)] * 600
    assert min(step.decision.desired for step in play(idle, replicas=12)) == 0


def test_prefetched_messages_do_not_cause_scale_out() -> None:
    """With prefetch 8 and concurrency 1, each additional worker holds 8 more messages."""
    policy = Policy(1000, ready_per_replica=10)
    replicas, memory = 4, Memory()
    for now in range(120):
        reading = certain(0, unacked=8 * replicas, now=now)
        decision = decide(reading, Workers(replicas, replicas), policy, memory, at(now))
        replicas, memory = decision.desired, decision.memory
    assert replicas == 4


@pytest.mark.parametrize(("ready", "replicas"), [(0, 0), (5, 1), (95, 10), (5000, 12)])
def test_a_steady_queue_leads_to_a_steady_number(ready: int, replicas: int) -> None:
    steady = [Tick(1, ready, 0, known=True)] * 60
    assert [step.decision.desired for step in play(steady, replicas=6)][-20:] == [replicas] * 20


def test_scaling_from_zero_ignores_the_window() -> None:
    at_zero, from_zero = play([Tick(1, 0, 0, known=True), Tick(1, 45, 0, known=True)])
    assert (at_zero.decision.desired, from_zero.decision.desired, from_zero.decision.reason) == (
        0,
        5,
        DecisionReason.BACKLOG,
    )


def test_a_recommendation_expires_with_its_window() -> None:
    memory = settled(0, highs=(Recommendation(at(0), 7),))
    within, after = (decide(certain(20), Workers(9), Policy(20), memory, at(then)) for then in (59, 60))
    assert (within.desired, after.desired) == (7, 1)


@pytest.mark.parametrize("work", [certain(1), certain(0, unacked=1), doubtful(0)], ids=["ready", "unacked", "doubt"])
def test_work_restarts_the_idle_time(work: Reading) -> None:
    memory = settled(0, busy=-600)
    memory = decide(work, Workers(1), NO_WINDOW, memory, at(0)).memory
    assert decide(certain(0), Workers(1), NO_WINDOW, memory, at(59)).desired == 1
    assert decide(certain(0), Workers(1), NO_WINDOW, memory, at(60)).desired == 0
