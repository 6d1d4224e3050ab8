"""The way back of retries, as the operator declares it."""

from typing import Any, cast

from taskqueue_operator.resource.names import PARKING
from taskqueue_operator.topology.retry_path import retry_path
from tests.integration.worker.declared_queue import DeclaredQueue


async def declare_retry_path(queue: DeclaredQueue) -> None:
    """Declare what the operator declares, so that retries return to the queue."""
    topology = retry_path(queue.name, "default/tests/worker")
    for exchange in topology.exchanges.values():
        arguments = cast("dict[str, Any]", dict(exchange.arguments))
        await queue.channel.declare_exchange(exchange.name, exchange.type, durable=True, arguments=arguments)
    for item in topology.queues.values():
        arguments = cast("dict[str, Any]", dict(item.arguments))
        await queue.channel.declare_queue(item.name, durable=True, arguments=arguments)
    for binding in topology.bindings:
        await (await queue.channel.get_queue(binding.destination)).bind(binding.source, binding.routing_key)


async def purge_parking(queue: DeclaredQueue) -> None:
    """Remove what other tests left in the parking queue."""
    await (await queue.channel.get_queue(PARKING)).purge()
