"""Properties of every decision in long simulations, compared with a reference that keeps all steps.

40,000 decisions in each run, a million with TASKQUEUE_DEEP=1; the test counts them.
"""

import os
from collections import Counter
from dataclasses import replace
from typing import Final

import pytest
from hypothesis import Phase as Stage
from hypothesis import given, note, settings

from taskqueue_operator.resource.scaling import Mode
from taskqueue_operator.scaling.decision import DecisionReason
from taskqueue_operator.scaling.recording import Recording, from_json, to_json

from .reference_history import INFINITE, History, demand, minimum, obstacle_limit
from .sim import MAX_REPLICAS, STEPS, Phase, Scenario, more_ready, simulate

pytestmark = pytest.mark.slow

DECISIONS: Final = 1_000_000 if os.environ.get("TASKQUEUE_DEEP") else 40_000
PHASES: Final = 4
SCENARIOS: Final = {
    "everything": Scenario(),
    "a queue that is always readable": Scenario(doubted=(0,), restarts=(0,), by_hand=(0,), obstructed=(0,)),
    "a queue that is rarely readable": Scenario(doubted=(0.3, 0.9, 1)),
    "workers that rarely start": Scenario(lost=(0.1, 0.9), obstructed=(0, 0.5, 1), by_hand=(0, 0.1)),
    "policies that change": Scenario(policies=4, restarts=(0, 0.05)),
}


@pytest.mark.timeout(3000)
@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS.keys())
def test_every_decision_of_a_long_simulation_has_the_properties(scenario: Scenario) -> None:
    examples = DECISIONS // len(SCENARIOS) // (PHASES * STEPS)
    seen: Counter[DecisionReason] = Counter()

    @settings(max_examples=examples, phases=(Stage.explicit, Stage.reuse, Stage.generate))
    @given(Scenario.simulations(scenario))
    def run(simulation: tuple[int, list[Phase]]) -> None:
        history, steps = History(), []
        for step in simulate(*simulation):
            if step.memory.began is None:
                history = History()
            history.add(step)
            try:
                check(step, history)
            except AssertionError:
                note(f"This decision has not the expected properties: {to_json([step]).decode()}")
                raise
            seen[step.decision.reason] += 1
            steps.append(step)
        assert_replays(steps)

    run()
    print(f"{seen.total():,} decisions: {dict(seen)}")
    assert seen.total() >= DECISIONS // len(SCENARIOS)
    if scenario == Scenario():
        assert len(seen) > len(DecisionReason) - 4, "nearly every reason occurs"


def check(step: Recording, history: History) -> None:
    assert step.decision.explanation_lines
    assert_memory_is_bounded(step)
    if step.policy.mode is Mode.PAUSED:
        assert_paused(step)
        return
    assert_bounds(step)
    if history.falls_back():
        assert_falls_back(step, history)
        return
    assert_invariant_2(step)
    assert_scale_out_is_limited(step, history)
    assert_scale_in_is_limited(step, history)
    assert_zero_is_certain(step, history)
    assert_number_is_exact(step, history)
    assert_monotone(step)
    assert_running_tasks_add_no_worker_alone(step)
    assert_a_delivery_adds_no_worker(step)
    assert_fixed_point(step)


def assert_paused(step: Recording) -> None:
    paused = step.policy.paused_replicas
    assert step.decision.desired == (step.workers.replicas if paused is None else paused)


def assert_bounds(step: Recording) -> None:
    """Invariant 3."""
    assert minimum(step.policy, step.at) <= step.decision.desired <= step.policy.max_replicas


def assert_falls_back(step: Recording, history: History) -> None:
    least, most = minimum(step.policy, step.at), step.policy.max_replicas
    assert step.decision.desired == min(max(history.fallback(), least), most)


def assert_invariant_2(step: Recording) -> None:
    """Unknown is not zero."""
    if step.reading.at_most is None:
        assert step.decision.desired >= min(step.workers.replicas, step.policy.max_replicas)
    if step.reading.at_least is None:
        assert step.decision.desired <= max(step.workers.replicas, minimum(step.policy, step.at))


def assert_scale_out_is_limited(step: Recording, history: History) -> None:
    """Scale-out exceeds neither the window, nor the rates, nor the limit of an obstacle."""
    desired, replicas = step.decision.desired, step.workers.replicas
    if desired <= max(replicas, minimum(step.policy, step.at)):
        return
    assert desired <= history.upper_rate_limit()
    if replicas > 0:
        assert desired <= history.lowest()
    if step.workers.obstacle is not None:
        assert desired <= obstacle_limit(step)


def assert_scale_in_is_limited(step: Recording, history: History) -> None:
    """Scale-in goes below neither the window nor the rates; replicas above `maxReplicas` are removed at once."""
    desired, replicas = step.decision.desired, step.workers.replicas
    if desired < min(replicas, step.policy.max_replicas):
        assert desired >= history.lower_rate_limit()
        assert desired >= min(history.highest(), replicas)


def assert_zero_is_certain(step: Recording, history: History) -> None:
    if step.workers.replicas > 0 and step.decision.desired == 0:
        assert history.idle_for(step.policy.idle)


def assert_number_is_exact(step: Recording, history: History) -> None:
    """The number is the demand, changed only by the limits that apply."""
    replicas, recommended, policy = step.workers.replicas, demand(step), step.policy
    if recommended >= replicas:
        limits = [history.upper_rate_limit(), INFINITE if replicas == 0 else max(history.lowest(), replicas)]
        limits += [] if step.workers.obstacle is None else [obstacle_limit(step)]
        expected = min(recommended, *limits) if recommended > replicas else replicas
    else:
        expected = min(max(recommended, history.highest()), replicas)
        expected = expected or (0 if history.idle_for(policy.idle) else 1)
        expected = max(expected, history.lower_rate_limit())
    assert step.decision.desired == min(max(expected, minimum(policy, step.at)), policy.max_replicas)


def assert_monotone(step: Recording) -> None:
    """More ready messages never mean fewer workers."""
    for more in (1, 10 * step.policy.ready_per_replica):
        again = replace(step, reading=more_ready(step.reading, more)).replay()
        assert again.desired >= step.decision.desired


def assert_running_tasks_add_no_worker_alone(step: Recording) -> None:
    """Without a ready message, no unacked one adds a worker."""
    reading = replace(step.reading, at_least=0)
    assert replace(step, reading=reading).replay().desired <= max(step.workers.replicas, minimum(step.policy, step.at))


def assert_a_delivery_adds_no_worker(step: Recording) -> None:
    """When workers take messages, the number never rises: what they hold cannot add workers that hold more."""
    reading = step.reading
    if reading.at_least is None or reading.at_most is None:
        return
    for taken in {1, reading.at_least // 2, reading.at_least} - {0}:
        if taken <= reading.at_least:
            later = replace(
                reading,
                at_least=reading.at_least - taken,
                at_most=reading.at_most - taken,
                unacked=(reading.unacked or 0) + taken,
                held_at_least=(reading.held_at_least or 0) + taken,
            )
            before = max(step.decision.desired, step.workers.replicas)
            assert replace(step, reading=later).replay().desired <= before


def assert_fixed_point(step: Recording) -> None:
    """Once applied, a decision is stable at the same time.

    Except for a minimum that scales from zero, which is independent of the queue, and for a new memory.
    """
    replicas, desired = step.workers.replicas, step.decision.desired
    if (replicas == 0 and desired == minimum(step.policy, step.at)) or step.memory.began is None:
        return
    workers = replace(step.workers, replicas=desired, ready=min(step.workers.ready, desired))
    assert replace(step, workers=workers, memory=step.decision.memory).replay().desired == desired


def assert_memory_is_bounded(step: Recording) -> None:
    memory, policy = step.decision.memory, step.policy
    for kept, window in ((memory.highs, policy.scale_down.window), (memory.lows, policy.scale_up.window)):
        assert len({past.replicas for past in kept}) == len(kept) <= MAX_REPLICAS + 1
        assert all(step.at - past.at <= window for past in kept)
    assert all(step.at - change.at < policy.longest_period for change in memory.changes[:-1])


def assert_replays(steps: list[Recording]) -> None:
    """Invariant 6, after a conversion to JSON and back."""
    parsed = from_json(to_json(steps))
    assert list(parsed) == steps
    for recording in parsed:
        assert recording.replay() == recording.decision
