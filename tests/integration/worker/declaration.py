"""Declares over AMQP what the operator declares."""

from typing import Any, cast

from aio_pika.abc import AbstractChannel

from taskqueue_operator.topology.objects import Topology


async def declare(channel: AbstractChannel, topology: Topology) -> None:
    """Declare the exchanges, queues and bindings of a topology."""
    for exchange in topology.exchanges.values():
        arguments = cast("dict[str, Any]", dict(exchange.arguments))
        await channel.declare_exchange(exchange.name, exchange.type, durable=True, arguments=arguments)
    for item in topology.queues.values():
        arguments = cast("dict[str, Any]", dict(item.arguments))
        await channel.declare_queue(item.name, durable=True, arguments=arguments)
    for binding in topology.bindings:
        get = channel.get_queue if binding.to_queue else channel.get_exchange
        await (await get(binding.destination)).bind(binding.source, binding.routing_key)
