"""What the loop has found out about each TaskQueue. All of it can be found out again after a restart."""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from taskqueue_operator.control.observe.observer import Observer
from taskqueue_operator.drain.scale_in import Blocker
from taskqueue_operator.drain.worker_pool import WorkerPool
from taskqueue_operator.resource.broker import Broker
from taskqueue_operator.resource.conditions import ConditionType
from taskqueue_operator.resource.faults import Fault
from taskqueue_operator.resource.names import Key
from taskqueue_operator.resource.taskqueue import TaskQueue
from taskqueue_operator.scaling.decision import Decision
from taskqueue_operator.scaling.memory import Memory
from taskqueue_operator.scaling.policy import Policy
from taskqueue_operator.scaling.reading import Reading
from taskqueue_operator.scaling.recording import Recording

KEPT_DECISIONS: Final = 20


@dataclass(slots=True)
class TaskQueueState:
    """Findings on one TaskQueue.

    Attributes:
        settled: The generation for which every stage of reconcile has been run, with or without faults.
        verified: The generation whose topology was last found on the broker; None calls for a look.
        faults: What stands in the way, by the condition that says so.
        waiting: What a deletion waits for, if it does.
        observer: Who reads the queue, since `connected_at`, on the `broker` that the spec named then.
        policy: What the TaskQueue asks of scaling, and of which form of it that was taken.
        reading: What was last believed of the queue.
        obstacle: Why more workers would not help, as the last decision knew it.
        decision: What followed from it.
        changes: The last decisions that changed the desired number, with all that went into them.
        scaled_at: When the number of workers was last changed by us, and `scaled` how.
        reported_at: When the status was last written.
        crew: What is known of the workers, under the UID of their Deployment.
        waiting_for: What keeps more workers from going, and is more than a matter of moments.
        waits_since: Since when it does.
        silent: Pods of workers of which nothing is known, though some of them are to go.
        writing: Held while the Deployment is read and written, so that reconcile and scale never overlap.
    """

    settled: int | None = None
    verified: int | None = None
    faults: dict[ConditionType, Fault] = field(default_factory=dict)
    waiting: Fault | None = None
    observer: Observer | None = None
    broker: Broker | None = None
    connected_at: datetime | None = None
    policy: tuple[TaskQueue, Policy] | None = None
    reading: Reading | None = None
    obstacle: Fault | None = None
    decision: Decision | None = None
    changes: deque[Recording] = field(default_factory=lambda: deque(maxlen=KEPT_DECISIONS))
    memory: Memory = field(default_factory=Memory)
    scaled_at: datetime | None = None
    scaled: str = ""
    reported_at: datetime | None = None
    crew: tuple[str, WorkerPool] | None = None
    waiting_for: Blocker = Blocker.NOTHING
    blocked_since: datetime | None = None
    silent: tuple[Key, ...] = ()
    writing: asyncio.Lock = field(default_factory=asyncio.Lock)

    def policy_of(self, taskqueue: TaskQueue) -> Policy:
        """Take the policy out of a TaskQueue, once for each form of it."""
        if self.policy is None or self.policy[0] is not taskqueue:
            self.policy = taskqueue, Policy.of(taskqueue)
        return self.policy[1]


class States(dict[Key, TaskQueueState]):
    """The records of all TaskQueues; one that is asked for is there."""

    def __missing__(self, key: Key) -> TaskQueueState:
        """Begin a record."""
        self[key] = TaskQueueState()
        return self[key]
