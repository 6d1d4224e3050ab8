"""Why running tasks hold the number up and never raise it: small worlds of a queue and its workers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise

from typing_extensions import override

from taskqueue_operator.scaling.decide import decide
from taskqueue_operator.scaling.decision import Workers
from taskqueue_operator.scaling.demand import ceil_div
from taskqueue_operator.scaling.memory import Memory
from taskqueue_operator.scaling.policy import Policy
from taskqueue_operator.scaling.reading import Reading

from .builders import at, certain

HOUR = range(3600)
START_SECONDS = 30
"""From a larger number of replicas until the new workers consume."""
Formula = Callable[[int, int, int], int]
"""From ready, unacked and the present number of workers to another number of workers."""


@dataclass
class Operator:
    """Ours, deciding each second."""

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


class Unaware(Operator):
    """The same without the term of running tasks."""

    @override
    def read(self, ready: int, unacked: int) -> Reading:
        del unacked
        return certain(ready, 0, now=self.now)


def steady_load(decided: Formula, tasks_per_second: int) -> list[int]:
    """Tasks of one second each, and as many workers as it takes: how many there are at each second of an hour."""
    ready, numbers = 0, [tasks_per_second] * START_SECONDS
    for _ in HOUR:
        consuming = min(numbers[-START_SECONDS:])
        ready += tasks_per_second
        running = min(ready, consuming)
        ready -= running
        numbers.append(decided(ready, running, numbers[-1]))
    return numbers


def test_workers_that_just_keep_up_are_never_removed() -> None:
    assert set(steady_load(Operator(Policy(50)), tasks_per_second=18)) == {18}


def test_without_running_tasks_they_would_go_and_come_back_in_an_endless_sawtooth() -> None:
    numbers = steady_load(Unaware(Policy(50)), tasks_per_second=18)
    assert sum(before >= 12 > after for before, after in pairwise(numbers)) > 20
    assert sum(before < 25 <= after for before, after in pairwise(numbers)) > 20
    assert sum(running > consuming for running, consuming in pairwise(numbers)) > 400, (
        "workers are removed all the time"
    )


def test_workers_go_when_the_load_goes() -> None:
    """They are held up by what runs, not for good."""
    operator = Operator(Policy(20))
    steady_load(operator, tasks_per_second=18)
    numbers = [18]
    for _ in HOUR:
        numbers.append(operator(0, 2, numbers[-1]))
    assert numbers[-1] == 2


def hoarding(decided: Formula, *, messages: int, concurrency: int) -> int:
    """Long tasks, and workers that fetch eight times as many as they run: the most workers there ever are."""
    prefetch, ready, replicas, most = 8 * concurrency, messages, 0, 0
    unacked = 0
    for _ in HOUR:
        unacked = min(messages, replicas * prefetch)
        ready = messages - unacked
        replicas = decided(ready, unacked, replicas)
        most = max(most, replicas)
    return most


def test_a_hoard_never_asks_for_more_workers() -> None:
    for concurrency in (1, 4):
        policy = Policy(50, ready_per_replica=100, concurrency=concurrency)
        assert hoarding(Operator(policy), messages=200, concurrency=concurrency) == 2


def test_with_a_term_that_raises_a_hoard_would_double_itself_up_to_the_maximum() -> None:
    for concurrency in (1, 4):

        def naive(ready: int, unacked: int, replicas: int, concurrency: int = concurrency) -> int:
            del replicas
            return min(max(ceil_div(ready, 100), ceil_div(unacked, concurrency)), 50)

        assert hoarding(naive, messages=200, concurrency=concurrency) == 50


def test_a_hoard_holds_no_more_workers_than_can_run_it() -> None:
    """What one worker hoards does not keep the others."""
    policy = Policy(50, ready_per_replica=100, concurrency=4, idle=timedelta(0))
    operator = Operator(policy)
    for _ in HOUR:
        operator(0, 12, 9)
    assert operator(0, 12, 9) == 3
