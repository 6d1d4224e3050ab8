"""What a queue of a broker holds."""

from collections import Counter

from aio_pika.abc import AbstractChannel


async def ready(channel: AbstractChannel, queue: str) -> int:
    """Return the number of ready messages."""
    declared = await channel.declare_queue(queue, passive=True)
    return declared.declaration_result.message_count or 0


async def ids(channel: AbstractChannel, queue: str) -> Counter[str]:
    """Remove all messages, and count their ids."""
    found: Counter[str] = Counter()
    source = await channel.get_queue(queue)
    while (message := await source.get(no_ack=True, fail=False)) is not None:
        found[message.message_id or ""] += 1
    return found
