"""Applies topology steps through the management API. Each step may be repeated."""

from typing import Any

from taskqueue_operator.topology.diff import Declare, Step
from taskqueue_operator.topology.objects import Binding, Exchange, Policy, Queue

from .management import Management
from .management_requests import segment
from .topology_reader import binding


async def apply_step(management: Management, step: Step) -> None:
    """Apply one step.

    Raises:
        TopologyFault: The broker refuses the object.
        BrokerFault: The management API cannot be used.
    """
    item = step.item
    if isinstance(item, Binding):
        await (_bind(management, item) if isinstance(step, Declare) else _unbind(management, item))
    elif isinstance(step, Declare):
        await management.write("PUT", _path(item), _body(item), operation=_operation(item))
    else:
        await management.delete(_path(item), operation=_operation(item))


async def _bind(management: Management, item: Binding) -> None:
    body = {"routing_key": item.routing_key, "arguments": dict(item.arguments)}
    await management.write("POST", _binding_path(item), body, operation=_operation(item))


async def _unbind(management: Management, item: Binding) -> None:
    """Delete a binding by the properties key that the broker derived from its routing key and arguments."""
    path = _binding_path(item)
    for existing in await management.read(path):
        if binding(existing) == item:
            await management.delete(f"{path}/{segment(existing['properties_key'])}", operation=_operation(item))


def _path(item: Exchange | Queue | Policy) -> str:
    kinds = {Exchange: "exchanges", Queue: "queues", Policy: "policies"}
    return f"{kinds[type(item)]}/{{vhost}}/{segment(item.name)}"


def _binding_path(item: Binding) -> str:
    kind = "q" if item.to_queue else "e"
    return f"bindings/{{vhost}}/e/{segment(item.source)}/{kind}/{segment(item.destination)}"


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


def _operation(item: Exchange | Queue | Binding | Policy) -> str:
    """Describe what needs a permission, in RabbitMQ's terms: configure, write, read."""
    if isinstance(item, Binding):
        kind = "queue" if item.to_queue else "exchange"
        return f'bind exchange "{item.source}" (read) to {kind} "{item.destination}" (write)'
    if isinstance(item, Policy):
        return f'write policy "{item.name}"'
    return f'configure {"queue" if isinstance(item, Queue) else "exchange"} "{item.name}"'
