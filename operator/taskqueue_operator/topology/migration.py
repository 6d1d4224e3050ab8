"""Replaces a queue whose arguments cannot change, while publishers and workers continue. Pure.

    <queue>.in --> <queue> (old)     interim queue: declared, then consumed by all workers
    <queue>.in --> interim queue     <queue> (old): emptied by the workers, then deleted
    <queue>.in --> <queue> (new)     interim queue: emptied by the workers, consumed by none, then deleted

The migration follows from the spec and the broker alone (docs/adr/0019), so it continues after a crash at any step.
Publishers go to the queue of the spec if it fits or does not exist, and otherwise to the interim queue. The other one
of the two is *leaving*. An abort is the same as the second half.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from taskqueue_operator.resource.faults import Fault, Reason, TopologyFault
from taskqueue_operator.resource.names import RETURN_EXCHANGE, interim_queue
from taskqueue_operator.resource.queue import QueueType

from .conflict import queue_differences
from .diff import Declare, Remove, Step, diff, is_owned, owned_existing
from .objects import Queue, Topology
from .opening import not_applied
from .queue_policies import queue_policies
from .queue_settings import keeps_rejected
from .retry_path import landing, retry_steps
from .switch import Switch


class Stage(StrEnum):
    """What a migration does now."""

    DECLARING = "Declaring"
    """A queue, or what leads to it, is not declared yet."""
    ROLLING_OUT = "RollingOut"
    """It waits until all workers consume both queues."""
    SWITCHING = "Switching"
    """Publishers go to the other queue."""
    EMPTYING = "Emptying"
    """It waits until the leaving queue is empty."""
    ROLLING_BACK = "RollingBack"
    """It waits until no worker consumes the interim queue."""
    DELETING = "Deleting"
    """The leaving queue is deleted."""


@dataclass(frozen=True, slots=True)
class Requested:
    """What the spec asks for.

    Attributes:
        desired: The objects that one TaskQueue declares.
        owner: The value of the owner argument of that TaskQueue.
        replaces: Whether a queue that differs is replaced (`changePolicy: Migrate`). Otherwise the queue stays as it
            is, and a migration that has begun is aborted.
        retries: Whether workers delay retries, which return to the queue where they failed.
        broker_delays: Whether the broker delays failed messages, which no classic queue does.
        is_limited: Whether the spec limits the length of the queue.
    """

    desired: Topology
    owner: str
    replaces: bool
    retries: bool
    broker_delays: bool = False
    is_limited: bool = False


@dataclass(frozen=True, slots=True)
class Observed:
    """What is not in the topology.

    Attributes:
        consumed_by_all: Queues that the pod template and all running workers consume.
        consumed_by_any: Queues that the pod template or any running worker consumes.
        empty: Queues that certainly hold no message in any state: ready, unacked, deferred, delayed until a retry. All
            samples are younger than the topology.
    """

    consumed_by_all: Collection[str] = ()
    consumed_by_any: Collection[str] = ()
    empty: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Migration:
    """The progress of a migration, and its next steps.

    Attributes:
        stage: What it does now.
        receiving: Queue that publishers go to at the end of these steps, or after the wait.
        leaving: Queue that is deleted when it is empty.
        queues: Queues that workers are to consume.
        steps: The next steps, in working order; none while it waits. After each of them, and before, each message that
            is published to the private exchange is routed to exactly one of the two queues.
        obstacle: Why it cannot go on; None if it can, or only waits.
    """

    stage: Stage
    receiving: str
    leaving: str
    queues: tuple[str, ...]
    steps: tuple[Step, ...] = ()
    obstacle: Fault | None = None

    @property
    def is_unbound(self) -> bool:
        """Whether the leaving queue gets no new messages any more."""
        return self.stage in {Stage.EMPTYING, Stage.ROLLING_BACK, Stage.DELETING}


def migration(requested: Requested, actual: Topology, observed: Observed) -> Migration | None:
    """Return the progress and the next steps of a migration; None if there is none, and `diff` decides.

    Call it again with the topology read after each round.

    Args:
        requested: What the spec asks for.
        actual: All objects of the vhost.
        observed: What the workers consume, and which queues are empty.

    Raises:
        TopologyFault: A migration cannot begin.
    """
    switch = Switch.of(requested.desired, requested.owner)
    to_interim = requested.replaces and is_replaceable(requested.desired, requested.owner, actual)
    if not to_interim and not has_begun(switch.main.name, requested.owner, actual):
        return None
    if to_interim:
        _check_beginning(requested, switch, actual)
    target, leaving = (switch.interim, switch.main) if to_interim else (switch.main, switch.interim)
    queues = switch.main.name, switch.interim.name
    try:
        found = _switched(requested, switch, target, actual, observed) or _deleted(switch, leaving, actual, observed)
    except Fault as obstacle:
        return Migration(Stage.SWITCHING, target.name, leaving.name, queues, obstacle=obstacle)
    if found is None:
        return None
    stage, steps = found
    consumes_both = to_interim or stage not in {Stage.ROLLING_BACK, Stage.DELETING}
    return Migration(stage, target.name, leaving.name, queues if consumes_both else queues[:1], steps)


def removal_of_interim(desired: Topology, owner: str, actual: Topology) -> tuple[Step, ...]:
    """Return the steps that delete the interim queue with all its messages, and what leads to it."""
    switch = Switch.of(desired, owner)
    alternate = map(Remove, owned_existing(switch.alternate(switch.interim), actual, owner))
    return (*alternate, *_removals(switch, switch.interim, actual))


def has_begun(queue: str, owner: str, actual: Topology) -> bool:
    """Whether the broker shows an object of a migration of a queue."""
    name = interim_queue(queue)
    found = (actual.queues.get(name), actual.exchanges.get(name))
    return name in actual.policies or any(is_owned(item, owner) for item in found)


def _switched(
    requested: Requested, switch: Switch, target: Queue, actual: Topology, observed: Observed
) -> tuple[Stage, tuple[Step, ...]] | None:
    """Return the steps until all publishers go to the target; None when they do."""
    if steps := _declarations(requested, switch, target, actual):
        return Stage.DECLARING if switch.bound(actual) else Stage.SWITCHING, steps
    if switch.entry(target) in actual.bindings:
        steps = switch.ending(target, actual)
        return (Stage.SWITCHING, steps) if steps else None
    if not keeps_rejected(actual.queues[target.name], switch.main.name, actual):
        raise not_applied(actual.queues[target.name])
    if target == switch.interim and not {switch.main.name, target.name} <= set(observed.consumed_by_all):
        return Stage.ROLLING_OUT, ()
    return Stage.SWITCHING, switch.steps(target, actual)


def _deleted(
    switch: Switch, leaving: Queue, actual: Topology, observed: Observed
) -> tuple[Stage, tuple[Step, ...]] | None:
    """Return the steps until the leaving queue is deleted; None when it does not exist."""
    if leaving.name not in actual.queues:
        return None
    _check_bypass(leaving.name, actual)
    if leaving.name not in observed.empty:
        return Stage.EMPTYING, ()
    if leaving == switch.interim and leaving.name in observed.consumed_by_any:
        return Stage.ROLLING_BACK, ()
    return Stage.DELETING, tuple(_removals(switch, leaving, actual))


def is_replaceable(desired: Topology, owner: str, actual: Topology) -> bool:
    """Whether the queue differs and is the operator's own; an existing queue of a user is never replaced."""
    switch = Switch.of(desired, owner)
    found, private = actual.queues.get(switch.main.name), actual.exchanges.get(switch.private)
    return (
        found is not None
        and is_owned(found, switch.owner)
        and (private is None or is_owned(private, switch.owner))
        and bool(queue_differences(switch.main, found))
    )


def _check_beginning(requested: Requested, switch: Switch, actual: Topology) -> None:
    old = actual.queues[switch.main.name]
    if requested.broker_delays and old.type != QueueType.QUORUM.lower():
        raise TopologyFault(
            Reason.IMMUTABLE_DRIFT,
            f'Queue "{old.name}" is not of type Quorum, so RabbitMQ would return its failed messages without a delay '
            "during the migration. Change spec.queue.type first, with spec.retry.backoff.type: Exponential; set Linear "
            "when the migration has ended.",
            terminal=True,
        )
    found = actual.queues.get(switch.interim.name)
    if found is not None and not is_owned(found, switch.owner):
        raise TopologyFault(
            Reason.NAME_CONFLICT,
            f'Queue "{found.name}" belongs to another client, and the migration of queue "{switch.main.name}" '
            "needs it. Delete it when it is empty, or remove spec.queue.changePolicy to keep the queue.",
            terminal=True,
        )


def _declarations(requested: Requested, switch: Switch, target: Queue, actual: Topology) -> tuple[Step, ...]:
    """Return the steps that complete what is not switched: the target, and all objects but the two queues."""
    if target.name not in actual.queues:
        return (Declare(target),)
    desired, bound = requested.desired, switch.bound(actual)
    receiver = target if target in bound or not bound else bound[0]
    others = {name: queue for name, queue in desired.queues.items() if name != switch.main.name}
    bindings = desired.bindings - {switch.entry(switch.main)} | {switch.entry(receiver)}
    steps = diff(replace(desired, queues=others, bindings=bindings), actual, owner=switch.owner)
    existing = [queue.name for queue in (switch.main, switch.interim) if queue.name in actual.queues]
    paths = (
        retry_steps(name, actual, owner=switch.owner, is_limited=requested.is_limited)
        for name in existing
        if requested.retries
    )
    # The retry paths of both queues share objects of the vhost.
    return tuple(dict.fromkeys((*steps, *(step for path in paths for step in path))))


def _removals(switch: Switch, leaving: Queue, actual: Topology) -> Iterator[Step]:
    """Return the removal of a queue; the queue goes last, since it shows that the migration has not ended."""
    if leaving == switch.interim:
        yield from map(Remove, queue_policies(leaving.name, actual))
    removed = Topology(queues={**landing(leaving.name, switch.owner), leaving.name: leaving})
    yield from map(Remove, owned_existing(removed, actual, switch.owner))


def _check_bypass(queue: str, actual: Topology) -> None:
    """Check that nothing but retries reaches the leaving queue."""
    others = sorted({binding.source for binding in actual.bindings_to_queue.get(queue, ())} - {RETURN_EXCHANGE})
    if others:
        raise Fault(
            Reason.IMMUTABLE_DRIFT,
            f'The migration waits: exchange "{others[0]}" is bound to queue "{queue}", which is deleted when it is '
            "empty. Bind it to the private exchange instead, and remove this binding; or remove "
            "spec.queue.changePolicy to keep the queue.",
        )
