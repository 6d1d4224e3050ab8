"""Checks that existing objects fit. A conflict is reported with the way out; an existing object is never changed."""

from collections.abc import Iterator
from typing import Final

from taskqueue_operator.resource.broker import ExchangeType, QueueType
from taskqueue_operator.resource.faults import Reason, TopologyFault
from taskqueue_operator.resource.names import OWNER_ARGUMENT

from .desired import DEAD_LETTER_KEY, MAX_PRIORITY, QUEUE_TYPE
from .objects import Argument, Arguments, Exchange, Queue, Topology

RESERVED_PREFIX: Final = "amq."
USE_UNCHANGED: Final = "set spec.queue.external: true to use the queue unchanged."
QUEUE_WAYS_OUT: Final = f"Delete the queue when it is empty, choose another spec.queue.name, or {USE_UNCHANGED}"
DERIVED_WAYS_OUT: Final = "Delete it if it is not needed, or choose another spec.queue.name."
EXCHANGE_WAYS_OUT: Final = "Delete the exchange if it is not needed, or choose another spec.exchange.name."


def check_conflicts(desired: Topology, actual: Topology, *, owner: str) -> None:
    """Compare each desired object with the existing object of the same name.

    Raises:
        TopologyFault: An object belongs to another TaskQueue, differs in a property that cannot change, or must not be
            created because RabbitMQ reserves its name.
    """
    private = {binding.source for binding in desired.bindings if binding.to_queue}
    for name, queue in desired.queues.items():
        _check_queue(queue, actual.queues.get(name), owner)
    for name, exchange in desired.exchanges.items():
        if name in private:
            _check_private_exchange(exchange, actual.exchanges.get(name), owner)
        else:
            _check_exchange(exchange, actual.exchanges.get(name))


def _check_queue(desired: Queue, actual: Queue | None, owner: str) -> None:
    if actual is None:
        _check_reserved("Queue", desired.name)
        return
    _check_owner("Queue", actual, owner)
    # The spec sets properties of the main queue only; dead-letter queue and fence follow from its name.
    main = DEAD_LETTER_KEY in desired.arguments
    differences = _queue_differences(desired, actual) if main else _derived_differences(desired, actual)
    _check_drift(f'Queue "{desired.name}"', differences)


def _check_private_exchange(desired: Exchange, actual: Exchange | None, owner: str) -> None:
    if actual is not None:
        _check_owner("Exchange", actual, owner)
        _check_drift(f'Exchange "{desired.name}"', _private_differences(desired, actual))


def _check_exchange(desired: Exchange, actual: Exchange | None) -> None:
    # Several TaskQueues may share the publishers' exchange. So its owner does not matter, nor do other arguments, such
    # as an alternate exchange.
    if actual is None:
        _check_reserved("Exchange", desired.name)
        return
    _check_drift(f'Exchange "{desired.name}"', _exchange_differences(desired, actual))


def _check_reserved(kind: str, name: str) -> None:
    if name.startswith(RESERVED_PREFIX):
        raise TopologyFault(
            Reason.TOPOLOGY_REFUSED,
            f'{kind} "{name}" does not exist, and RabbitMQ reserves names that begin with "{RESERVED_PREFIX}". '
            f"Choose another spec.{kind.lower()}.name.",
            terminal=True,
        )


def _check_owner(kind: str, actual: Exchange | Queue, owner: str) -> None:
    found = actual.arguments.get(OWNER_ARGUMENT)
    if found is not None and found != owner:
        installation, _, key = str(found).partition("/")
        raise TopologyFault(
            Reason.NAME_CONFLICT,
            f'{kind} "{actual.name}" belongs to TaskQueue {key} (installation {installation}). '
            "Choose another spec.queue.name.",
            terminal=True,
        )


def _check_drift(subject: str, differences: Iterator[str]) -> None:
    for first in differences:
        raise TopologyFault(Reason.IMMUTABLE_DRIFT, f"{subject} exists {first}", terminal=True)


def _queue_differences(desired: Queue, actual: Queue) -> Iterator[str]:
    yield from _queue_type_difference(_type(desired), _type(actual))
    yield from _lifetime_differences(actual, QUEUE_WAYS_OUT)
    yield from _priority_difference(desired.arguments.get(MAX_PRIORITY), actual.arguments.get(MAX_PRIORITY))
    yield from _argument_differences(desired.arguments, actual.arguments, QUEUE_WAYS_OUT)


def _queue_type_difference(desired: str, actual: str) -> Iterator[str]:
    if desired != actual:
        known = actual.title() in list(QueueType)
        way = f"Set spec.queue.type: {actual.title()}" if known else "Choose another spec.queue.name"
        yield f"with type {actual}, but spec.queue.type is {desired.title()}. {way}, or {USE_UNCHANGED}"


def _priority_difference(desired: Argument | None, actual: Argument | None) -> Iterator[str]:
    if desired != actual:
        field = "is not set" if desired is None else f"is {desired}"
        way = "Remove spec.queue.maxPriority" if actual is None else f"Set spec.queue.maxPriority: {actual}"
        yield f"{_with(MAX_PRIORITY, actual)}, but spec.queue.maxPriority {field}. {way}, or {USE_UNCHANGED}"


def _derived_differences(desired: Queue, actual: Queue) -> Iterator[str]:
    if _type(desired) != _type(actual):
        yield f"with type {_type(actual)}, but the operator needs type {_type(desired)}. {DERIVED_WAYS_OUT}"
    yield from _lifetime_differences(actual, DERIVED_WAYS_OUT)
    yield from _argument_differences(desired.arguments, actual.arguments, DERIVED_WAYS_OUT)


def _private_differences(desired: Exchange, actual: Exchange) -> Iterator[str]:
    if desired.type != actual.type:
        yield f"with type {actual.type}, but the operator needs type {desired.type}. {DERIVED_WAYS_OUT}"
    yield from _lifetime_differences(actual, DERIVED_WAYS_OUT)
    yield from _argument_differences(desired.arguments, actual.arguments, DERIVED_WAYS_OUT)


def _exchange_differences(desired: Exchange, actual: Exchange) -> Iterator[str]:
    if desired.type != actual.type:
        known = actual.type.title() in list(ExchangeType)
        way = f"Set spec.exchange.type: {actual.type.title()}, or choose" if known else "Choose"
        field = f"spec.exchange.type is {desired.type.title()}"
        yield f"with type {actual.type}, but {field}. {way} another spec.exchange.name."
    yield from _lifetime_differences(actual, EXCHANGE_WAYS_OUT)


def _lifetime_differences(actual: Exchange | Queue, ways_out: str) -> Iterator[str]:
    if not actual.durable:
        yield f"as transient, but must be durable to survive a broker restart. {ways_out}"
    if actual.auto_delete:
        last = "consumer" if isinstance(actual, Queue) else "binding"
        yield f"with auto-delete, but must not be deleted with its last {last}. {ways_out}"


def _argument_differences(desired: Arguments, actual: Arguments, ways_out: str) -> Iterator[str]:
    """Compare the arguments that no field of the spec sets."""
    for name in sorted((desired.keys() | actual.keys()) - {QUEUE_TYPE, MAX_PRIORITY, OWNER_ARGUMENT}):
        if desired.get(name) != actual.get(name):
            needed = _with(name, desired.get(name))
            yield f"{_with(name, actual.get(name))}, but the operator needs it {needed}. {ways_out}"


def _with(name: str, value: Argument | None) -> str:
    if value is None:
        return f"without {name}"
    return f'with {name} "{value}"' if isinstance(value, str) else f"with {name} {value}"


def _type(queue: Queue) -> str:
    return str(queue.arguments.get(QUEUE_TYPE, "classic"))
