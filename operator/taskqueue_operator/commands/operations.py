"""What can be done with the dead letters of a queue: list, show, purge; `redrive.py` has the fourth.

The state of an operation is the queue itself: one that ends half way is repeated, and continues with what is left.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from taskqueue_operator.dead_letters.groups import Groups
from taskqueue_operator.dead_letters.selection import Selection

from .ports import D, DeadLetterQueue


@dataclass(slots=True)
class Survey:
    """What a listing found.

    Attributes:
        ready: Messages that were in the queue when it began.
        read: How many of them were read, the oldest ones.
        groups: The selected ones of these.
    """

    ready: int
    read: int = 0
    groups: Groups = field(default_factory=Groups)


@dataclass(frozen=True, slots=True)
class Purged:
    """What a purge did.

    Attributes:
        selected: How many of the messages that were read are selected.
        purged: How many were deleted.
        read: How many were read.
        ready: How many were in the queue when it began.
        confirmed: Whether the user has confirmed.
    """

    selected: int
    purged: int
    read: int
    ready: int
    confirmed: bool = True


async def survey(queue: DeadLetterQueue[D], selection: Selection, *, limit: int, stop: asyncio.Event) -> Survey:
    """Count the selected ones of the `limit` oldest messages by group."""
    found = Survey(await queue.ready())
    async for delivery in until(stop, queue.deliveries(found.ready, held=limit)):
        found.read += 1
        if selection.matches(delivery.letter):
            found.groups.add(delivery.letter)
    return found


async def show(
    queue: DeadLetterQueue[D], selection: Selection, *, first: int, limit: int, stop: asyncio.Event
) -> list[D]:
    """Return the oldest selected messages, up to `first`, of the `limit` oldest messages of the queue."""
    shown: list[D] = []
    async for delivery in until(stop, queue.deliveries(await queue.ready(), held=limit)):
        if selection.matches(delivery.letter):
            shown.append(delivery)
            if len(shown) == first:
                break
    return shown


async def purge(
    queue: DeadLetterQueue[D],
    selection: Selection,
    confirm: Callable[[Groups], Awaitable[bool]],
    *,
    limit: int,
    stop: asyncio.Event,
) -> Purged:
    """Delete the selected ones of the `limit` oldest messages, after a confirmation.

    The messages that are counted for the confirmation are held until then, so that they and no others are deleted.
    """
    ready, read = await queue.ready(), 0
    selected, groups = list[int](), Groups()
    async for delivery in until(stop, queue.deliveries(ready, held=limit)):
        read += 1
        if selection.matches(delivery.letter):
            selected.append(delivery.tag)
            groups.add(delivery.letter)
    if not selected or stop.is_set() or not await confirm(groups):
        return Purged(len(selected), 0, read, ready, confirmed=not selected)
    purged = 0
    for tag in selected:
        if stop.is_set():
            break
        await queue.acknowledge(tag)
        purged += 1
    await queue.ready()  # answered once the acknowledgements are processed
    return Purged(len(selected), purged, read, ready)


async def until(stop: asyncio.Event, deliveries: AsyncIterator[D]) -> AsyncIterator[D]:
    """Iterate until the user stops the command."""
    async for delivery in deliveries:
        if stop.is_set():
            return
        yield delivery
