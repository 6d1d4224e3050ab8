"""A task is done once, with Redis and with PostgreSQL."""

import asyncio
from typing import Any

import pytest

from taskqueue_worker import Duplicate, Requeue
from taskqueue_worker.idempotency import Idempotent, Lease, current_lease
from taskqueue_worker.idempotency.lease import RENEWALS
from taskqueue_worker.stores import RedisStore, Store
from tests.calls import call
from tests.cluster.store_server import PostgreSQL, Redis


class Work:
    """A handler that waits for its gate."""

    def __init__(self) -> None:
        self.runs = 0
        self.leases: list[Lease] = []
        self.begun = asyncio.Event()
        self.gate = asyncio.Event()
        self.error: BaseException | None = None

    async def __call__(self) -> object:
        self.runs += 1
        self.leases.append(current_lease())
        self.begun.set()
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return self.runs


@pytest.fixture
def work() -> Work:
    return Work()


async def test_a_task_that_is_done_is_not_done_again(store: Store, work: Work) -> None:
    once, task = Idempotent(store), call()
    work.gate.set()
    assert await once(task, work) == 1
    with pytest.raises(Duplicate, match=task.context.task_id):
        await once(task, work)
    assert work.runs == 1
    assert await once(call(task_id=task.context.task_id, type="other"), work) == 2, "ids belong to their type"


async def test_of_parallel_duplicates_one_runs_and_the_others_come_back_when_its_lease_may_be_over(
    store: Store, work: Work
) -> None:
    once, task = Idempotent(store, lease=30), call()
    running = asyncio.ensure_future(once(task, work))
    await work.begun.wait()
    results = await asyncio.gather(*(once(task, work) for _ in range(20)), return_exceptions=True)
    assert all(isinstance(result, Requeue) and 20 < result.delay <= 31 for result in results), results
    work.gate.set()
    assert await running == 1
    with pytest.raises(Duplicate):
        await once(task, work)


async def test_many_at_the_same_moment_run_once(store: Store, work: Work) -> None:
    task = call()
    work.gate.set()
    results = await asyncio.gather(*(Idempotent(store)(task, work) for _ in range(50)), return_exceptions=True)
    assert work.runs == 1
    assert sum(result == 1 for result in results) == 1


@pytest.mark.parametrize("error", [ValueError("x"), Requeue("later"), asyncio.CancelledError()])
async def test_a_task_that_fails_is_run_again_at_once(store: Store, work: Work, error: BaseException) -> None:
    once, task = Idempotent(store), call()
    work.gate.set()
    work.error = error
    with pytest.raises(type(error)):
        await once(task, work)
    work.error = None
    assert await once(task, work) == 2
    assert work.leases[1].fence > work.leases[0].fence


async def test_a_lease_is_renewed_while_the_task_runs(
    store: Store, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    once, task, renewed = Idempotent(store, lease=2), call(), asyncio.Semaphore(0)
    hold = type(once._claims).hold

    async def counted(*arguments: Any) -> bool:  # noqa: ANN401 - of the method
        renewed.release()
        return await hold(*arguments)

    monkeypatch.setattr(type(once._claims), "hold", counted)
    running = asyncio.ensure_future(once(task, work))
    for _ in range(2 * RENEWALS):
        await renewed.acquire()
    with pytest.raises(Requeue, match="runs elsewhere"):
        await once(task, work)
    work.gate.set()
    assert await running == 1


async def test_a_lost_task_is_taken_over_when_its_lease_is_over_and_the_one_that_lost_it_is_told(
    store: Store, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, renewals = call(), asyncio.Event()
    hold = type(Idempotent(store)._claims).hold

    async def held_up(*arguments: Any) -> bool:  # noqa: ANN401 - of the method
        await renewals.wait()
        return await hold(*arguments)

    monkeypatch.setattr(type(Idempotent(store)._claims), "hold", held_up)
    lost = asyncio.ensure_future(Idempotent(store, lease=1)(task, work))
    await work.begun.wait()
    await asyncio.sleep(1.1)
    second = Work()
    taking_over = asyncio.ensure_future(Idempotent(store, lease=60)(task, second))
    await second.begun.wait()
    renewals.set()
    with pytest.raises(Requeue, match="has taken the task over"):
        await lost
    assert work.leases[0].is_lost
    assert second.leases[0].fence > work.leases[0].fence
    second.gate.set()
    assert await taking_over == 1


async def test_the_payload_may_hold_the_key(store: Store, work: Work) -> None:
    once = Idempotent(store, key=lambda payload: payload["invoice"])
    work.gate.set()
    number = call().context.task_id
    await once(call({"invoice": number}), work)
    with pytest.raises(Duplicate):
        await once(call({"invoice": number}), work)
    long = f"{number}\0\ud800" + "x" * 5000
    await once(call({"invoice": long}), work)
    with pytest.raises(Duplicate):
        await once(call({"invoice": long}), work)


async def test_a_message_without_id_runs_each_time(store: Store) -> None:
    runs: list[int] = []

    async def run() -> None:
        runs.append(1)

    for _ in range(2):
        await Idempotent(store)(call(task_id=None), run)
    assert len(runs) == 2


async def test_a_done_task_is_remembered_for_a_time(store: Store, work: Work) -> None:
    once, task = Idempotent(store, keep=1), call()
    work.gate.set()
    await once(task, work)
    await asyncio.sleep(1.1)
    assert await once(task, work) == 2


async def test_what_is_done_is_remembered_although_the_server_was_killed(
    store_server: Redis | PostgreSQL, store: Store, work: Work
) -> None:
    once, task = Idempotent(store), call()
    work.gate.set()
    await once(task, work)
    store_server.kill()
    with pytest.raises(Requeue, match=str(store_server.port)) as away:
        await once(task, work)
    assert away.value.delay >= 1

    async def run() -> str:
        return "ran"

    assert await Idempotent(store, on_unavailable="run")(task, run) == "ran"
    store_server.boot()
    with pytest.raises(Duplicate):
        await once(task, work)


async def test_a_running_task_survives_a_restart_of_the_server(
    store_server: Redis | PostgreSQL, store: Store, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    once, task, renewed = Idempotent(store, lease=3), call(), asyncio.Event()
    hold = type(once._claims).hold

    async def told(*arguments: Any) -> bool:  # noqa: ANN401 - of the method
        held = await hold(*arguments)
        renewed.set()
        return held

    monkeypatch.setattr(type(once._claims), "hold", told)
    running = asyncio.ensure_future(once(task, work))
    await work.begun.wait()
    store_server.pause()
    await asyncio.sleep(2.5)  # so a renewal fails
    store_server.resume()
    store_server.kill()
    store_server.boot()
    renewed.clear()
    await renewed.wait()
    assert not work.leases[0].is_lost
    with pytest.raises(Requeue, match="runs elsewhere"):
        await once(task, work)
    work.gate.set()
    assert await running == 1


@pytest.mark.parametrize(("option", "value"), [("keep", 0), ("lease", -1), ("on_unavailable", "ignore")])
def test_a_wrong_option_is_named(option: str, value: object) -> None:
    with pytest.raises(ValueError, match=str(value)):
        Idempotent(RedisStore("redis://localhost"), **{option: value})  # type: ignore[arg-type]
