"""Objects that are in the way: what differs and the ways out. Nothing that exists is ever changed to fit."""

from collections.abc import Iterator
from typing import Final

from taskqueue_operator.resource.broker import ExchangeType, QueueType
from taskqueue_operator.resource.faults import Reason, TopologyFault
from taskqueue_operator.resource.names import OWNER_ARGUMENT

from .desired import DEAD_LETTER_KEY, MAX_PRIORITY, QUEUE_TYPE
from .objects import Argument, Arguments, Exchange, Queue, Topology

RESERVED: Final = "amq."
QUEUE_WAYS_OUT: Final = (
    "Delete it when it is empty, choose another spec.queue.name, or set queue.external: true to leave it as it is."
)
DERIVED_WAYS_OUT: Final = "Delete it when nothing needs it any more, or choose another spec.queue.name."
EXCHANGE_WAYS_OUT: Final = "Delete it when nothing needs it any more, or choose another spec.exchange.name."


def check_conflicts(wanted: Topology, there: Topology, *, owner: str) -> None:
    """Compare what is wanted with the objects of the same names.

    Raises:
        TopologyFault: An object belongs to another TaskQueue, differs in what can never change, or may not be made.
    """
    private = {binding.source for binding in wanted.bindings if binding.to_queue}
    for name, queue in wanted.queues.items():
        _refuse_queue(queue, there.queues.get(name), owner)
    for name, exchange in wanted.exchanges.items():
        if name in private:
            _refuse_private_exchange(exchange, there.exchanges.get(name), owner)
        else:
            _refuse_exchange(exchange, there.exchanges.get(name))


def _refuse_queue(want: Queue, have: Queue | None, owner: str) -> None:
    if have is None:
        _refuse_reserved("Queue", want.name)
        return
    _refuse_taken("Queue", have, owner)
    # Dead-letter queue and wall follow from the name of the queue; what a user may set concerns the queue alone.
    differences = _queue_differences(want, have) if DEAD_LETTER_KEY in want.arguments else _derived(want, have)
    _refuse_drift(f'Queue "{want.name}"', differences)


def _refuse_private_exchange(want: Exchange, have: Exchange | None, owner: str) -> None:
    if have is not None:
        _refuse_taken("Exchange", have, owner)
        _refuse_drift(f'Exchange "{want.name}"', _private_differences(want, have))


def _refuse_exchange(want: Exchange, have: Exchange | None) -> None:
    # Several TaskQueues may share the publishers' exchange: whose mark it carries does not matter, nor what else its
    # maker gave it, such as an alternate exchange.
    if have is None:
        _refuse_reserved("Exchange", want.name)
        return
    _refuse_drift(f'Exchange "{want.name}"', _exchange_differences(want, have))


def _refuse_reserved(kind: str, name: str) -> None:
    if name.startswith(RESERVED):
        raise TopologyFault(
            Reason.TOPOLOGY_REFUSED,
            f'{kind} "{name}" does not exist, and RabbitMQ keeps names that begin with {RESERVED} to itself. '
            f"Choose another spec.{kind.lower()}.name.",
            terminal=True,
        )


def _refuse_taken(kind: str, have: Exchange | Queue, owner: str) -> None:
    mark = have.arguments.get(OWNER_ARGUMENT)
    if mark is not None and mark != owner:
        installation, _, key = str(mark).partition("/")
        raise TopologyFault(
            Reason.NAME_CONFLICT,
            f'{kind} "{have.name}" belongs to TaskQueue {key} (installation {installation}). '
            "Choose another spec.queue.name.",
            terminal=True,
        )


def _refuse_drift(subject: str, differences: Iterator[str]) -> None:
    for first in differences:
        raise TopologyFault(Reason.IMMUTABLE_DRIFT, f"{subject} exists {first}", terminal=True)


def _queue_differences(want: Queue, have: Queue) -> Iterator[str]:
    wants, has = _type(want), _type(have)
    if wants != has:
        known = has.title() in list(QueueType)
        way = f"Set type: {has.title()}, or" if known else "Choose another spec.queue.name, or set"
        yield f"as {has}, spec.queue.type says {wants.title()}. {way} external: true to leave it as it is."
    yield from _lifetime(have, "a TaskQueue's queue", QUEUE_WAYS_OUT)
    asked, priority = want.arguments.get(MAX_PRIORITY), have.arguments.get(MAX_PRIORITY)
    if asked != priority:
        says = "is not set" if asked is None else f"says {asked}"
        way = "Remove maxPriority" if priority is None else f"Set maxPriority: {priority}"
        yield (
            f"{_with('maxPriority', priority)}, spec.queue.maxPriority {says}. "
            f"{way}, or external: true to leave it as it is."
        )
    yield from _arguments(want.arguments, have.arguments, "a TaskQueue's queue", QUEUE_WAYS_OUT)


def _derived(want: Queue, have: Queue) -> Iterator[str]:
    if _type(want) != _type(have):
        yield f"as {_type(have)}, and it has to be {_type(want)}. {DERIVED_WAYS_OUT}"
    yield from _lifetime(have, "it", DERIVED_WAYS_OUT)
    yield from _arguments(want.arguments, have.arguments, "it", DERIVED_WAYS_OUT)


def _private_differences(want: Exchange, have: Exchange) -> Iterator[str]:
    if want.type != have.type:
        yield f"as {have.type}, and it has to be {want.type}. {DERIVED_WAYS_OUT}"
    yield from _lifetime(have, "it", DERIVED_WAYS_OUT)
    yield from _arguments(want.arguments, have.arguments, "it", DERIVED_WAYS_OUT)


def _exchange_differences(want: Exchange, have: Exchange) -> Iterator[str]:
    if want.type != have.type:
        known = have.type.title() in list(ExchangeType)
        way = f"Set type: {have.type.title()}, or choose" if known else "Choose"
        yield f"as {have.type}, spec.exchange.type says {want.type.title()}. {way} another spec.exchange.name."
    yield from _lifetime(have, "a TaskQueue's exchange", EXCHANGE_WAYS_OUT)


def _lifetime(have: Exchange | Queue, subject: str, ways_out: str) -> Iterator[str]:
    if not have.durable:
        yield f"as transient (durable: false), {subject} must outlive a restart of the broker. {ways_out}"
    if have.auto_delete:
        yield f"with auto-delete, {subject} must outlive its last consumer or binding. {ways_out}"


def _arguments(want: Arguments, have: Arguments, subject: str, ways_out: str) -> Iterator[str]:
    """Compare what has no field of its own in the spec."""
    for name in sorted((want.keys() | have.keys()) - {QUEUE_TYPE, MAX_PRIORITY, OWNER_ARGUMENT}):
        if want.get(name) != have.get(name):
            yield f"{_with(name, have.get(name))}, {subject} is made {_with(name, want.get(name))}. {ways_out}"


def _with(name: str, value: Argument | None) -> str:
    if value is None:
        return f"without {name}"
    return f'with {name} "{value}"' if isinstance(value, str) else f"with {name} {value}"


def _type(queue: Queue) -> str:
    return str(queue.arguments.get(QUEUE_TYPE, "classic"))
