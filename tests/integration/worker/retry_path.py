"""The way back of retries, as the operator declares it."""

from taskqueue_operator.resource.names import PARKING
from taskqueue_operator.topology.retry_path import retry_path
from tests.integration.worker.declaration import declare
from tests.integration.worker.declared_queue import DeclaredQueue


async def declare_retry_path(queue: DeclaredQueue) -> None:
    """Declare what the operator declares, so that retries return to the queue."""
    await declare(queue.channel, retry_path(queue.name, "default/tests/worker"))


async def purge_parking(queue: DeclaredQueue) -> None:
    """Remove what other tests left in the parking queue."""
    await (await queue.channel.get_queue(PARKING)).purge()
