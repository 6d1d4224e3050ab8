"""Scale-in of Plain workers, which keep no control protocol: the same plan, from another kind of evidence.

The broker shows which workers are idle; only those are removed. Where it cannot, one worker at a time is removed
without evidence, and its grace period protects its task.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Final

from typing_extensions import override

from taskqueue_operator.resource.names import Key

from .consumers import IdleEvidence
from .context import DrainContext
from .replicaset_order import Rank, rank
from .worker import Worker

UNPROVEN_REMOVAL_INTERVAL: Final = timedelta(seconds=10)
"""Minimum time between two removals of workers that are not known to be idle."""


@dataclass(frozen=True)
class PlainContext(DrainContext):
    """The context of Plain workers.

    Attributes:
        unknown: UIDs of the pods whose activity the broker does not show.
    """

    unknown: frozenset[str] = frozenset()

    @cached_property
    @override
    def candidates(self) -> list[Worker]:
        """The workers to remove; at least `desired` running workers are kept."""
        ranked = sorted((worker for worker in self.active if worker.is_removable(self.now)), key=_removal_order)
        surplus = sum(map(_is_running, self.active)) - self.desired
        running = [worker for worker in ranked if _is_running(worker)][: max(0, surplus)]
        others = [worker for worker in ranked if not _is_running(worker)]
        return [*others, *running][: max(0, len(self.active) - self.desired)]

    @override
    def ready_to_remove(self, worker: Worker) -> bool:
        """Whether a worker may be removed; no command is necessary."""
        return not worker.has_no_container and worker.is_removable(self.now)

    @property
    @override
    def unreported_pods(self) -> tuple[Key, ...]:
        """Pods of workers that are not known to be busy or idle."""
        unknown = (worker for worker in self.active if worker.uid in self.unknown)
        return tuple(worker.pod.key for worker in unknown if not worker.has_no_container)


def with_idle_evidence(context: DrainContext, evidence: IdleEvidence | None) -> PlainContext:
    """Mark the workers that may be removed, and return the context of Plain workers.

    Args:
        context: As for workers that keep the control protocol.
        evidence: What the broker shows of the workers; None where it cannot show which ones run a task.
    """
    idle_since = _idle_since(context, evidence) if evidence is not None else _next_unproven(context)
    context.pool.mark_idle(idle_since if context.queue.running else {}, context.now)
    return PlainContext(
        context.pool,
        context.deployment,
        context.queue,
        context.desired,
        context.now,
        context.leads,
        unknown=evidence.unknown if evidence is not None else frozenset(),
    )


def _idle_since(context: DrainContext, evidence: IdleEvidence) -> Mapping[str, datetime]:
    """Return since when workers are idle. Evidence from before the start of a container is of another process."""
    known = ((worker, evidence.idle_since.get(worker.uid)) for worker in context.active)
    return {worker.uid: since for worker, since in known if since is not None and worker.container_changed_at <= since}


def _next_unproven(context: DrainContext) -> Mapping[str, None]:
    """Return the worker to remove without evidence, if it is time for one: the first in the ReplicaSet's order."""
    if context.now - context.pool.last_scale_in_at < UNPROVEN_REMOVAL_INTERVAL:
        return {}
    with_container = (worker for worker in context.active if not worker.has_no_container)
    first = min(with_container, key=_removal_order, default=None)
    return {first.uid: None} if first is not None else {}


def _removal_order(worker: Worker) -> tuple[Rank, Key]:
    return rank(worker.pod), worker.pod.key


def _is_running(worker: Worker) -> bool:
    return not worker.has_no_container and not worker.is_failing
