"""The smaller parts of the controller: single flight, rate limit, cache, clock."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from taskqueue_operator.control.cache import Cache
from taskqueue_operator.control.clock import loop_clock
from taskqueue_operator.control.ports import Body
from taskqueue_operator.control.single_flight import SingleFlight
from taskqueue_operator.resource.faults import Conflict
from taskqueue_operator.resource.names import LABEL_NAME, Key
from tests.unit.iterations import counted_iterations

from .fake_broker import START
from .fake_cluster import KEY, by_replica_set, taskqueue

pytestmark = pytest.mark.looptime

POD = Key("media", "thumbnails-0")


class Slow:
    """Answers after a second with the number of the call."""

    def __init__(self) -> None:
        self.calls = 0
        self.error: Exception | None = None

    async def __call__(self) -> int:
        self.calls += 1
        number = self.calls
        await asyncio.sleep(1)
        if self.error is not None:
            raise self.error
        return number


async def test_simultaneous_callers_share_a_call() -> None:
    slow = Slow()
    shared = SingleFlight(slow)
    assert list(await asyncio.gather(shared(), shared(), shared())) == [1, 1, 1]


async def test_no_caller_gets_the_result_of_a_call_that_started_before_its_own() -> None:
    slow = Slow()
    shared = SingleFlight(slow)
    first = asyncio.create_task(shared())
    await asyncio.sleep(0.5)
    assert list(await asyncio.gather(shared(), shared())) == [2, 2]
    assert await first == 1
    assert await shared() == 3


async def test_a_caller_that_is_held_up_gets_the_newest_result() -> None:
    slow = Slow()
    shared = SingleFlight(slow)

    @asynccontextmanager
    async def waiting() -> AsyncIterator[None]:
        yield
        await asyncio.sleep(5)

    held_up = asyncio.create_task(shared(waiting))
    await asyncio.sleep(2)
    assert await shared() == 2
    slow.error = ValueError("away")
    with pytest.raises(ValueError, match="away"):
        await shared()
    assert await held_up == 2


async def test_a_closed_call_ends_for_all_callers() -> None:
    shared = SingleFlight(Slow())
    callers = [asyncio.create_task(shared()) for _ in range(3)]
    await asyncio.sleep(0.5)
    callers.append(asyncio.create_task(shared()))
    await asyncio.sleep(0)
    await shared.close()
    answers = await asyncio.gather(*callers, return_exceptions=True)
    assert [type(answer) for answer in answers] == [Conflict] * 4


async def test_an_error_reaches_all_waiting_callers_and_no_later_caller() -> None:
    slow = Slow()
    slow.error = ValueError("away")
    shared = SingleFlight(slow)
    answers = await asyncio.gather(shared(), shared(), return_exceptions=True)
    assert [str(answer) for answer in answers] == ["away", "away"]
    slow.error = None
    assert await shared() == 2


async def test_a_cancelled_caller_does_not_cancel_the_call_of_others() -> None:
    shared = SingleFlight(Slow())
    cancelled, waiting = asyncio.create_task(shared()), asyncio.create_task(shared())
    await asyncio.sleep(0.5)
    cancelled.cancel()
    assert await waiting == 1
    assert cancelled.cancelled()


async def test_other_tasks_run_between_the_callers_of_one_call() -> None:
    answered = asyncio.Event()
    shared = SingleFlight(answered.wait)

    async def call() -> None:
        await shared()
        iterations.record()

    with counted_iterations() as iterations:
        async with asyncio.TaskGroup() as group:
            for _ in range(64):
                group.create_task(call())
            await asyncio.sleep(0)
            answered.set()
    assert iterations.total == 64
    assert iterations.most == 1


async def test_an_error_without_a_waiting_caller_is_no_warning() -> None:
    slow = Slow()
    slow.error = ValueError("away")
    asking = asyncio.create_task(SingleFlight(slow)())
    await asyncio.sleep(0.5)
    asking.cancel()
    await asyncio.sleep(1)  # an exception never retrieved is a warning, and so an error here
    assert asking.cancelled()


async def test_the_clock_goes_with_the_loop() -> None:
    clock = loop_clock(START)
    await asyncio.sleep(90)
    assert clock() - START == timedelta(seconds=90)


def seen(version: int, uid: str = "u", **spec: object) -> Body:
    body = taskqueue(KEY, **spec)
    body["metadata"] |= {"uid": uid, "resourceVersion": str(version), "generation": version}
    return body


def deployment(version: int, replicas: int, uid: str = "d") -> Body:
    metadata = {**KEY._asdict(), "uid": uid, "resourceVersion": str(version)}
    return {"metadata": metadata, "spec": {"replicas": replicas}}


def pod(version: int, phase: str = "Running") -> Body:
    metadata: Body = {**POD._asdict(), "uid": "p", "resourceVersion": str(version)}
    metadata |= {"labels": {LABEL_NAME: KEY.name}, "ownerReferences": by_replica_set(KEY)}
    return {"metadata": metadata, "status": {"phase": phase}}


@pytest.mark.parametrize(("versions", "kept"), [((9, 10), 10), ((10, 9), 10), ((10, 10), 10)])
def test_an_older_version_never_replaces_a_newer_one(versions: tuple[int, int], kept: int) -> None:
    cache = Cache()
    for version in versions:
        cache.update_taskqueue(seen(version))
        cache.update_deployment(deployment(version, version))
        cache.update_pod(pod(version))
    assert cache.taskqueues[KEY].version == kept
    assert cache.deployments[KEY].replicas == kept
    assert [pod.resource_version for pod in cache.pods(KEY)] == [str(kept)]


def test_a_late_answer_does_not_restore_a_removed_object() -> None:
    cache = Cache()
    cache.update_taskqueue(seen(1))
    cache.update_deployment(deployment(1, 1))
    cache.update_pod(pod(1))
    cache.remove_taskqueue(KEY, "u")
    cache.remove_deployment(KEY, "d")
    assert cache.remove_pod(pod(4)) == KEY
    cache.update_taskqueue(seen(3))
    cache.update_deployment(deployment(3, 1))
    cache.update_pod(pod(3))
    assert (cache.taskqueues, cache.deployments, list(cache.pods(KEY))) == ({}, {}, [])


def test_a_new_object_of_a_former_name_is_cached() -> None:
    cache = Cache()
    cache.update_taskqueue(seen(1, "old"))
    cache.update_taskqueue(seen(5, "new"))
    cache.remove_taskqueue(KEY, "old")
    cache.update_deployment(deployment(5, 1, "new"))
    cache.remove_deployment(KEY, "old")
    assert (cache.taskqueues[KEY].uid, cache.deployments[KEY].uid) == ("new", "new")


def test_an_invalid_taskqueue_is_cached_with_its_fault() -> None:
    cache = Cache()
    cache.update_taskqueue(seen(1, worker={"image": ""}))
    assert cache.taskqueue(KEY) is None
    assert "spec.worker.image" in str(cache.taskqueues[KEY].parsed)
    assert cache.taskqueues[KEY].reference["uid"] == "u"


def test_pods_are_known_by_their_taskqueue() -> None:
    cache = Cache()
    assert cache.update_pod(pod(1)) == KEY
    assert cache.all_pods() == [(KEY, POD)]
    cache.discard_pod(KEY, POD)
    assert cache.all_pods() == []
    assert list(cache.pods(KEY)) == []
