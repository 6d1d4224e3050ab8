"""Names what differed from what was declared: the text of an Event."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from taskqueue_operator.resource.faults import excerpt
from taskqueue_operator.resource.names import OWNER_ARGUMENT

from .diff import Declare, Step
from .objects import Binding, Exchange, Policy, Queue, Topology

MENTIONED: Final = 5
"""Most objects that one text names."""


def repairs(steps: Sequence[Step], actual: Topology, declared: Mapping[str, Policy]) -> Iterator[Step]:
    """Return the steps that repair drift.

    A policy that is on the broker as it was declared has not drifted: the workers need another one now. A binding that
    went with its exchange or queue is left out.

    Args:
        steps: The steps to the desired topology.
        actual: The topology before these steps.
        declared: The policies as they were last declared.
    """
    missing = [step.item for step in steps if isinstance(step, Declare)]
    exchanges = {item.name for item in missing if isinstance(item, Exchange)}
    queues = {item.name for item in missing if isinstance(item, Queue)}
    for step in steps:
        item = step.item
        if isinstance(item, Policy) and actual.policies.get(item.name) == declared.get(item.name):
            continue
        if isinstance(item, Binding) and (
            item.source in exchanges or item.destination in (queues if item.to_queue else exchanges)
        ):
            continue
        yield step


def description(steps: Sequence[Step], actual: Topology, messages: Callable[[str], int | None]) -> str:
    """Return what was repaired by these steps.

    Args:
        steps: The steps, at least one.
        actual: The topology before these steps.
        messages: Returns how many messages a queue had when it was last read; None if that is unknown.
    """
    texts = [_text(step, actual, messages) for step in steps[:MENTIONED]]
    if len(steps) > MENTIONED:
        texts.append(f"{len(steps) - MENTIONED} more")
    return f"The topology differed from what was declared, and the operator repaired it: {'; '.join(texts)}."


def _text(step: Step, actual: Topology, messages: Callable[[str], int | None]) -> str:
    item = step.item
    if not isinstance(step, Declare):
        return f"{_name(item)} was not declared"
    if isinstance(item, Queue):
        return f"{_name(item)} was missing ({_lost(messages(item.name))})"
    is_changed = isinstance(item, Policy) and item.name in actual.policies
    return f"{_name(item)} was {'changed' if is_changed else 'missing'}"


def _name(item: Exchange | Queue | Binding | Policy) -> str:
    if isinstance(item, Binding):
        kind = "queue" if item.to_queue else "exchange"
        key = f' with routing key "{excerpt(item.routing_key)}"' if item.routing_key else ""
        return f'binding from exchange "{item.source}" to {kind} "{item.destination}"{key}{_headers(item)}'
    return f'{type(item).__name__.lower()} "{item.name}"'


def _headers(binding: Binding) -> str:
    headers = [f"{name}: {value}" for name, value in binding.arguments if name != OWNER_ARGUMENT]
    return f" with arguments {{{excerpt(', '.join(headers))}}}" if headers else ""


def _lost(messages: int | None) -> str:
    if messages is None:
        return "how many messages it had is unknown"
    if messages == 0:
        return "it was empty when it was last read"
    return f"the {messages} messages that were last seen in it are lost"
