"""What holds at every step of long games, compared with a reference that remembers everything.

100,000 decisions in each run, a million with TASKQUEUE_DEEP=1; how many there were is counted, not assumed.
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

from .reference_history import INFINITE, History, minimum, most_despite_obstacle, wanted
from .sim import MOST, STEPS, Phase, World, more_ready, play

pytestmark = pytest.mark.slow

LONG: Final = 1_000_000 if os.environ.get("TASKQUEUE_DEEP") else 100_000
PHASES: Final = 4
WORLDS: Final = {
    "anything": World(),
    "a queue that can always be read": World(doubted=(0,), restarts=(0,), by_hand=(0,), obstructed=(0,)),
    "a queue that can hardly be read": World(doubted=(0.3, 0.9, 1)),
    "workers that hardly come": World(lost=(0.1, 0.9), obstructed=(0, 0.5, 1), by_hand=(0, 0.1)),
    "rules that change": World(policies=4, restarts=(0, 0.05)),
}


@pytest.mark.timeout(3000)
@pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS.keys())
def test_every_decision_of_a_long_game_keeps_its_promises(world: World) -> None:
    games = LONG // len(WORLDS) // (PHASES * STEPS)
    seen: Counter[DecisionReason] = Counter()

    @settings(max_examples=games, phases=(Stage.explicit, Stage.reuse, Stage.generate))
    @given(World.games(world))
    def plays(game: tuple[int, list[Phase]]) -> None:
        history, made = History(), []
        for step in play(*game):
            if step.memory.began is None:
                history = History()
            history.see(step)
            try:
                judge(step, history)
            except AssertionError:
                note(f"This decision breaks a promise: {to_json([step]).decode()}")
                raise
            seen[step.decision.reason] += 1
            made.append(step)
        assert_replays(made)

    plays()
    print(f"{seen.total():,} decisions: {dict(seen)}")
    assert seen.total() >= LONG // len(WORLDS)
    if world == World():
        assert len(seen) > len(DecisionReason) - 4, "nearly every stage has had its say"


def judge(step: Recording, history: History) -> None:
    assert step.decision.explanation_lines
    assert_memory_is_bounded(step)
    if step.policy.mode is Mode.PAUSED:
        assert_paused(step)
        return
    assert_bounds(step)
    if history.falls_back():
        assert_falls_back(step, history)
        return
    assert_unknown_lowers_nothing(step)
    assert_rises_slowly(step, history)
    assert_falls_slowly(step, history)
    assert_zero_is_certain(step, history)
    assert_follows(step, history)
    assert_monotone(step)
    assert_unacked_raises_nothing(step)
    assert_fixed_point(step)


def assert_paused(step: Recording) -> None:
    asked = step.policy.paused_replicas
    assert step.decision.desired == (step.workers.replicas if asked is None else asked)


def assert_bounds(step: Recording) -> None:
    """Invariant 3."""
    assert minimum(step.policy, step.at) <= step.decision.desired <= step.policy.max_replicas


def assert_falls_back(step: Recording, history: History) -> None:
    least, most = minimum(step.policy, step.at), step.policy.max_replicas
    assert step.decision.desired == min(max(history.fallback(), least), most)


def assert_unknown_lowers_nothing(step: Recording) -> None:
    """Invariant 2."""
    if step.reading.at_most is None:
        assert step.decision.desired >= min(step.workers.replicas, step.policy.max_replicas)
    if step.reading.at_least is None:
        assert step.decision.desired <= max(step.workers.replicas, minimum(step.policy, step.at))


def assert_rises_slowly(step: Recording, history: History) -> None:
    """No more than the window, the rates and what keeps workers from starting let."""
    desired, there = step.decision.desired, step.workers.replicas
    if desired <= max(there, minimum(step.policy, step.at)):
        return
    assert desired <= history.most()
    if there > 0:
        assert desired <= history.lowest()
    if step.workers.obstacle is not None:
        assert desired <= most_despite_obstacle(step)


def assert_falls_slowly(step: Recording, history: History) -> None:
    """No further than the window and the rates let; what is above `maxReplicas` goes at once."""
    desired, there = step.decision.desired, step.workers.replicas
    if desired < min(there, step.policy.max_replicas):
        assert desired >= history.least()
        assert desired >= min(history.highest(), there)


def assert_zero_is_certain(step: Recording, history: History) -> None:
    if step.workers.replicas > 0 and step.decision.desired == 0:
        assert history.quiet_for(step.policy.idle)


def assert_follows(step: Recording, history: History) -> None:
    """Being careful is no excuse: without anything to wait for, the number is what is wanted."""
    there, calls, policy = step.workers.replicas, wanted(step), step.policy
    if calls >= there:
        most = [history.most(), INFINITE if there == 0 else max(history.lowest(), there)]
        most += [] if step.workers.obstacle is None else [most_despite_obstacle(step)]
        expected = min(calls, *most) if calls > there else there
    else:
        expected = min(max(calls, history.highest()), there)
        expected = expected or (0 if history.quiet_for(policy.idle) else 1)
        expected = max(expected, history.least())
    assert step.decision.desired == min(max(expected, minimum(policy, step.at)), policy.max_replicas)


def assert_monotone(step: Recording) -> None:
    """More ready messages never mean fewer workers."""
    for more in (1, 10 * step.policy.ready_per_replica):
        again = replace(step, reading=more_ready(step.reading, more)).replay()
        assert again.desired >= step.decision.desired


def assert_unacked_raises_nothing(step: Recording) -> None:
    without = replace(step, reading=replace(step.reading, unacked=0)).replay().desired
    assert step.decision.desired <= max(without, step.workers.replicas, minimum(step.policy, step.at))


def assert_fixed_point(step: Recording) -> None:
    """Carried out, a decision is not followed by another one at the same time.

    A minimum that wakes from zero is no decision about the queue, and a fresh memory lowers nothing only once.
    """
    there, desired = step.workers.replicas, step.decision.desired
    if (there == 0 and desired == minimum(step.policy, step.at)) or step.memory.began is None:
        return
    workers = replace(step.workers, replicas=desired, ready=desired)
    assert replace(step, workers=workers, memory=step.decision.memory).replay().desired == desired


def assert_memory_is_bounded(step: Recording) -> None:
    memory, policy = step.decision.memory, step.policy
    for kept, window in ((memory.highs, policy.scale_down.window), (memory.lows, policy.scale_up.window)):
        assert len({each.replicas for each in kept}) == len(kept) <= MOST + 1
        assert all(step.at - each.at <= window for each in kept)
    assert all(step.at - each.at < policy.longest_period for each in memory.changes[:-1])


def assert_replays(made: list[Recording]) -> None:
    """Invariant 6, by way of JSON."""
    again = from_json(to_json(made))
    assert list(again) == made
    for recording in again:
        assert recording.replay() == recording.decision
