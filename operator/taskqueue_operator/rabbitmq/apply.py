"""Steps as requests to the management API. Each may be repeated."""

from typing import Any

from taskqueue_operator.topology.diff import Declare, Step
from taskqueue_operator.topology.objects import Binding, Exchange, Policy, Queue

from .management import Management, segment


async def take(management: Management, step: Step) -> None:
    """Take one step.

    Raises:
        TopologyFault: The broker refuses the object.
        BrokerFault: The broker cannot be used.
    """
    item = step.item
    if isinstance(item, Binding):
        await (_bind(management, item) if isinstance(step, Declare) else _unbind(management, item))
    elif isinstance(step, Declare):
        await management.write("PUT", _path(item), _body(item), act=_act(item))
    else:
        await management.remove(_path(item), act=_act(item))


async def _bind(management: Management, binding: Binding) -> None:
    body = {"routing_key": binding.routing_key, "arguments": {}}
    await management.write("POST", _way(binding), body, act=_act(binding))


async def _unbind(management: Management, binding: Binding) -> None:
    """Remove a binding by the key that the broker gave it, which holds more than the routing key."""
    for found in await management.read(_way(binding)):
        if found["routing_key"] == binding.routing_key:
            await management.remove(f"{_way(binding)}/{segment(found['properties_key'])}", act=_act(binding))


def _path(item: Exchange | Queue | Policy) -> str:
    kinds = {Exchange: "exchanges", Queue: "queues", Policy: "policies"}
    return f"{kinds[type(item)]}/{{vhost}}/{segment(item.name)}"


def _way(binding: Binding) -> str:
    kind = "q" if binding.to_queue else "e"
    return f"bindings/{{vhost}}/e/{segment(binding.source)}/{kind}/{segment(binding.destination)}"


def _body(item: Exchange | Queue | Policy) -> dict[str, Any]:
    if isinstance(item, Policy):
        return {
            "pattern": item.pattern,
            "apply-to": item.apply_to,
            "definition": dict(item.definition),
            "priority": item.priority,
        }
    body = {"durable": item.durable, "auto_delete": item.auto_delete, "arguments": dict(item.arguments)}
    return body | ({"type": item.type} if isinstance(item, Exchange) else {})


def _act(item: Exchange | Queue | Binding | Policy) -> str:
    """Say what takes a permission, as RabbitMQ names it."""
    if isinstance(item, Binding):
        kind = "queue" if item.to_queue else "exchange"
        return f'bind exchange "{item.source}" (read) to {kind} "{item.destination}" (write)'
    if isinstance(item, Policy):
        return f'write policy "{item.name}"'
    return f'configure {"queue" if isinstance(item, Queue) else "exchange"} "{item.name}"'
