"""The next step with workers that cannot be asked to step aside: the way of the others, on another kind of proof.

Who may be removed is attested from outside: those that the broker shows to be idle. Where it cannot show that, one
worker at a time takes the risk, which its grace period bears. Everything else is as it is for workers that are asked.
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
from .replicaset_order import Place, place
from .worker import Worker

TURN: Final = timedelta(seconds=10)
"""Between two workers that are removed without being known to be idle."""


@dataclass(frozen=True)
class PlainContext(DrainContext):
    """Workers of which nothing is heard; `unknown` are those that the broker cannot tell either."""

    unknown: frozenset[str] = frozenset()

    @cached_property
    @override
    def chosen(self) -> list[Worker]:
        """Who is to go: of those who work only as many as leave `desired` others at work."""
        attested = (worker for worker in self.live if worker.is_removable(self.now))
        ranked = sorted(attested, key=_order)
        spare = sum(map(_works, self.live)) - self.desired
        idle = [worker for worker in ranked if _works(worker)][: max(0, spare)]
        others = [worker for worker in ranked if not _works(worker)]
        return [*others, *idle][: max(0, len(self.live) - self.desired)]

    @override
    def ready_to_remove(self, worker: Worker) -> bool:
        """Whether it runs, and need not be asked."""
        return not worker.is_bare and worker.is_removable(self.now)

    @property
    @override
    def silent(self) -> tuple[Key, ...]:
        """Those that are not known to work or to be idle."""
        return tuple(each.pod.key for each in self.live if each.uid in self.unknown and not each.is_bare)


def attested(situation: DrainContext, seen: IdleEvidence | None) -> PlainContext:
    """Tell the crew which of its workers may be removed, and take the situation for one with workers like that.

    Args:
        situation: As it would be with workers that are asked.
        seen: What the broker shows of them; None where it cannot show who runs a task.
    """
    may_go = _known_to_be_idle(situation, seen) if seen is not None else _in_turn(situation)
    situation.crew.mark_idle(may_go if situation.queue.running else {}, situation.now)
    return PlainContext(
        situation.crew,
        situation.deployment,
        situation.queue,
        situation.desired,
        situation.now,
        unknown=seen.unknown if seen is not None else frozenset(),
    )


def _known_to_be_idle(situation: DrainContext, seen: IdleEvidence) -> Mapping[str, datetime]:
    """Say who is, by the UID of the pod, and since when; what was seen before its container began was another one's."""
    known = ((worker, seen.idle_since.get(worker.uid)) for worker in situation.live)
    return {worker.uid: since for worker, since in known if since is not None and worker.shown_at <= since}


def _in_turn(situation: DrainContext) -> Mapping[str, None]:
    """Say whose turn it is: now and then that of the one that the ReplicaSet would take first."""
    if situation.now - situation.crew.lowered_at < TURN:
        return {}
    running = (worker for worker in situation.live if not worker.is_bare)
    first = min(running, key=_order, default=None)
    return {first.uid: None} if first is not None else {}


def _order(worker: Worker) -> tuple[Place, Key]:
    return place(worker.pod), worker.pod.key


def _works(worker: Worker) -> bool:
    return not worker.is_bare and not worker.fails
