"""The steps that delete the topology of a TaskQueue: first the fence, then the removal of all owned objects.

Each function computes the next steps from the actual topology alone. So a deletion continues after a crash at any step.
"""

from collections.abc import Collection, Iterator
from operator import attrgetter
from typing import TypeGuard

from taskqueue_operator.resource.faults import Fault, Reason
from taskqueue_operator.resource.names import DERIVED_SUFFIXES, RETURN_EXCHANGES, private_exchange

from .celery_delays import parking_steps
from .conflict import check_surplus
from .diff import Declare, Remove, Step, diff, is_of_installation, is_owned, owned_existing
from .fence import fence_topology
from .objects import POLICY_PRIORITY, Binding, Exchange, Topology
from .queue_policies import main_policy, queue_policies
from .queue_settings import settings_requirement
from .retry_path import landing


def fence_steps(desired: Topology, actual: Topology, *, owner: str) -> tuple[Step, ...]:
    """Return the next steps until all publishers get nacks; none when they do.

    Call it again with the topology read after each round, until it returns no step. The queue, or each shard, is
    unbound only after the broker lists the fence as the policy that it applies: otherwise it would confirm and drop
    messages. If another policy displaces the fence later, the queue is bound again.

    Raises:
        TopologyFault: An object with the name of the fence exists and is not owned; or there are more shards than the
            spec has.
        Fault: Another policy displaces the fence and the queue is bound, or another exchange is bound to the queue.
    """
    check_surplus(desired, actual, owner)
    entries = tuple(_owned_entry_bindings(desired, actual, owner))
    if entries:
        private = entries[0].source
        fence = fence_topology(_queue_of(private), owner)
        bound = tuple(entry for entry in entries if entry in actual.bindings)
        in_effect = _applies(fence, private, actual)
        if not (in_effect or bound):
            return tuple(map(Declare, entries))
        if missing := diff(fence, actual, owner=owner):
            return missing
        if not in_effect:
            raise _displaced(private, actual)
        if bound:
            return tuple(map(Remove, bound))
    for queue in (binding.destination for binding in desired.bindings if binding.to_queue):
        _check_bypass(queue, actual, owner)
    return ()


def _check_bypass(queue: str, actual: Topology, owner: str) -> None:
    """Check that nothing but retries reaches a queue that is to be deleted; its private exchange is unbound before."""
    sources = {binding.source for binding in actual.bindings_to_queue.get(queue, ())}
    others = sorted(sources - RETURN_EXCHANGES)
    if others and is_owned(actual.queues.get(queue), owner):
        raise Fault(
            Reason.DELETING,
            f'Deletion waits: exchange "{others[0]}" is bound to queue "{queue}", past the fence that refuses '
            "publishers. Remove this binding; or set deletionPolicy: Retain to keep the queue or Delete to delete it.",
        )


def is_fenced(desired: Topology, actual: Topology, *, owner: str) -> bool:
    """Whether no message can reach the queue through a binding that the operator made."""
    return not any(binding in actual.bindings for binding in _owned_entry_bindings(desired, actual, owner))


def _applies(fence: Topology, exchange: str, actual: Topology) -> bool:
    """Whether the broker lists the policy of the fence as the one that it applies to the private exchange."""
    name = actual.exchanges[exchange].policy or ""
    return name in fence.policies and actual.policies.get(name) == fence.policies[name]


def _displaced(exchange: str, actual: Topology) -> Fault:
    name = actual.exchanges[exchange].policy
    policy = actual.policies.get(name or "")
    priority = f" of priority {policy.priority}" if policy is not None else ""
    applied = f'policy "{name}"{priority}' if name is not None else "no policy"
    return Fault(
        Reason.POLICY_CONFLICT,
        f'Deletion waits: RabbitMQ applies {applied} to exchange "{exchange}", not the fence that refuses publishers. '
        f"Lower its priority below {POLICY_PRIORITY}, or its apply-to to queues; or set deletionPolicy: Retain.",
    )


def removal_steps(desired: Topology, actual: Topology, *, owner: str) -> tuple[Step, ...]:
    """Return the steps that remove all owned objects; none when nothing is left.

    Queues go first, while the fence still rejects publishes; what Celery delays for them is parked from then on. Then
    the exchanges go, with their bindings, and the fence goes last. Queues are removed with their messages: the caller
    must check first that each of them may be deleted.

    Raises:
        TopologyFault: There are more shards than the spec has.
    """
    check_surplus(desired, actual, owner)
    entry_bindings = [binding for binding in desired.bindings if binding.to_queue]
    private = {binding.source for binding in entry_bindings}
    queues = [binding.destination for binding in entry_bindings]
    before = (
        Topology(queues=desired.queues),
        *(Topology(queues=landing(queue, owner)) for queue in queues),
    )
    after = (
        Topology(exchanges={name: item for name, item in desired.exchanges.items() if name in private}),
        *(fence_topology(_queue_of(name), owner) for name in private),
    )
    removed = (
        *(item for topology in before for item in owned_existing(topology, actual, owner)),
        *_no_longer_shared({binding.source for binding in desired.bindings} - private, actual, owner),
        *(item for topology in after for item in owned_existing(topology, actual, owner)),
        *(policy for name in private for policy in queue_policies(_queue_of(name), actual, queues)),
    )
    owned = (queue for queue in queues if is_owned(actual.queues.get(queue), owner))
    return (*(step for queue in owned for step in parking_steps(queue, actual)), *map(Remove, removed))


def _queue_of(private: str) -> str:
    """Return the name of the queue that the name of a private exchange is derived from."""
    return private.removesuffix(private_exchange(""))


def retaining_steps(queue: str, actual: Topology, shards: Collection[str] = ()) -> tuple[Step, ...]:
    """Return the steps that give a queue back to the policies of its users; what keeps rejected messages stays.

    Raises:
        TopologyFault: Another policy displaces what keeps them.
    """
    policies = queue_policies(queue, actual, shards)
    settings = settings_requirement(queue, queue, (), actual)
    kept = main_policy(queue, [settings], actual) if policies and settings is not None else None
    declared = [Declare(kept)] if kept is not None and kept not in policies else []
    return (*declared, *(Remove(policy) for policy in policies if kept is None or policy.name != kept.name))


def _owned_entry_bindings(desired: Topology, actual: Topology, owner: str) -> Iterator[Binding]:
    """The desired bindings from an owned private exchange to its physical queue, or those of its shards that exist."""
    for binding in sorted(desired.bindings, key=attrgetter("destination")):
        private = actual.exchanges.get(binding.source)
        if binding.to_queue and is_owned(private, owner) and binding.destination in actual.queues:
            yield binding


def _no_longer_shared(names: Collection[str], actual: Topology, owner: str) -> Iterator[Exchange]:
    """The publishers' exchanges that are bound to owned objects only, or to none.

    An exchange that several TaskQueues share goes with the last of them, no matter which of them has created it.
    """
    for name in names:
        exchange = actual.exchanges.get(name)
        destinations = (
            (actual.queues if binding.to_queue else actual.exchanges).get(binding.destination)
            for binding in actual.bindings_from.get(name, ())
        )
        if _may_be_removed(exchange, owner) and all(is_owned(item, owner) for item in destinations):
            yield exchange


def _may_be_removed(exchange: Exchange | None, owner: str) -> TypeGuard[Exchange]:
    """Whether this TaskQueue, or another one as an exchange for publishers, has created an exchange."""
    is_derived = exchange is not None and exchange.name.endswith(DERIVED_SUFFIXES)
    return is_owned(exchange, owner) if is_derived else is_of_installation(exchange, owner)
