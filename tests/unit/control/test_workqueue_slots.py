"""Keys share slots: no group takes those of another one, and a key that waits for others needs none."""

import asyncio

import pytest

from taskqueue_operator.control.slots import Group, Slots
from taskqueue_operator.control.workqueue import RetryLater
from taskqueue_operator.resource.names import Key
from tests.unit.control.running_queue import A, Worker, now, running

pytestmark = pytest.mark.looptime


def by_namespace(key: Key) -> tuple[Group]:
    return (Group.namespace(key.namespace),)


def by_namespace_and_first_letter(key: Key) -> tuple[Group, ...]:
    return (*by_namespace(key), Group("letter", key.name[0], 0.25))


async def test_a_group_whose_keys_take_long_delays_no_key_of_another_group() -> None:
    worker = Worker(20)
    async with running(worker, slots=Slots(8, by_namespace)) as queue:
        for number in range(300):
            queue.add(Key("silent", f"{number:03}"))
        await asyncio.sleep(1)
        queue.add(Key("other", "new"))
        await asyncio.sleep(45)
        assert worker.began[:3] == [(0, "000"), (0, "001"), (1, "new")]
        assert worker.began[3:] == [(20, "002"), (20, "003"), (40, "004"), (40, "005")]


async def test_all_slots_are_used_and_no_more() -> None:
    worker = Worker(10)
    async with running(worker, slots=Slots(8, by_namespace)) as queue:
        for number in range(100):
            queue.add(Key(f"tenant-{number % 10}", f"{number}"))
        await asyncio.sleep(9)
        assert len(worker.at_once) == 8
        await asyncio.sleep(1000)
        assert len(worker.began) == 100


async def test_a_key_of_two_groups_waits_for_both_of_them() -> None:
    worker = Worker(10)
    async with running(worker, slots=Slots(4, by_namespace_and_first_letter)) as queue:
        for key in (Key("m", "a1"), Key("m", "b1"), Key("n", "a2"), Key("n", "b2"), Key("n", "c1")):
            queue.add(key)
        await asyncio.sleep(100)
        assert [name for _, name in worker.began[:2]] == ["a1", "b2"]
        assert sorted(name for _, name in worker.began) == ["a1", "a2", "b1", "b2", "c1"]


async def test_a_removed_key_that_waits_for_its_group_keeps_no_other_key_waiting() -> None:
    worker = Worker(10)
    async with running(worker, slots=Slots(4, by_namespace)) as queue:
        for name in "abc":
            queue.add(Key("n", name))
        await asyncio.sleep(1)
        queue.forget(Key("n", "b"))
        await asyncio.sleep(100)
        assert worker.began == [(0, "a"), (10, "c")]


async def test_a_key_that_waits_without_a_slot_gives_it_to_others_and_continues_before_them() -> None:
    began, ended, answer = list[str](), list[str](), asyncio.Event()

    async def work(key: Key) -> None:
        began.append(key.name)
        async with queue.without_slot(key):
            await answer.wait()
        await asyncio.sleep(1)
        ended.append(key.name)

    async with running(work, slots=Slots(8, by_namespace)) as queue:
        for name in "abcde":
            queue.add(Key("n", name))
        await asyncio.sleep(1)
        assert began == ["a", "b", "c", "d", "e"], "although the namespace has two slots"
        answer.set()
        await asyncio.sleep(0)
        queue.add(Key("n", "f"))
        await asyncio.sleep(1.5)
        assert ended == ["a", "b"], "each needs a slot again"
        assert "f" not in began, "and goes before a key that has not begun"
        await asyncio.sleep(10)
        assert ended == ["a", "b", "c", "d", "e", "f"]
        assert len(queue) == 0


async def test_a_key_that_waits_without_a_slot_is_not_begun_again_and_does_not_lose_an_event() -> None:
    began, answer = list[float](), asyncio.Event()

    async def work(key: Key) -> None:
        began.append(now())
        async with queue.without_slot(key):
            await answer.wait()

    async with running(work) as queue:
        queue.add(A)
        await asyncio.sleep(1)
        queue.add(A)
        await asyncio.sleep(1)
        assert began == [0]
        answer.set()
        await asyncio.sleep(1)
        assert began == [0, 2]


async def test_an_error_while_a_key_waits_without_a_slot_is_a_failure_like_any_other() -> None:
    began = list[float]()

    async def work(key: Key) -> None:
        began.append(now())
        async with queue.without_slot(key):
            raise RetryLater

    async with running(work, slots=Slots(1)) as queue:
        queue.add(A)
        await asyncio.sleep(4)
        assert began == [0, 1, 3]


async def test_a_stop_cancels_work_that_waits_without_a_slot() -> None:
    async def work(key: Key) -> None:
        async with queue.without_slot(key):
            await asyncio.sleep(100)

    async with running(work) as queue:
        queue.add(A)
        await asyncio.sleep(1)
    assert now() == 1
