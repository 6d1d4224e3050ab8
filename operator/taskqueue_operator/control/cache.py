"""What the API server last showed: TaskQueues, their Deployments and their pods.

Fed by watch events, by the answers to our own writes (so that a decision never rests on what we ourselves have just
changed) and by the periodic resync. Only a newer version replaces one, and none brings back what is gone.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from taskqueue_operator.resource.faults import Fault, WorkersFault
from taskqueue_operator.resource.names import GROUP, KIND, VERSION, Key
from taskqueue_operator.resource.taskqueue import TaskQueue
from taskqueue_operator.workers.api_objects import Deployment, Pod
from taskqueue_operator.workers.startup_problems import scale_out_blocker

from .ports import Body


@dataclass(frozen=True, slots=True)
class Seen:
    """A TaskQueue as it was last seen; `parsed` is the fault instead, if it does not fit this operator's models."""

    key: Key
    uid: str
    version: int
    generation: int
    status: Mapping[str, Any]
    parsed: TaskQueue | Fault

    @property
    def reference(self) -> Body:
        """What Events name."""
        return {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": KIND,
            "namespace": self.key.namespace,
            "name": self.key.name,
            "uid": self.uid,
        }


class Cache:
    """All objects by the key of their TaskQueue."""

    def __init__(self) -> None:
        self.taskqueues: dict[Key, Seen] = {}
        self.deployments: dict[Key, Deployment] = {}
        self._pods: defaultdict[Key, dict[Key, Pod]] = defaultdict(dict)
        self._started: dict[Key, str] = {}
        self._obstacles: dict[Key, WorkersFault | None] = {}
        self._gone: set[str] = set()

    def taskqueue(self, key: Key) -> TaskQueue | None:
        """Look up a TaskQueue that could be parsed."""
        seen = self.taskqueues.get(key)
        return seen.parsed if seen is not None and isinstance(seen.parsed, TaskQueue) else None

    def pods(self, key: Key) -> Iterable[Pod]:
        """List the pods that work for a TaskQueue."""
        return self._pods[key].values() if key in self._pods else ()

    def obstacle(self, key: Key) -> WorkersFault | None:
        """Say why more workers would be in vain; worked out anew only when something has changed.

        That a version of the workers has started is remembered in memory alone: after a restart of the operator, one
        of which no pod is ready counts as never started.
        """
        there = self.deployments.get(key)
        if there is None:
            return None
        if key not in self._obstacles:
            started = self._started.get(key) == there.template_hash
            self._obstacles[key] = scale_out_blocker(there, self.pods(key), started=started)
        return self._obstacles[key]

    def see_taskqueue(self, body: Body) -> Key:
        """Take note of a TaskQueue."""
        metadata = body["metadata"]
        key, version = Key(metadata["namespace"], metadata["name"]), int(metadata["resourceVersion"])
        known = self.taskqueues.get(key)
        if metadata["uid"] not in self._gone and (known is None or known.version < version):
            self.taskqueues[key] = Seen(
                key, metadata["uid"], version, metadata.get("generation", 1), body.get("status") or {}, _parse(body)
            )
        return key

    def see_deployment(self, body: Body) -> Key:
        """Take note of a worker Deployment."""
        deployment = Deployment.parse(body)
        known = self.deployments.get(deployment.key)
        fresh = known is None or int(known.resource_version) < int(deployment.resource_version)
        if fresh and deployment.uid not in self._gone:
            self.deployments[deployment.key] = deployment
            self._obstacles.pop(deployment.key, None)
        return deployment.key

    def see_pod(self, body: Body) -> Key:
        """Take note of a worker pod; returns the key of its TaskQueue."""
        pod = Pod.parse(body)
        owner = Key(pod.key.namespace, pod.taskqueue)
        known = self._pods[owner].get(pod.key)
        fresh = known is None or int(known.resource_version) < int(pod.resource_version)
        if fresh and body["metadata"]["uid"] not in self._gone:
            self._pods[owner][pod.key] = pod
            self._note_start(owner, pod)
            self._obstacles.pop(owner, None)
        return owner

    def lose_taskqueue(self, key: Key, uid: str) -> None:
        """A TaskQueue is gone; another one may have its name by now."""
        self._gone.add(uid)
        if key in self.taskqueues and self.taskqueues[key].uid == uid:
            del self.taskqueues[key]

    def lose_deployment(self, key: Key, uid: str) -> None:
        """A Deployment is gone; another one may have its name by now."""
        self._gone.add(uid)
        if key in self.deployments and self.deployments[key].uid == uid:
            del self.deployments[key]
            self._started.pop(key, None)
            self._obstacles.pop(key, None)

    def lose_pod(self, body: Body) -> Key:
        """A pod is gone; returns the key of its TaskQueue."""
        self._gone.add(body["metadata"]["uid"])
        pod = Pod.parse(body)
        owner = Key(pod.key.namespace, pod.taskqueue)
        self.drop_pod(owner, pod.key)
        return owner

    def all_pods(self) -> list[tuple[Key, Key]]:
        """List every known pod as (TaskQueue, pod)."""
        return [(owner, pod) for owner, pods in self._pods.items() for pod in pods]

    def drop_pod(self, owner: Key, pod: Key) -> None:
        """A pod is gone that no event told of."""
        self._pods[owner].pop(pod, None)
        if not self._pods[owner]:
            del self._pods[owner]
        self._obstacles.pop(owner, None)

    def forget_gone(self) -> None:
        """Begin anew to note what is gone; no answer is as late as that."""
        self._gone.clear()

    def _note_start(self, owner: Key, pod: Pod) -> None:
        there = self.deployments.get(owner)
        if pod.ready and there is not None and pod.template_hash == there.template_hash:
            self._started[owner] = pod.template_hash


def _parse(body: Body) -> TaskQueue | Fault:
    try:
        return TaskQueue.parse(body)
    except Fault as fault:
        return fault
