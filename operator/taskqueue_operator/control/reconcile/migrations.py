"""The migrations of queues: what they need to know beside the topology, and what follows for readings and workers."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from taskqueue_operator.control.cache import Cache
from taskqueue_operator.control.queue_observer import QueueObserver
from taskqueue_operator.control.state import States
from taskqueue_operator.resource.names import Key, interim_queue, owner
from taskqueue_operator.resource.taskqueue import TaskQueue
from taskqueue_operator.topology.desired import desired as desired_topology
from taskqueue_operator.topology.diff import is_owned
from taskqueue_operator.topology.migration import Migration, Observed, Requested, has_begun, is_replaceable, migration
from taskqueue_operator.topology.objects import Topology


@dataclass(frozen=True, slots=True)
class Migrations:
    """Decides the next steps of the migration of a queue, and records its progress."""

    cache: Cache
    states: States
    installation: str

    def is_due(self, taskqueue: TaskQueue, actual: Topology) -> bool:
        """Whether a migration has begun, or is to begin."""
        mark, replaces = owner(self.installation, taskqueue.key), taskqueue.replaces_queue and not taskqueue.deleting
        if taskqueue.declared_queues != (taskqueue.queue_name,):  # neither external queues nor shards are replaced
            return False
        has_to_begin = replaces and is_replaceable(desired_topology(taskqueue, self.installation), mark, actual)
        return has_to_begin or has_begun(taskqueue.queue_name, mark, actual)

    def find(
        self, taskqueue: TaskQueue, desired: Topology, actual: Topology, observer: QueueObserver | None = None
    ) -> Migration | None:
        """Return the migration of a queue; None if there is none.

        Args:
            taskqueue: The TaskQueue; one that is being deleted, or has no `changePolicy`, aborts its migration.
            desired: The objects that it declares, with the policies of both queues.
            actual: All objects of the vhost.
            observer: Shows which queues are empty; without it, none is.

        Raises:
            TopologyFault: A migration cannot begin.
        """
        requested = Requested(
            desired,
            owner(self.installation, taskqueue.key),
            replaces=taskqueue.replaces_queue and not taskqueue.deleting,
            retries=taskqueue.delays_retries,
            broker_delays=taskqueue.broker_delays_retries,
            is_limited=taskqueue.queue.has_length_limit,
        )
        return migration(requested, actual, self._observed(taskqueue, observer))

    def find_interim(self, taskqueue: TaskQueue, actual: Topology) -> None:
        """Record whether the broker has an interim queue: it is read as long as it exists."""
        name = interim_queue(taskqueue.queue_name)
        is_ours = is_owned(actual.queues.get(name), owner(self.installation, taskqueue.key))
        self.states[taskqueue.key].reconcile.interim_queue = name if is_ours else None

    def record(self, taskqueue: TaskQueue, found: Migration | None, observer: QueueObserver) -> None:
        """Record the progress.

        Only samples that are younger than the last binding to it show that the leaving queue is empty.
        """
        state = self.states[taskqueue.key].reconcile
        before, state.migration = state.migration, found
        if found is not None and found.is_unbound and not _is_leaving(before, found.leaving):
            observer.discard_samples(found.leaving)

    def has_interim(self, key: Key) -> bool:
        """Whether the broker has an interim queue for a TaskQueue."""
        return self.states[key].reconcile.interim_queue is not None

    def has_declared(self, key: Key) -> bool:
        """Whether the broker has what the workers need: nothing is left to do at once."""
        found = self.states[key].reconcile.migration
        return found is None or not found.steps

    def of_workers(self, taskqueue: TaskQueue) -> TaskQueue:
        """Return the TaskQueue as its workers are to see it: with the interim queue as long as they consume it."""
        found = self.states[taskqueue.key].reconcile.migration
        return replace(taskqueue, is_migrating=found is not None and len(found.queues) > 1)

    def _observed(self, taskqueue: TaskQueue, observer: QueueObserver | None) -> Observed:
        main, interim = taskqueue.queue_name, interim_queue(taskqueue.queue_name)
        # The template of a TaskQueue that is being deleted changes no more: its workers do without the interim queue.
        consumers = [] if taskqueue.deleting else list(self._consume_interim(taskqueue))
        before = self.states[taskqueue.key].reconcile.migration
        empty = [queue for queue in (main, interim) if _is_leaving(before, queue) and _is_empty(queue, observer)]
        return Observed(
            consumed_by_all={main, interim} if consumers and all(consumers) else {main},
            consumed_by_any={main, interim} if any(consumers) else {main},
            empty=empty,
        )

    def _consume_interim(self, taskqueue: TaskQueue) -> Iterator[bool]:
        """Return of the template, and of each pod that may run, whether it consumes the interim queue."""
        deployment = self.cache.deployment(taskqueue.key)
        if deployment is not None and deployment.owner_uid == taskqueue.uid:
            yield bool(deployment.interim_queue)
        yield from (bool(pod.interim_queue) for pod in self.cache.pods(taskqueue.key) if not pod.finished)


def _is_leaving(found: Migration | None, queue: str) -> bool:
    """Whether a queue gets no new messages, and its samples say so."""
    return found is not None and found.is_unbound and found.leaving == queue


def _is_empty(queue: str, observer: QueueObserver | None) -> bool:
    """Whether a queue certainly holds no message in any state."""
    if observer is None or not observer.reading(queue).is_empty:
        return False
    # After the queue: a retry that returns to it is counted until the queue shows it.
    return observer.delayed(queue) == 0 and not observer.has_overdue_retries
