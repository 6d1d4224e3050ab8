"""Moves publishers from one queue to another behind their private exchange, with neither gap nor overlap. Pure.

    <queue>.in --> <queue>
    <queue>.in --> <queue>          alternate exchange --> interim queue: RabbitMQ does not use it yet
    <queue>.in                      alternate exchange --> interim queue: RabbitMQ uses it
    <queue>.in --> interim queue    alternate exchange: removed

The way back is the same with the two queues exchanged.
"""

from dataclasses import dataclass
from typing import Self

from taskqueue_operator.resource.faults import Fault, Reason
from taskqueue_operator.resource.names import OWNER_ARGUMENT, interim_queue, private_exchange

from .diff import Remove, Step, diff, owned_existing
from .objects import POLICY_PRIORITY, Binding, Exchange, Policy, Queue, Topology, exact_pattern


@dataclass(frozen=True, slots=True)
class Switch:
    """The two queues behind a private exchange, and what moves publishers from one to the other."""

    private: str
    main: Queue
    interim: Queue
    owner: str

    @classmethod
    def of(cls, desired: Topology, owner: str) -> Self:
        """Return the switch of the queue that one TaskQueue declares."""
        (entry,) = (binding for binding in desired.bindings if binding.source == private_exchange(binding.destination))
        main = desired.queues[entry.destination]
        arguments = {**main.arguments, OWNER_ARGUMENT: owner}
        return cls(entry.source, main, Queue(interim_queue(main.name), arguments=arguments), owner)

    def entry(self, queue: Queue) -> Binding:
        """Return the binding from the private exchange to a queue."""
        return Binding(self.private, queue.name, to_queue=True)

    def alternate(self, queue: Queue) -> Topology:
        """Return what routes to a queue while the private exchange is bound to none."""
        name, pattern = self.interim.name, exact_pattern(self.private)
        return Topology(
            exchanges={name: Exchange(name, "fanout", arguments={OWNER_ARGUMENT: self.owner})},
            bindings=frozenset({Binding(name, queue.name, to_queue=True)}),
            policies={name: Policy(name, pattern, "exchanges", {"alternate-exchange": name})},
        )

    def bound(self, actual: Topology) -> list[Queue]:
        """Return the queues that the private exchange is bound to."""
        return [queue for queue in (self.main, self.interim) if self.entry(queue) in actual.bindings]

    def steps(self, target: Queue, actual: Topology) -> tuple[Step, ...]:
        """Return the next steps that move publishers to a queue: its alternate exchange, and then the unbinding.

        RabbitMQ routes to the alternate exchange only while the private exchange is bound to no queue. So it is
        prepared while the other queue is bound. That binding is removed only after the broker lists the policy as the
        one in effect.
        """
        alternate = self.alternate(target)
        stale = set(actual.bindings_from.get(self.interim.name, ())) - alternate.bindings
        prepared = (*map(Remove, stale), *diff(alternate, actual, owner=self.owner))
        if prepared:
            return prepared
        applied = actual.exchanges[self.private].policy
        if applied != self.interim.name:
            raise Fault(
                Reason.POLICY_CONFLICT,
                f'The migration waits: RabbitMQ applies policy "{applied}" to exchange "{self.private}", not '
                f'"{self.interim.name}", which leads publishers to the other queue. Lower its priority below '
                f"{POLICY_PRIORITY}, or its apply-to to queues; or remove spec.queue.changePolicy to keep the queue.",
            )
        return tuple(Remove(self.entry(queue)) for queue in self.bound(actual))

    def ending(self, target: Queue, actual: Topology) -> tuple[Step, ...]:
        """Return the steps that remove what has moved publishers; the target is bound."""
        others = [self.entry(queue) for queue in self.bound(actual) if queue != target]
        return tuple(map(Remove, (*others, *owned_existing(self.alternate(target), actual, self.owner))))
