"""Running tasks keep workers, and add some only for what waits behind them: simulations of a queue and its workers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise

import pytest
from typing_extensions import override

from taskqueue_operator.scaling.decide import decide
from taskqueue_operator.scaling.decision import Workers
from taskqueue_operator.scaling.demand import ceil_div
from taskqueue_operator.scaling.memory import Memory
from taskqueue_operator.scaling.policy import Policy
from taskqueue_operator.scaling.reading import Reading

from .builders import at, certain, settled

HOUR = range(3600)
START_SECONDS = 30
"""Time from a scale-out until the new workers consume."""
Formula = Callable[[int, int, int], int]
"""Function of ready, unacked and the current number of workers to the desired number."""


@dataclass
class Decider:
    """`decide` with its memory, once per second."""

    policy: Policy
    memory: Memory = field(default_factory=Memory)
    now: float = 0

    def __call__(self, ready: int, unacked: int, replicas: int) -> int:
        self.now += 1
        reading = self.read(ready, unacked)
        decision = decide(reading, Workers(replicas, replicas), self.policy, self.memory, at(self.now))
        self.memory = decision.memory
        return decision.desired

    def read(self, ready: int, unacked: int) -> Reading:
        return certain(ready, unacked, now=self.now)


class IgnoringRunningTasks(Decider):
    """`decide` with readings in which nothing is unacked."""

    @override
    def read(self, ready: int, unacked: int) -> Reading:
        del unacked
        return certain(ready, 0, now=self.now)


def steady_load(formula: Formula, tasks_per_second: int) -> list[int]:
    """Simulate an hour of tasks that take one second; return the number of workers at each second."""
    ready, numbers = 0, [tasks_per_second] * START_SECONDS
    for _ in HOUR:
        consuming = min(numbers[-START_SECONDS:])
        ready += tasks_per_second
        running = min(ready, consuming)
        ready -= running
        numbers.append(formula(ready, running, numbers[-1]))
    return numbers


def test_workers_that_just_keep_up_are_never_removed() -> None:
    assert set(steady_load(Decider(Policy(50)), tasks_per_second=18)) == {18}


def test_without_running_tasks_the_number_of_workers_would_oscillate() -> None:
    numbers = steady_load(IgnoringRunningTasks(Policy(50)), tasks_per_second=18)
    assert sum(before >= 12 > after for before, after in pairwise(numbers)) > 20
    assert sum(before < 25 <= after for before, after in pairwise(numbers)) > 20
    assert sum(running > consuming for running, consuming in pairwise(numbers)) > 400, (
        "workers are removed all the time"
    )


@pytest.mark.slow
def test_workers_are_removed_when_the_load_falls() -> None:
    """Running tasks keep workers only while they run."""
    decider = Decider(Policy(20))
    steady_load(decider, tasks_per_second=18)
    numbers = [18]
    for _ in HOUR:
        numbers.append(decider(0, 2, numbers[-1]))
    assert numbers[-1] == 2


def peak_workers(formula: Formula, *, messages: int, concurrency: int) -> int:
    """Simulate an hour of long tasks with prefetch of 8 times the concurrency; return the highest number of workers."""
    prefetch, ready, replicas, peak = 8 * concurrency, messages, 0, 0
    unacked = 0
    for _ in HOUR:
        unacked = min(messages, replicas * prefetch)
        ready = messages - unacked
        replicas = formula(ready, unacked, replicas)
        peak = max(peak, replicas)
    return peak


def test_prefetched_messages_never_cause_scale_out() -> None:
    for concurrency in (1, 4):
        policy = Policy(50, ready_per_replica=100, concurrency=concurrency)
        assert peak_workers(Decider(policy), messages=200, concurrency=concurrency) == 2


def test_if_running_tasks_added_workers_prefetched_messages_would_reach_the_maximum() -> None:
    for concurrency in (1, 4):

        def naive(ready: int, unacked: int, replicas: int, concurrency: int = concurrency) -> int:
            del replicas
            return min(max(ceil_div(ready, 100), ceil_div(unacked, concurrency)), 50)

        assert peak_workers(naive, messages=200, concurrency=concurrency) == 50


def test_prefetched_messages_keep_no_more_workers_than_can_run_them() -> None:
    """The prefetched messages of a worker do not keep other workers."""
    policy = Policy(50, ready_per_replica=100, concurrency=4, idle=timedelta(0))
    decider = Decider(policy)
    for _ in HOUR:
        decider(0, 12, 9)
    assert decider(0, 12, 9) == 3


@pytest.mark.parametrize(
    ("running", "ready", "desired"),
    [(1, 1, 2), (2, 2, 4), (1, 0, 1), (3, 9, 5)],
    ids=["one behind one", "two behind two", "nothing waits", "limited by maxReplicas"],
)
def test_what_waits_behind_running_tasks_gets_workers(running: int, ready: int, desired: int) -> None:
    policy = Policy(5, ready_per_replica=1)
    decision = decide(certain(ready, running), Workers(running, running), policy, settled(running), at(0))
    assert decision.desired == desired


def test_a_message_that_waits_behind_a_full_worker_adds_one_worker_not_one_for_each_running_task() -> None:
    policy = Policy(20, ready_per_replica=1, concurrency=4)
    assert decide(certain(1, 4), Workers(1, 1), policy, settled(1), at(0)).desired == 2


def test_long_tasks_with_ready_per_replica_1_get_a_worker_each_and_no_more() -> None:
    """Five tasks of half an hour that arrive one after the other: each new one finds all workers busy."""
    decider, messages, replicas, numbers = Decider(Policy(50, ready_per_replica=1)), 0, 0, []
    for second in range(600):
        messages += second % 100 == 0 and messages < 5
        running = min(messages, replicas)
        replicas = decider(messages - running, running, replicas)
        numbers.append(replicas)
    assert max(numbers) == 5
    assert [numbers[100 * n + 50] for n in range(5)] == [1, 2, 3, 4, 5]
    assert numbers == sorted(numbers), "no worker is removed while all of them run a task"
