"""What scale knows of the workers of one TaskQueue. Written by scale/drainer."""

from dataclasses import dataclass, field
from datetime import datetime

from taskqueue_operator.drain.scale_in import Blocker
from taskqueue_operator.drain.worker_pool import WorkerPool
from taskqueue_operator.resource import bounds
from taskqueue_operator.resource.allowance import Allowance
from taskqueue_operator.resource.names import Key


@dataclass(frozen=True, slots=True)
class Interruption:
    """A worker that did not stop in good order at SIGTERM, so that a task may have been cut.

    Attributes:
        pod: Its pod.
        template_hash: The version of the template of that pod; empty in a Deployment of others.
        replica_set: UID of its ReplicaSet.
        what: What it did instead, as the end of a sentence.
    """

    pod: Key
    template_hash: str
    replica_set: str
    what: str


def _reports() -> Allowance:
    return Allowance(per_second=bounds.TASKQUEUE_REPORTS_PER_SECOND, at_once=bounds.TASKQUEUE_REPORTS_AT_ONCE)


def _report_log_lines() -> Allowance:
    return Allowance(per_second=bounds.REPORT_LOG_LINES_PER_SECOND, at_once=bounds.REPORT_LOG_LINES_AT_ONCE)


@dataclass(slots=True)
class DrainState:
    """The workers, and what keeps the operator from removing them.

    Attributes:
        pool: The workers of the Deployment.
        pool_uid: UID of that Deployment; another one of the same name has a pool of its own.
        reports: How many reports of the workers may be read.
        report_log_lines: How many log lines about reports may be written.
        blocked_by: Why scale-in waits, if for longer than moments.
        blocked_since: Since when it waits for that.
        unreported_pods: Pods that must report before they can be removed, and do not.
        interruption: The last Plain worker that did not stop in good order at SIGTERM.
        interrupted: UIDs of the terminating pods of such workers.
        other_queues: Queues that Plain workers consume beside that of the TaskQueue.
        token_replaced_at: When a drain annotation of a later leadership was last replaced: there is no such leader.
    """

    pool: WorkerPool | None = None
    pool_uid: str = ""
    reports: Allowance = field(default_factory=_reports)
    report_log_lines: Allowance = field(default_factory=_report_log_lines)
    blocked_by: Blocker = Blocker.NOTHING
    blocked_since: datetime | None = None
    unreported_pods: tuple[Key, ...] = ()
    interruption: Interruption | None = None
    interrupted: set[str] = field(default_factory=set)
    other_queues: tuple[str, ...] = ()
    token_replaced_at: datetime | None = None

    @property
    def shown(self) -> tuple[object, ...]:
        """What conditions show of it."""
        dead_letters_blocked = self.pool.dead_letters_blocked if self.pool is not None else frozenset()
        return self.blocked_by, self.unreported_pods, self.interruption, dead_letters_blocked
