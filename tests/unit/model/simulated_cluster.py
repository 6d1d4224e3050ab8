"""The API server, the two controllers and the kubelet, as small as the removal of workers allows.

Controllers and the kubelet act with a delay. The API server may apply a write late, or without an answer.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from random import Random

from taskqueue_operator.drain.replicaset_order import rank
from taskqueue_operator.resource.names import Key
from taskqueue_operator.workers.api_objects import Deployment, Pod

MAX_WRITE_DELAY_SECONDS = 20


@dataclass
class Write:
    """A conditional write on its way.

    Attributes:
        at: When the API server applies it.
        generation: Condition: the Deployment is at this generation; None for none.
        drain_token: Condition: its drain annotation is this one; None for none.
        changes: The new values of fields of the Deployment.
        answer: Is called with the Deployment, or with None if a condition failed; None if the answer is lost.
        decided_at: When it was decided on.
        without_container: UIDs of the pods in which no container ran at that time.
    """

    at: int
    generation: int | None
    drain_token: str | None
    changes: dict[str, object]
    answer: Callable[[Deployment | None], None] | None
    decided_at: int
    without_container: frozenset[str] = frozenset()


@dataclass
class SimulatedCluster:
    """One Deployment with its pods.

    Attributes:
        on_removed: Is called with each pod that the ReplicaSet removes.
        scaled_in_by: The write that is the reason.
        annotations_count: Whether a change of an annotation increments the generation, as the API server does it. No
            scale-in relies on that.
    """

    random: Random
    on_removed: Callable[[Pod], None]
    replicas: int = 4
    annotations_count: bool = False
    deployment: Deployment = field(init=False)
    pods: dict[str, Pod] = field(default_factory=dict)
    writes: list[Write] = field(default_factory=list)
    desired: int = field(init=False)
    counted: int = field(init=False)
    scaled_in_by: Write | None = None
    version: int = 1

    def __post_init__(self) -> None:
        self.desired = self.counted = self.replicas
        self.deployment = Deployment(
            key=Key("media", "thumbnails"),
            uid="d",
            resource_version="1",
            generation=1,
            observed_generation=1,
            owner_kind="TaskQueue",
            owner_name="thumbnails",
            owner_uid="t",
            template_hash="1",
            replicas=self.replicas,
            current_replicas=self.replicas,
            ready=0,
            deleting=False,
            updated=self.replicas,
        )
        for _ in range(self.replicas):
            self._create()

    @property
    def active(self) -> list[Pod]:
        return [pod for pod in self.pods.values() if pod.is_active]

    def patch(self, uid: str, **changes: object) -> None:
        """Change a pod."""
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
        before = self.deployment
        applies = write.generation in {None, before.generation} and write.drain_token in {None, before.drain_token}
        if applies:
            if self._is_scale_in(write):
                self.scaled_in_by = write
            counted = write.changes.keys() - (set() if self.annotations_count else {"drain_token"})
            changed = any(getattr(before, name) != write.changes[name] for name in counted)
            self._change(**write.changes, generation=before.generation + changed)
        if write.answer is not None:
            write.answer(self.deployment if applies else None)

    def _is_scale_in(self, write: Write) -> bool:
        number = write.changes.get("replicas")
        return isinstance(number, int) and number < self.deployment.replicas

    def _change(self, **changes: object) -> None:
        self.version += 1
        self.deployment = replace(self.deployment, resource_version=str(self.version), **changes)  # type: ignore[arg-type]  # fields of a Deployment

    def _control_deployment(self) -> None:
        self.desired = self.deployment.replicas
        status = {
            "observed_generation": self.deployment.generation,
            "current_replicas": self.counted,
            "updated": self.counted,
        }
        if any(getattr(self.deployment, name) != value for name, value in status.items()):
            self._change(**status)

    def _control_replica_set(self) -> None:
        surplus = len(self.active) - self.desired
        for pod in self._first(surplus):
            self.patch(pod.uid, deleting=True)
            self.on_removed(pod)
        for _ in range(-surplus):
            self._create()
        self.counted = len(self.active)

    def _first(self, count: int) -> Iterable[Pod]:
        if count <= 0:
            return ()
        return sorted(self.active, key=lambda pod: (rank(pod), self.random.random()))[:count]

    def _create(self) -> None:
        self.version += 1
        uid = f"pod-{self.version}"
        self.pods[uid] = Pod(
            key=Key("media", uid),
            uid=uid,
            taskqueue="thumbnails",
            resource_version=str(self.version),
            template_hash="1",
            replica_set="r",
            assigned=True,
            phase="Pending",
            container_stopped=True,
            restarts=0,
            ready=False,
            deleting=False,
            finished=False,
        )
