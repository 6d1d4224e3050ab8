"""Dead letters return to their queues at least once, and none is lost whenever the process ends."""

import asyncio
from collections import Counter
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue_operator.commands.redrive import PASS_SECONDS, REFUSALS_IN_A_ROW, Order, Redrive, Redriven
from taskqueue_operator.dead_letters.destination import Destinations, Kept
from taskqueue_operator.dead_letters.selection import Selection
from tests.unit.commands.in_memory_queue import FakeBroker, FakeDelivery, InMemoryQueue, Killed, Message, dead_letter

pytestmark = pytest.mark.looptime

JOBS = Destinations(frozenset({"jobs"}))


def redrive_of(  # noqa: PLR0913  the options of the command
    queue: InMemoryQueue,
    selection: Selection = Selection(),  # noqa: B008  frozen
    *,
    destinations: Destinations = JOBS,
    rate: float = 1000,
    limit: int = 1000,
    stop: asyncio.Event | None = None,
) -> Redrive[FakeDelivery]:
    order = Order(selection, destinations, rate, limit)
    return Redrive(queue, order, stop or asyncio.Event(), lambda _: None)


async def redrive(broker: FakeBroker, selection: Selection = Selection(), **options: object) -> Redriven:  # noqa: B008
    queue = InMemoryQueue(broker)
    result = await redrive_of(queue, selection, **options).run()  # type: ignore[arg-type]
    await queue.release()
    return result


async def test_all_return_in_their_order_without_the_headers_of_the_failure() -> None:
    broker = FakeBroker(*map(dead_letter, range(5)))
    result = await redrive(broker)
    assert broker.ids("jobs") == [f"id-{n}" for n in range(5)]
    assert all(message.headers == {} for message in broker.queues["jobs"])
    assert broker.dead_letters == []
    assert (result.ready, result.redriven, result.unread, result.kept) == (5, 5, 0, Counter())


async def test_what_is_not_selected_stays_in_its_order() -> None:
    broker = FakeBroker(*(dead_letter(n, reason="failed" if n % 2 else "timeout") for n in range(6)))
    result = await redrive(broker, Selection(reason="failed"))
    assert broker.ids("jobs") == ["id-1", "id-3", "id-5"]
    assert [message.id for message in broker.dead_letters] == ["id-0", "id-2", "id-4"]
    assert (result.selected, result.others) == (3, 3)


async def test_what_cannot_return_stays_and_is_reported() -> None:
    broker = FakeBroker(
        dead_letter(1), dead_letter(2, queue="elsewhere"), Message("id-3"), dead_letter(4, queue="full")
    )
    broker.full.add("full")
    result = await redrive(broker, destinations=Destinations(frozenset({"jobs", "full"})))
    assert result.kept == {Kept.OTHER_QUEUE: 1, Kept.UNKNOWN_QUEUE: 1, Kept.REFUSED: 1}
    assert [message.id for message in broker.dead_letters] == ["id-2", "id-3", "id-4"]


async def test_a_redrive_ends_early_if_no_queue_accepts_anything() -> None:
    broker = FakeBroker(*map(dead_letter, range(50)))
    broker.missing.add("jobs")
    result = await redrive(broker)
    assert result.gave_up
    assert result.kept == {Kept.UNROUTABLE: REFUSALS_IN_A_ROW}
    assert len(broker.dead_letters) == 50


async def test_messages_that_fail_again_meanwhile_are_not_redriven_again() -> None:
    broker = FakeBroker(*map(dead_letter, range(3)))
    queue = InMemoryQueue(broker)
    order = Order(Selection(), JOBS, 1000, 1000)
    fails_again = Redrive(queue, order, asyncio.Event(), lambda _: broker.dead_letters.append(dead_letter(9)))
    result = await fails_again.run()
    assert result.redriven == 3
    assert [message.id for message in broker.dead_letters] == ["id-9"] * 3


async def test_the_rate_is_not_exceeded() -> None:
    started = asyncio.get_running_loop().time()
    await redrive(FakeBroker(*map(dead_letter, range(21))), rate=10)
    assert asyncio.get_running_loop().time() - started == pytest.approx(2.0)


async def test_a_stopped_redrive_ends_at_once_and_leaves_the_rest() -> None:
    broker, stop = FakeBroker(*map(dead_letter, range(5))), asyncio.Event()
    loop = asyncio.get_running_loop()
    started = loop.time()
    loop.call_later(15, stop.set)
    result = await redrive(broker, rate=0.1, stop=stop)
    assert loop.time() - started == pytest.approx(15)
    assert (result.redriven, result.unread) == (2, 3)
    assert [message.id for message in broker.dead_letters] == ["id-2", "id-3", "id-4"]


async def test_what_stays_is_not_held_longer_than_a_consumer_may_hold_it() -> None:
    letters = [dead_letter(0, reason="timeout"), *map(dead_letter, range(1, 201))]
    broker = FakeBroker(*letters)
    queue = InMemoryQueue(broker)
    result = await redrive_of(queue, Selection(reason="failed"), rate=200 / (2.5 * PASS_SECONDS)).run()
    assert queue.released == 2
    assert (result.redriven, result.others) == (200, 1)
    assert sorted(broker.ids("jobs")) == sorted(message.id for message in letters[1:])


async def test_no_more_than_the_limit_is_held() -> None:
    broker = FakeBroker(*(dead_letter(n, reason="timeout") for n in range(10)), dead_letter(10))
    result = await redrive(broker, Selection(reason="failed"), limit=4)
    assert (result.redriven, result.others, result.unread) == (0, 4, 7)
    assert len(broker.dead_letters) == 11


@given(st.lists(st.integers(0, 40), max_size=5), st.integers(0, 12))
def test_killed_at_any_step_nothing_is_lost_and_each_kill_doubles_one_at_most(kills: list[int], count: int) -> None:
    broker = FakeBroker(*map(dead_letter, range(count)))

    async def killed_and_repeated() -> None:
        for steps in kills:
            queue = InMemoryQueue(broker, steps=steps)
            with suppress(Killed):
                await redrive_of(queue, rate=10_000).run()
            await queue.release()  # the broker does it, when the connection of the process ends
        await redrive(broker, rate=10_000)

    asyncio.run(killed_and_repeated())
    returned = Counter(broker.ids("jobs"))
    assert returned.keys() == {f"id-{n}" for n in range(count)}
    assert returned.total() - count <= len(kills)
    assert broker.dead_letters == []
