"""What reconcile has found and done for one TaskQueue. Written by reconcile."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from taskqueue_operator.resource.conditions import ConditionType
from taskqueue_operator.resource.faults import Fault
from taskqueue_operator.topology.migration import Migration
from taskqueue_operator.topology.objects import Policy, Topology


class Restoration(NamedTuple):
    """The operator has set fields of the Deployment again that another client had changed.

    Attributes:
        at: When it did.
        times: How often in a row.
        message: Which fields, and who had changed them.
    """

    at: datetime
    times: int
    message: str


class Repair(NamedTuple):
    """The operator has repaired a topology that had drifted.

    Attributes:
        number: How many times it has done so.
        message: What had drifted.
    """

    number: int
    message: str


@dataclass(slots=True)
class ReconcileState:
    """The outcome of the reconcile stages.

    Attributes:
        observed_generation: The last generation for which all stages ran, with or without faults.
        topology_generation: The generation whose topology was last found on the broker; None requests a check.
        declared_generation: The same, whether a check is requested or not: what of it is missing now has drifted. 0 if
            there is none on this broker; None if that is unknown.
        drifted: The topology that showed a drift, for the next reconcile to begin with; None if it has to read.
        topology_digest: Digest of the topology of the vhost that was last found to match.
        policies: The policies of the operator for the queue and its dead-letter queue that were there then, by name.
        delays_returned: What delays messages that a worker gives back, and to which queue; empty if nothing does.
        not_created: The exchange and the queues that existed then and that no operator has created.
        migration: The migration of the queue as last seen; None if there is none.
        interim_queue: The interim queue, while the broker has one for this TaskQueue; None otherwise.
        repair: The last repair of the topology; None if there was none.
        faults: The fault of each stage, by the condition that shows it.
        deletion_blocker: What the deletion waits for; None when it does not wait.
        unreachable_since: Since when the broker has not answered a deletion.
        unowned_fields: Fields that the API server does not show as the operator's, right after it has applied them.
        restoration: The last restoration of the Deployment; None if there was none.
        unshared_uid: UID of the referenced Deployment that had no other autoscaler when it was last looked for one.
    """

    observed_generation: int | None = None
    topology_generation: int | None = None
    declared_generation: int | None = None
    drifted: Topology | None = None
    topology_digest: bytes = b""
    policies: Mapping[str, Policy] = field(default_factory=dict)
    delays_returned: str = ""
    not_created: tuple[str, ...] = ()
    migration: Migration | None = None
    interim_queue: str | None = None
    repair: Repair | None = None
    faults: dict[ConditionType, Fault] = field(default_factory=dict)
    deletion_blocker: Fault | None = None
    unreachable_since: datetime | None = None
    unowned_fields: frozenset[str] = frozenset()
    restoration: Restoration | None = None
    unshared_uid: str = ""

    def request_topology_check(self) -> bool:
        """Have the next reconcile compare the topology with the broker; returns False if that is due already."""
        requested = self.topology_generation is not None
        self.topology_generation = None
        return requested

    def take_drifted(self) -> Topology | None:
        """Return the topology that showed a drift, once."""
        drifted, self.drifted = self.drifted, None
        return drifted

    def forget_topology(self) -> None:
        """Have the next reconcile declare the topology on another broker."""
        self.topology_generation, self.declared_generation, self.drifted = None, 0, None
        self.migration = self.interim_queue = None
