"""Checks that existing objects fit. A conflict is reported with the way out; an existing object is never changed."""

from collections.abc import Iterator, Sequence
from typing import Final

from taskqueue_operator.resource.exchange import ExchangeType
from taskqueue_operator.resource.faults import Reason, TopologyFault
from taskqueue_operator.resource.names import (
    CONTROL_PREFIX,
    DERIVED_SUFFIXES,
    OWNER_ARGUMENT,
    dead_letter_queue,
    quoted,
)
from taskqueue_operator.resource.queue import QueueType, SettingsBy
from taskqueue_operator.resource.shards import ROUTING_KEY

from .desired import (
    ALTERNATE_EXCHANGE,
    CHOSEN,
    CONSISTENT_HASH,
    DEAD_LETTER_KEY,
    DELIVERY_LIMIT,
    HASH_HEADER,
    queue_arguments,
)
from .objects import CLASSIC, QUEUE_TYPE, Argument, Arguments, Exchange, Policy, Queue, Topology

RESERVED_PREFIX: Final = "amq."
DERIVED_WAYS_OUT: Final = "Delete it if it is not needed, or choose another spec.queue.name."
CONTROL_WAYS_OUT: Final = (
    "The operator needs it for retries. Delete it, a queue only when it is empty: the operator declares it again."
)
EXCHANGE_WAYS_OUT: Final = "Delete the exchange if it is not needed, or choose another spec.exchange.name."


def check_conflicts(desired: Topology, actual: Topology, *, owner: str) -> None:
    """Compare each desired object with the existing object of the same name.

    Raises:
        TopologyFault: An object belongs to another TaskQueue, differs in properties that cannot change, or must not be
            created because its name is reserved. The message names all differences of the first such object.
    """
    private = {binding.source for binding in desired.bindings if binding.to_queue}
    for name, queue in desired.queues.items():
        _check_queue(queue, actual.queues.get(name), owner)
    for name, exchange in desired.exchanges.items():
        if name in private:
            _check_private_exchange(exchange, actual.exchanges.get(name), owner)
        else:
            _check_exchange(exchange, actual.exchanges.get(name), owner)
    check_surplus(desired, actual, owner)
    for name, policy in desired.policies.items():
        _check_policy(policy, actual.policies.get(name))


def check_surplus(desired: Topology, actual: Topology, owner: str) -> None:
    """Check that messages go only to shards of the spec: no worker consumes the others.

    Raises:
        TopologyFault: Another queue of this TaskQueue has a share of the messages.
    """
    entries = [binding for binding in desired.bindings if binding.to_queue]
    for private in sorted({entry.source for entry in entries if divides(desired, entry.source)}):
        fed = {binding.destination for binding in actual.bindings_from.get(private, ()) if binding.to_queue}
        owned = {name for name in fed if (queue := actual.queues.get(name)) and _owner(queue) == owner}
        if surplus := sorted(owned - desired.queues.keys()):
            count = len(owned | {entry.destination for entry in entries})
            raise TopologyFault(
                Reason.IMMUTABLE_DRIFT,
                f'Exchange "{private}" also leads to {quoted(surplus)}, and spec.queue.shards.count is {len(entries)}: '
                f"no worker would consume the messages there. Set spec.queue.shards.count: {count}, or choose another "
                "spec.queue.name.",
                terminal=True,
            )


def _check_queue(desired: Queue, actual: Queue | None, owner: str) -> None:
    if actual is None:
        _check_reserved("Queue", desired.name)
        return
    _check_owner("Queue", actual, owner)
    ways_out = _queue_ways_out(desired, actual) if _is_main(desired) else _derived_ways_out(desired.name)
    _check_drift(f'Queue "{desired.name}"', queue_differences(desired, actual), ways_out)


def queue_differences(desired: Queue, actual: Queue) -> Sequence[str]:
    """Return how an existing queue differs from the desired one in what cannot change; the owner does not count."""
    needed = _needed_arguments(desired, actual.type) if _is_main(desired) else _derived_arguments(desired, actual)
    return [*_lifetime_differences(actual), *_argument_differences(needed, actual.arguments)]


def _is_main(desired: Queue) -> bool:
    """Whether the spec sets the properties of a queue; those of dead-letter queue and fence follow from its name."""
    return not desired.name.startswith(CONTROL_PREFIX) and not desired.name.endswith(DERIVED_SUFFIXES)


def divides(desired: Topology, name: str) -> bool:
    """Whether a private exchange divides its messages among shards."""
    exchange = desired.exchanges.get(name)
    return exchange is not None and exchange.type == CONSISTENT_HASH


def _check_private_exchange(desired: Exchange, actual: Exchange | None, owner: str) -> None:
    if actual is not None:
        _check_owner("Exchange", actual, owner)
        differences = [*_exchange_differences(desired, actual)]
        differences += _argument_differences(desired.arguments, actual.arguments)
        _check_drift(f'Exchange "{desired.name}"', differences, _private_ways_out(desired, actual))


def _private_ways_out(desired: Exchange, actual: Exchange) -> str:
    """Return the spec that fits an existing private exchange, which leads to a queue or to shards."""
    if CONSISTENT_HASH not in {desired.type, actual.type} or not actual.durable or actual.auto_delete:
        return _derived_ways_out(desired.name)
    hash_on = actual.arguments.get(HASH_HEADER, ROUTING_KEY)
    fits = f"Set spec.queue.shards.hashOn: {hash_on}" if actual.type == CONSISTENT_HASH else "Remove spec.queue.shards"
    return f"{fits}, which fits the exchange as it is, or choose another spec.queue.name."


def _check_exchange(desired: Exchange, actual: Exchange | None, owner: str) -> None:
    # Several TaskQueues may share the publishers' exchange. So its owner does not matter, nor do arguments that this
    # TaskQueue does not set.
    if desired.name.endswith(DERIVED_SUFFIXES):
        check_not_private(desired.name, actual, owner)
    if actual is None:
        _check_reserved("Exchange", desired.name)
        return
    differences = [*_exchange_differences(desired, actual), *_alternate_differences(desired, actual)]
    _check_drift(f'Exchange "{desired.name}"', differences, _exchange_ways_out(desired, actual))


def _exchange_ways_out(desired: Exchange, actual: Exchange) -> str:
    """Return the spec that fits an existing exchange as it is."""
    known = ExchangeType.of(actual.type)
    if known is None or not actual.durable or actual.auto_delete:
        return EXCHANGE_WAYS_OUT
    fields = [f"set spec.exchange.type: {known}"] if actual.type != desired.type else []
    if any(_alternate_differences(desired, actual)):
        found = actual.arguments.get(ALTERNATE_EXCHANGE)
        fields.append(f"{'remove' if found is None else 'correct'} spec.exchange.alternateExchange")
    way = " and ".join(fields)
    return f"{way[:1].upper()}{way[1:]}, or choose another spec.exchange.name."


def _alternate_differences(desired: Exchange, actual: Exchange) -> Iterator[str]:
    needed, found = (item.arguments.get(ALTERNATE_EXCHANGE) for item in (desired, actual))
    if needed not in {None, found}:
        yield f"{ALTERNATE_EXCHANGE} is {_shown(found)}, not {_shown(needed)}"


def check_not_private(name: str, actual: Exchange | None, owner: str, *, field: str = "spec.exchange.name") -> None:
    """Refuse the private exchange of a TaskQueue: two that feed each other would send messages in circles.

    Raises:
        TopologyFault: It is one, or would be one.
    """
    if actual is not None:
        _check_owner("Exchange", actual, owner, field=field)
        if OWNER_ARGUMENT not in actual.arguments:
            return
    raise TopologyFault(
        Reason.NAME_CONFLICT,
        f'Exchange "{name}": the operator derives names that end in {", ".join(DERIVED_SUFFIXES)} from names of '
        f"queues. Choose another {field}.",
        terminal=True,
    )


def _check_policy(desired: Policy, actual: Policy | None) -> None:
    """Refuse to overwrite the policy of a user. A policy has no owner, but those of the operator match one name."""
    if actual is not None and (actual.pattern, actual.apply_to) != (desired.pattern, desired.apply_to):
        raise TopologyFault(
            Reason.POLICY_CONFLICT,
            f'Policy "{desired.name}" exists and applies to {actual.apply_to} that match "{actual.pattern}", and the '
            "operator needs a policy of this name. Give the existing policy another name, or choose another "
            "spec.queue.name.",
            terminal=True,
        )


def _check_reserved(kind: str, name: str) -> None:
    if name.startswith(RESERVED_PREFIX):
        raise TopologyFault(
            Reason.TOPOLOGY_REFUSED,
            f'{kind} "{name}" does not exist, and RabbitMQ reserves names that begin with "{RESERVED_PREFIX}". '
            f"Choose another spec.{kind.lower()}.name.",
            terminal=True,
        )


def _check_owner(kind: str, actual: Exchange | Queue, owner: str, *, field: str = "spec.queue.name") -> None:
    found = actual.arguments.get(OWNER_ARGUMENT)
    if found is not None and found != owner:
        installation, _, key = str(found).partition("/")
        raise TopologyFault(
            Reason.NAME_CONFLICT,
            f'{kind} "{actual.name}" belongs to TaskQueue {key} (installation {installation}). Choose another {field}.',
            terminal=True,
        )


def _check_drift(subject: str, differences: Sequence[str], ways_out: str) -> None:
    if differences:
        raise TopologyFault(
            Reason.IMMUTABLE_DRIFT,
            f"{subject} exists and differs in what cannot change: {'; '.join(differences)}. {ways_out}",
            terminal=True,
        )


def _needed_arguments(desired: Queue, type_: str) -> Arguments:
    """Return the desired type, and the other arguments as a queue of the actual type has them: they follow from it."""
    settings_by = SettingsBy.ARGUMENTS if DEAD_LETTER_KEY in desired.arguments else SettingsBy.POLICY
    arguments = queue_arguments(_dead_letters(desired), type_, _chosen(desired), settings_by)
    return arguments | {QUEUE_TYPE: desired.type}


def _derived_ways_out(name: str) -> str:
    return CONTROL_WAYS_OUT if name.startswith(CONTROL_PREFIX) else DERIVED_WAYS_OUT


def _derived_arguments(desired: Queue, actual: Queue) -> Arguments:
    """Return the desired arguments with those that the queue keeps from its first declaration.

    Its delivery limit: an earlier version declared none. And the type of a dead-letter queue: when the main queue is
    replaced by one of another type, its dead letters stay.
    """
    kept = {DELIVERY_LIMIT}
    if desired.name.endswith(dead_letter_queue("")) and OWNER_ARGUMENT in actual.arguments:
        kept.add(QUEUE_TYPE)
    others = {name: value for name, value in desired.arguments.items() if name not in kept}
    return others | {name: value for name, value in actual.arguments.items() if name in kept}


def _queue_ways_out(desired: Queue, actual: Queue) -> str:
    """Return the spec that fits an existing queue as it is: a queue like those of the operator, or an external one."""
    if actual.type.title() not in list(QueueType):
        return "Choose another spec.queue.name."
    dead_letters = _dead_letters(desired)
    if dead_letters != dead_letter_queue(desired.name):
        fits = [
            f"This fits the shard as it is: spec.queue: {{{fields}}}. Or choose"
            for fields in _fitting_fields(dead_letters, actual)
        ]
        return f"{(*fits, 'Choose')[0]} another spec.queue.name, or delete the shard when it is empty."
    fields = next(_fitting_fields(dead_letters, actual), "external: true")
    replaced = "set spec.queue.changePolicy: Migrate to replace it, " if OWNER_ARGUMENT in actual.arguments else ""
    return (
        f'This fits the queue as it is: spec.queue: {{name: "{actual.name}", {fields}}}. '
        f"Or {replaced}choose another spec.queue.name, or delete the queue when it is empty."
    )


def _dead_letters(desired: Queue) -> str:
    """Return the name of the dead-letter queue of a queue; all shards of a queue share one."""
    return str(desired.arguments.get(DEAD_LETTER_KEY, dead_letter_queue(desired.name)))


def _owner(queue: Queue) -> object:
    return queue.arguments.get(OWNER_ARGUMENT)


def _fitting_fields(dead_letters: str, actual: Queue) -> Iterator[str]:
    """Return the fields of spec.queue with which the operator would declare a queue like the existing one."""
    type_, chosen = actual.type, _chosen(actual)
    for settings_by in SettingsBy:
        needed = queue_arguments(dead_letters, type_, chosen, settings_by)
        if any((*_argument_differences(needed, actual.arguments), *_lifetime_differences(actual))):
            continue
        fields = [f"type: {type_.title()}", *(f"{CHOSEN[name]}: {_shown(chosen[name])}" for name in chosen)]
        if settings_by is not SettingsBy.ARGUMENTS:
            fields.append(f"settingsBy: {settings_by}")
        yield ", ".join(fields)


def _chosen(queue: Queue) -> Arguments:
    return {name: queue.arguments[name] for name in CHOSEN if queue.arguments.get(name)}


def _exchange_differences(desired: Exchange, actual: Exchange) -> Iterator[str]:
    if desired.type != actual.type:
        yield f"type is {actual.type}, not {desired.type}"
    yield from _lifetime_differences(actual)


def _lifetime_differences(actual: Exchange | Queue) -> Iterator[str]:
    if not actual.durable:
        yield "it is not durable"
    if actual.auto_delete:
        yield "auto-delete is true, not false"


def _argument_differences(desired: Arguments, actual: Arguments) -> Iterator[str]:
    for name in sorted((desired.keys() | actual.keys()) - {OWNER_ARGUMENT}):
        # A queue without the argument is classic.
        default = CLASSIC if name == QUEUE_TYPE else None
        found, needed = actual.get(name, default), desired.get(name, default)
        if found != needed:
            yield f"{name} is {_shown(found)}, not {_shown(needed)}"


def _shown(value: Argument | None) -> str:
    if value is None:
        return "absent"
    return f'"{value}"' if isinstance(value, str) else str(value).lower()
