"""The API server, the two controllers and the kubelet, as small as the removal of workers allows.

What a controller or the kubelet does, it does some time later; what the API server is asked may be done late, or be
done without an answer.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from random import Random

from taskqueue_operator.drain.replicaset_order import place
from taskqueue_operator.resource.names import Key
from taskqueue_operator.workers.api_objects import Deployment, Pod

from .rules import Rule

LATEST_WRITE = 20
"""In seconds: how late something may be written that was asked for."""


@dataclass
class Write:
    """A conditional write on its way; `answer` is called with what came of it, unless that gets lost.

    `bare` are the pods in which no container ran when it was decided on.
    """

    at: int
    generation: int | None
    mark: str | None
    changes: dict[str, object]
    answer: Callable[[Deployment | None], None] | None
    decided_at: int
    bare: frozenset[str] = frozenset()


@dataclass
class Cluster:
    """`deleted` is called with each pod that the ReplicaSet removes, `lowered_by` is why.

    That annotations of a Deployment move its generation, or do not, is nothing to rely on.
    """

    random: Random
    off: frozenset[Rule]
    deleted: Callable[[Pod], None]
    replicas: int = 4
    annotations_count: bool = False
    deployment: Deployment = field(init=False)
    pods: dict[str, Pod] = field(default_factory=dict)
    writes: list[Write] = field(default_factory=list)
    wanted: int = field(init=False)
    counted: int = field(init=False)
    lowered_by: Write | None = None
    version: int = 1

    def __post_init__(self) -> None:
        self.wanted = self.counted = self.replicas
        self.deployment = Deployment(
            key=Key("media", "thumbnails"),
            uid="d",
            resource_version="1",
            generation=1,
            observed_generation=1,
            owner_kind="TaskQueue",
            owner_name="thumbnails",
            owner_uid="t",
            digest="1",
            replicas=self.replicas,
            live=self.replicas,
            ready=0,
            deleting=False,
            updated=self.replicas,
        )
        for _ in range(self.replicas):
            self._create()

    @property
    def live(self) -> list[Pod]:
        return [pod for pod in self.pods.values() if pod.live]

    def patch(self, uid: str, **changes: object) -> None:
        """Change a pod as the kubelet does, or somebody who annotates it."""
        if uid in self.pods:
            self.version += 1
            self.pods[uid] = replace(self.pods[uid], resource_version=str(self.version), **changes)  # type: ignore[arg-type]  # fields of a Pod

    def step(self, now: int) -> None:
        due = [write for write in self.writes if write.at <= now]
        self.writes = [write for write in self.writes if write.at > now]
        for write in due:
            self._write(write)
        if self.random.random() < 0.6:
            self._control_deployment()
        if self.random.random() < 0.6:
            self._control_replica_set()

    def _write(self, write: Write) -> None:
        there = self.deployment
        tests = [
            write.generation in {None, there.generation} or (self._lowers(write) and Rule.GENERATION in self.off),
            write.mark in {None, there.mark} or (self._lowers(write) and Rule.ANNOTATION in self.off),
        ]
        if all(tests):
            if self._lowers(write):
                self.lowered_by = write
            counted = write.changes.keys() - (set() if self.annotations_count else {"mark"})
            moved = any(getattr(there, name) != write.changes[name] for name in counted)
            self._change(**write.changes, generation=there.generation + moved)
        if write.answer is not None:
            write.answer(self.deployment if all(tests) else None)

    def _lowers(self, write: Write) -> bool:
        number = write.changes.get("replicas")
        return isinstance(number, int) and number < self.deployment.replicas

    def _change(self, **changes: object) -> None:
        self.version += 1
        self.deployment = replace(self.deployment, resource_version=str(self.version), **changes)  # type: ignore[arg-type]  # fields of a Deployment

    def _control_deployment(self) -> None:
        self.wanted = self.deployment.replicas
        seen = {"observed_generation": self.deployment.generation, "live": self.counted, "updated": self.counted}
        if any(getattr(self.deployment, name) != value for name, value in seen.items()):
            self._change(**seen)

    def _control_replica_set(self) -> None:
        surplus = len(self.live) - self.wanted
        for pod in self._first(surplus):
            self.patch(pod.uid, deleting=True)
            self.deleted(pod)
        for _ in range(-surplus):
            self._create()
        self.counted = len(self.live)

    def _first(self, count: int) -> Iterable[Pod]:
        if count <= 0:
            return ()
        return sorted(self.live, key=lambda pod: (place(pod), self.random.random()))[:count]

    def _create(self) -> None:
        self.version += 1
        uid = f"pod-{self.version}"
        self.pods[uid] = Pod(
            key=Key("media", uid),
            uid=uid,
            taskqueue="thumbnails",
            resource_version=str(self.version),
            digest="1",
            replica_set="r",
            assigned=True,
            phase="Pending",
            bare=True,
            restarts=0,
            ready=False,
            deleting=False,
            finished=False,
        )
