"""The turns to write: their rate, and their order."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue_operator.control.clock import now
from taskqueue_operator.control.status.deadlines import Deadlines
from taskqueue_operator.control.status.waiting_writes import FIGURES_TURN, Urgency, WaitingWrites
from taskqueue_operator.control.status.write_budget import WriteBudget
from taskqueue_operator.resource.names import Key

NOW = datetime(2026, 1, 1, tzinfo=UTC)
READINESS, CONDITIONS, AGAIN, FIGURES = Urgency
KEYS = st.builds(Key, st.sampled_from("abc"), st.sampled_from("01234"))


def keys(namespace: str, number: int) -> list[Key]:
    return [Key(namespace, f"queue-{index}") for index in range(number)]


def waiting(*namespaces: tuple[str, int, Urgency]) -> WaitingWrites:
    line = WaitingWrites()
    for namespace, number, urgency in namespaces:
        for key in keys(namespace, number):
            line.add(key, urgency)
    return line


def drain(line: WaitingWrites, at_most: int = 1000) -> list[Key]:
    return [key for key in (line.pop() for _ in range(at_most)) if key is not None]


@pytest.mark.parametrize("urgency", Urgency)
def test_each_namespace_has_an_equal_share(urgency: Urgency) -> None:
    line = waiting(("many", 900, urgency), ("few", 3, urgency), ("one", 1, urgency))
    first = Counter(key.namespace for key in drain(line, 7))
    assert first == {"many": 3, "few": 3, "one": 1}


def test_a_namespace_that_flaps_gets_no_more_than_its_share() -> None:
    line = waiting(("flapping", 900, READINESS), ("quiet", 10, CONDITIONS))
    written = []
    for _ in range(20):
        key = line.pop()
        assert key is not None
        written.append(key.namespace)
        if key.namespace == "flapping":
            line.add(key, READINESS)
    assert written.count("quiet") == 10


def test_readiness_comes_first_within_a_namespace_and_events_last() -> None:
    line = WaitingWrites()
    order = [AGAIN, CONDITIONS, READINESS, CONDITIONS, READINESS]
    for key, urgency in zip(keys("media", 5), order, strict=True):
        line.add(key, urgency)
    assert [int(key.name[-1]) for key in drain(line)] == [2, 4, 1, 3, 0]


def test_conditions_delay_figures_and_never_keep_them_out() -> None:
    line = waiting(("a", 100, CONDITIONS), ("b", 100, FIGURES))
    first = [key.namespace for key in drain(line, 4 * FIGURES_TURN)]
    assert first.count("b") == 4
    assert [key.namespace for key in drain(line)].count("b") == 96


def test_a_change_of_urgency_moves_a_key() -> None:
    line = waiting(("a", 3, CONDITIONS), ("a", 1, FIGURES))
    assert len(drain(line)) == 3
    line = waiting(("a", 3, CONDITIONS))
    line.add(Key("a", "queue-2"), READINESS)
    assert line.pop() == Key("a", "queue-2")


@given(st.lists(st.tuples(KEYS, st.sampled_from([*Urgency, None]))))
def test_each_key_that_waits_comes_once(changes: list[tuple[Key, Urgency | None]]) -> None:
    line, expected = WaitingWrites(), set[Key]()
    for key, urgency in changes:
        if urgency is None:
            line.discard(key)
            expected.discard(key)
        else:
            line.add(key, urgency)
            expected.add(key)
        assert (key in line) == (key in expected)
        assert bool(line) == bool(expected)
    came = drain(line)
    assert len(came) == len(expected)
    assert set(came) == expected
    assert not line


@pytest.mark.looptime
async def test_turns_never_exceed_the_rate_and_unused_ones_are_not_saved_up() -> None:
    turns: list[float] = []
    budget = WriteBudget(lambda _: turns.append(now()), per_second=20)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(budget.run())
        await asyncio.sleep(3600)
        began, first, *others = now(), *keys("media", 41)
        assert budget.take(first, CONDITIONS)
        for key in others:
            assert not budget.take(key, CONDITIONS)
        await asyncio.sleep(60)
        assert turns == pytest.approx([began + number / 20 for number in range(1, 41)])
        assert all(budget.take(key, CONDITIONS) for key in others), "the turns are theirs"
        running.cancel()


@pytest.mark.looptime
async def test_a_turn_that_is_withdrawn_is_nobodys() -> None:
    turns: list[Key] = []
    budget = WriteBudget(turns.append, per_second=1)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(budget.run())
        taken, withdrawn, other = keys("media", 3)
        assert budget.take(taken, CONDITIONS)
        assert not budget.take(withdrawn, CONDITIONS)
        assert not budget.take(other, CONDITIONS)
        budget.withdraw(withdrawn)
        await asyncio.sleep(10)
        assert turns == [other]
        budget.withdraw(other)
        assert other not in budget
        assert budget.take(taken, FIGURES)
        running.cancel()


@pytest.mark.parametrize(("asked", "left"), [((), None), ((-1, 0), None), ((5,), 5.0), ((9, -1, 4), 4.0)])
def test_deadlines_remember_the_earliest_time_that_has_not_passed(asked: tuple[int, ...], left: float | None) -> None:
    deadlines = Deadlines(NOW)
    for seconds in asked:
        assert deadlines.has_passed(NOW + timedelta(seconds=seconds)) is (seconds <= 0)
    assert deadlines.seconds_left == (left and pytest.approx(left, abs=0.002))
