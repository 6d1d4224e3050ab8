"""Listing, showing and deleting dead letters."""

import asyncio

import pytest

from taskqueue_operator.commands.operations import Purged, purge, show, survey
from taskqueue_operator.dead_letters.groups import Group, Groups
from taskqueue_operator.dead_letters.selection import Selection
from tests.unit.commands.in_memory_queue import FakeBroker, InMemoryQueue, dead_letter

LIMIT = 100


def mixed() -> FakeBroker:
    """Return a broker with ten dead letters; those with an even number have timed out."""
    return FakeBroker(*(dead_letter(n, reason="failed" if n % 2 else "timeout") for n in range(10)))


async def yes(_: Groups) -> bool:
    return True


async def no(_: Groups) -> bool:
    return False


async def test_a_listing_counts_the_groups_and_leaves_the_queue_in_its_order() -> None:
    broker = mixed()
    before = list(broker.dead_letters)
    queue = InMemoryQueue(broker)
    found = await survey(queue, Selection(), limit=LIMIT, stop=asyncio.Event())
    await queue.release()
    assert (found.ready, found.read) == (10, 10)
    counts = [(group, figures.count) for group, figures in found.groups.largest_first()]
    assert counts == [(Group("work", "failed", ""), 5), (Group("work", "timeout", ""), 5)]
    assert broker.dead_letters == before


async def test_a_listing_reads_no_more_than_its_limit_and_says_so() -> None:
    found = await survey(InMemoryQueue(mixed()), Selection(reason="failed"), limit=4, stop=asyncio.Event())
    assert (found.ready, found.read, found.groups.count) == (10, 4, 2)


async def test_the_first_ones_of_a_group_are_shown() -> None:
    found = await show(InMemoryQueue(mixed()), Selection(reason="failed"), first=2, limit=LIMIT, stop=asyncio.Event())
    assert [delivery.letter.id for delivery in found] == ["id-1", "id-3"]


async def test_a_purge_deletes_the_selected_ones_only() -> None:
    broker = mixed()
    queue = InMemoryQueue(broker)
    purged = await purge(queue, Selection(reason="failed"), yes, limit=LIMIT, stop=asyncio.Event())
    await queue.release()
    assert purged == Purged(selected=5, purged=5, read=10, ready=10)
    assert [message.id for message in broker.dead_letters] == ["id-0", "id-2", "id-4", "id-6", "id-8"]


async def test_without_a_confirmation_nothing_is_deleted() -> None:
    broker = mixed()
    queue = InMemoryQueue(broker)
    purged = await purge(queue, Selection(), no, limit=LIMIT, stop=asyncio.Event())
    await queue.release()
    assert (purged.selected, purged.purged, purged.confirmed) == (10, 0, False)
    assert len(broker.dead_letters) == 10


async def test_messages_that_arrive_before_the_confirmation_are_not_deleted() -> None:
    broker = mixed()

    async def arrives(groups: Groups) -> bool:
        broker.dead_letters.append(dead_letter(99))
        return groups.count == 10

    queue = InMemoryQueue(broker)
    await purge(queue, Selection(), arrives, limit=LIMIT, stop=asyncio.Event())
    await queue.release()
    assert [message.id for message in broker.dead_letters] == ["id-99"]


@pytest.mark.parametrize("selection", [Selection(), Selection(reason="failed")])
async def test_a_stopped_command_deletes_nothing_more(selection: Selection) -> None:
    broker, stop = mixed(), asyncio.Event()
    stop.set()
    queue = InMemoryQueue(broker)
    purged = await purge(queue, selection, yes, limit=LIMIT, stop=stop)
    await queue.release()
    assert (purged.purged, len(broker.dead_letters)) == (0, 10)
