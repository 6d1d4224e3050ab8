"""The objects as the API server last returned them: TaskQueues, their Deployments and their pods.

Updated by watch events, by the answers to the operator's own writes (so that no decision rests on an object that the
operator has just changed) and by the periodic resync. Only a newer version of an object replaces an older one, and a
late answer never restores a removed object.

An answer may show a change of another client before its event does, which then shows nothing new.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from taskqueue_operator.resource.faults import Fault, WorkersFault
from taskqueue_operator.resource.names import GROUP, KIND, VERSION, Key
from taskqueue_operator.resource.taskqueue import TaskQueue
from taskqueue_operator.workers.api_objects import Deployment, Pod
from taskqueue_operator.workers.startup_problems import scale_out_blocker

from .ports import Body


@dataclass(frozen=True, slots=True)
class CachedTaskQueue:
    """A TaskQueue as last returned; `parsed` is a Fault if it does not match the models of this operator."""

    key: Key
    uid: str
    version: int
    generation: int
    status: Mapping[str, Any]
    parsed: TaskQueue | Fault

    @property
    def reference(self) -> Body:
        """The reference to it in Events."""
        return {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": KIND,
            "namespace": self.key.namespace,
            "name": self.key.name,
            "uid": self.uid,
        }


class Cache:
    """All objects, by the key of their TaskQueue; only `deployments` has keys of its own."""

    def __init__(self, on_new_spec: Callable[[CachedTaskQueue, CachedTaskQueue], None] = lambda *_: None) -> None:
        """`on_new_spec` gets a known TaskQueue and what replaces it, if that has another UID or generation."""
        self._on_new_spec = on_new_spec
        self.taskqueues: dict[Key, CachedTaskQueue] = {}
        self.deployments: dict[Key, Deployment] = {}
        self._pods: defaultdict[Key, dict[Key, Pod]] = defaultdict(dict)
        self._started_template: dict[Key, str] = {}
        self._blockers: dict[Key, WorkersFault | None] = {}
        self._owners: dict[Key, Key] = {}
        """The TaskQueue of each pod."""
        self._removed: dict[str, float] = {}
        """By UID, at which version an object was removed. With its label, an object may come back in a later one."""

    def deployment_key(self, key: Key) -> Key:
        """Return the key of the Deployment of a TaskQueue."""
        taskqueue = self.taskqueue(key)
        return taskqueue.deployment_key if taskqueue is not None else key

    def deployment(self, key: Key) -> Deployment | None:
        """Return the Deployment of a TaskQueue; a referenced one only if it allows this TaskQueue to scale it."""
        taskqueue, deployment = self.taskqueue(key), self.deployments.get(self.deployment_key(key))
        if deployment is None or taskqueue is None or taskqueue.owns_deployment or deployment.serves(taskqueue):
            return deployment
        return None

    def taskqueue(self, key: Key) -> TaskQueue | None:
        """Return a TaskQueue; None if there is none, or if it could not be parsed."""
        cached = self.taskqueues.get(key)
        return cached.parsed if cached is not None and isinstance(cached.parsed, TaskQueue) else None

    def pods(self, key: Key) -> Iterable[Pod]:
        """Return the worker pods of a TaskQueue: those of its Deployment."""
        name = self.deployment_key(key).name
        return [pod for pod in self._pods[key].values() if pod.deployment == name] if key in self._pods else ()

    def scale_out_blocker(self, key: Key) -> WorkersFault | None:
        """Return why more workers would not start; computed again only when an object has changed."""
        deployment = self.deployment(key)
        if deployment is None:
            return None
        if key not in self._blockers:
            self._blockers[key] = scale_out_blocker(deployment, self.pods(key), started=self.has_started(key))
        return self._blockers[key]

    def has_started(self, key: Key) -> bool:
        """Whether a worker of the present template has been ready, also before a restart of the operator."""
        deployment = self.deployment(key)
        if deployment is None:
            return False
        if not deployment.template_hash:  # a Deployment of others: nothing says of which template its pods are
            return key in self._started_template
        return deployment.template_hash in {deployment.started_template, self._started_template.get(key)}

    def record_start(self, key: Key, template_hash: str) -> None:
        """Record that a worker of a template consumes; its own report may be the only sign."""
        deployment = self.deployment(key)
        if deployment is None or deployment.template_hash != template_hash or self.has_started(key):
            return
        self._started_template[key] = template_hash
        self._blockers.pop(key, None)

    def unrecorded_start(self, key: Key) -> str:
        """Return the hash of the present template if it has started and its Deployment does not say so yet."""
        deployment = self.deployment(key)
        if deployment is None or not self.has_started(key) or deployment.template_hash == deployment.started_template:
            return ""
        return deployment.template_hash

    def update_taskqueue(self, body: Body) -> Key:
        """Store a TaskQueue; returns its key."""
        metadata = body["metadata"]
        key, version = Key(metadata["namespace"], metadata["name"]), int(metadata["resourceVersion"])
        known = self.taskqueues.get(key)
        if not self._is_late(metadata["uid"], version) and (known is None or known.version < version):
            self.taskqueues[key] = seen = CachedTaskQueue(
                key, metadata["uid"], version, metadata.get("generation", 1), body.get("status") or {}, _parse(body)
            )
            self._blockers.pop(key, None)
            if known is not None and (known.uid, known.generation) != (seen.uid, seen.generation):
                self._on_new_spec(known, seen)
        return key

    def update_deployment(self, body: Body) -> Key:
        """Store a worker Deployment; returns the key of its TaskQueue."""
        deployment = Deployment.parse(body)
        known, version = self.deployments.get(deployment.key), int(deployment.resource_version)
        is_newer = known is None or int(known.resource_version) < version
        if is_newer and not self._is_late(deployment.uid, version):
            self.deployments[deployment.key] = deployment
            self._blockers.pop(deployment.taskqueue_key, None)
        return deployment.taskqueue_key

    def update_pod(self, body: Body) -> Key:
        """Store a worker pod; returns the key of its TaskQueue. A pod of no ReplicaSet is no worker."""
        pod = Pod.parse(body)
        owner, version = Key(pod.key.namespace, pod.taskqueue), int(pod.resource_version)
        before = self._owners.get(pod.key, owner)
        known = self._pods[before].get(pod.key) if before in self._pods else None
        if (known is not None and int(known.resource_version) >= version) or self._is_late(pod.uid, version):
            return owner
        if not pod.replica_set or before != owner:
            self.discard_pod(before, pod.key)
        if pod.replica_set:
            self._owners[pod.key] = owner
            self._pods[owner][pod.key] = pod
            if pod.ready and pod.deployment == self.deployment_key(owner).name:
                self.record_start(owner, pod.template_hash)
            self._blockers.pop(owner, None)
        return owner

    def remove_taskqueue(self, key: Key, uid: str) -> None:
        """Remove a TaskQueue, unless another one has its name by now."""
        self._removed[uid] = math.inf
        if key in self.taskqueues and self.taskqueues[key].uid == uid:
            del self.taskqueues[key]

    def remove_deployment(self, key: Key, uid: str, version: float = math.inf) -> None:
        """Remove a Deployment, unless another one has its name by now. `version` is that of the event, if there is one.

        An event of a deletion may also mean that the Deployment has lost its label.
        """
        self._removed[uid] = version
        if key in self.deployments and self.deployments[key].uid == uid:
            taskqueue = self.deployments.pop(key).taskqueue_key
            self._started_template.pop(taskqueue, None)
            self._blockers.pop(taskqueue, None)

    def remove_pod(self, body: Body) -> Key:
        """Remove a pod; returns the key of its TaskQueue."""
        pod = Pod.parse(body)
        self._removed[pod.uid] = int(pod.resource_version)
        owner = self._owners.get(pod.key, Key(pod.key.namespace, pod.taskqueue))
        self.discard_pod(owner, pod.key)
        return owner

    def all_pods(self) -> list[tuple[Key, Key]]:
        """Return every cached pod as (TaskQueue, pod)."""
        return [(owner, pod) for owner, pods in self._pods.items() for pod in pods]

    def discard_pod(self, owner: Key, pod: Key) -> None:
        """Remove a pod whose deletion no event has shown."""
        if self._owners.get(pod) == owner:
            del self._owners[pod]
        self._pods[owner].pop(pod, None)
        if not self._pods[owner]:
            del self._pods[owner]
        self._blockers.pop(owner, None)

    def _is_late(self, uid: str, version: int) -> bool:
        """Whether an object is an answer to a request that was made before its removal."""
        return version <= self._removed.get(uid, 0)

    def forget_removed(self) -> None:
        """Forget which objects were removed: answers to requests of that time can no longer arrive."""
        self._removed.clear()


def _parse(body: Body) -> TaskQueue | Fault:
    try:
        return TaskQueue.parse(body)
    except Fault as fault:
        return fault
