"""The Kubernetes side of the control loop in memory, for faults that real parts cause too seldom.

It keeps versions and generations as an API server does, refuses stale writes, and notifies the watches of every change.
"""

import asyncio
import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from taskqueue_operator.control.ports import Body
from taskqueue_operator.resource.faults import Conflict, Fault, Reason
from taskqueue_operator.resource.names import ANNOTATION_DIGEST, ANNOTATION_DRAIN, ANNOTATION_STARTED, LABEL_NAME, Key
from tests.unit.workers.pod_statuses import READY, refused

from .fake_broker import DATA

KEY = Key("media", "thumbnails")
SECRET = Key("media", "rabbitmq")
API_UNREACHABLE = Fault(Reason.API_UNAVAILABLE, "Kubernetes: no answer.")


def taskqueue(key: Key = KEY, **spec: object) -> Body:
    """A TaskQueue as a user applies it."""
    minimal = {
        "broker": {"secretRef": {"name": "rabbitmq"}},
        "worker": {"image": "acme/app:1.4"},
        "scaling": {"maxReplicas": 20},
    }
    return {"metadata": {"namespace": key.namespace, "name": key.name}, "spec": minimal | spec}


def by_replica_set(key: Key) -> list[Body]:
    """The owner of a pod of a Deployment."""
    return [{"kind": "ReplicaSet", "name": f"{key.name}-7d9f", "uid": "uid-of-replica-set", "controller": True}]


class FakeCluster:
    """An API server of three kinds and Secrets.

    Attributes:
        workers_have_started: Whether a new Deployment says that a worker of its template has been ready before.
        autoscaled: The HorizontalPodAutoscaler of each Deployment that has one.
    """

    def __init__(self) -> None:
        self.workers_have_started = True
        self.taskqueues: dict[Key, Body] = {}
        self.deployments: dict[Key, Body] = {}
        self.pods: dict[Key, Body] = {}
        self.autoscaled: dict[Key, str] = {}
        self.autoscaler_listings = 0
        self.secrets: dict[Key, Mapping[str, bytes]] = {SECRET: DATA}
        self.secret_reads: list[Key] = []
        self.writes: list[tuple[str, Any]] = []
        self.events: list[tuple[str, str]] = []
        self.fault: Fault | None = None
        self.silent = False
        self.watches: list[Callable[[str, Body, bool], None]] = []
        self._version = 0

    # Actions of users and controllers.

    def put(self, body: Body) -> Body:
        """Create a TaskQueue, or change its spec."""
        key = _key(body)
        first: Body = {"metadata": {"generation": 0, "uid": f"uid-{self._version}"}, "spec": None}
        kept: Body = copy.deepcopy(self.taskqueues.get(key, first))
        generation = kept["metadata"]["generation"] + (kept["spec"] != body["spec"])
        kept["metadata"] |= {**body["metadata"], "generation": generation, "uid": kept["metadata"]["uid"]}
        kept["spec"] = body["spec"]
        return self._store("taskqueues", kept)

    def show_all(self) -> None:
        """Show all objects to the watches, as after a time without events."""
        for kind in ("taskqueues", "deployments", "pods"):
            for body in list(self._objects(kind).values()):
                self._show(kind, body, deleted=False)

    def delete(self, key: Key) -> None:
        """Delete a TaskQueue, which is removed once it has no finalizers."""
        body = copy.deepcopy(self.taskqueues[key])
        body["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        self._store("taskqueues", body)
        self._collect(key)

    def run_pods(self, key: Key, count: int | None = None, *, status: Body = READY, refusal: str = "") -> None:
        """Run as many pods as the Deployment wants, or `count`, all with this status; other pods end.

        The pods come from the present template of the Deployment. With a `refusal`, the API server creates no more.
        """
        body = copy.deepcopy(self.deployments[key])
        count = body["spec"]["replicas"] if count is None else count
        body["status"] = {
            "replicas": count,
            "updatedReplicas": count,
            "readyReplicas": count if status == READY else 0,
            "observedGeneration": body["metadata"]["generation"],
            "conditions": [refused(refusal)] if refusal else [],
        }
        self._store("deployments", body)
        template, spec = body["spec"]["template"]["metadata"], body["spec"]["template"]["spec"]
        version = template.get("annotations", {}).get(ANNOTATION_DIGEST, "7d9f")
        names = [Key(key.namespace, f"{key.name}-{version}-{n}") for n in range(count)]
        existing = {
            name for name, pod in self.pods.items() if pod["metadata"]["ownerReferences"] == by_replica_set(key)
        }
        for name in existing.difference(names):
            self.remove("pods", name)
        for name in names:
            if name not in existing or self.pods[name]["status"] != status:
                metadata = template | {
                    **name._asdict(),
                    "uid": f"uid-of-{name.name}",
                    "ownerReferences": by_replica_set(key),
                }
                self._store("pods", copy.deepcopy({"metadata": metadata, "spec": spec, "status": status}))

    def remove(self, kind: str, key: Key) -> None:
        """Remove an object at once."""
        body = self._objects(kind).pop(key, None)
        if body is not None:
            self._version += 1
            body["metadata"]["resourceVersion"] = str(self._version)
            self._show(kind, body, deleted=True)

    # The port.

    async def secret(self, key: Key) -> Mapping[str, bytes] | None:
        await self._answer()
        self.secret_reads.append(key)
        return self.secrets.get(key)

    async def deployment(self, key: Key) -> Body | None:
        await self._answer()
        return copy.deepcopy(self.deployments.get(key))

    async def apply_deployment(self, manifest: Body) -> Body:
        await self._answer()
        key, former = _key(manifest), self.deployments.get(_key(manifest))
        expected = manifest["metadata"].get("resourceVersion")
        if expected != (former["metadata"]["resourceVersion"] if former else None):
            raise Conflict(str(key))
        self.writes.append(("deployment", copy.deepcopy(manifest)))
        body = copy.deepcopy(manifest)
        new: Body = {"uid": f"uid-{self._version}", "generation": 0}
        old = former["metadata"] if former else new
        body["metadata"] |= {"uid": old["uid"], "generation": old["generation"] + 1}
        body["status"] = former.get("status", {}) if former else {}
        if former and _template_digest(former) != _template_digest(body):
            body["status"] = body["status"] | {"updatedReplicas": 0}
        if self.workers_have_started:
            _annotate(body, {ANNOTATION_STARTED: body["metadata"]["annotations"].get(ANNOTATION_DIGEST)})
        return self._store("deployments", _observed(body))

    async def scale(  # noqa: PLR0913  three conditions and two values
        self,
        key: Key,
        *,
        replicas: int,
        taskqueue: str,
        generation: int,
        drain_token: str = "",
        started_template: str = "",
    ) -> Body:
        await self._answer()
        deployment = self._expected(key, taskqueue, generation)
        if drain_token and deployment["metadata"].get("annotations", {}).get(ANNOTATION_DRAIN) != drain_token:
            raise Conflict(str(key))
        self.writes.append(("replicas", replicas))
        deployment["spec"]["replicas"] = replicas
        if started_template:
            _annotate(deployment, {ANNOTATION_STARTED: started_template})
        deployment["metadata"]["generation"] += 1
        return self._store("deployments", _observed(deployment))

    async def set_drain_token(self, key: Key, token: str, *, taskqueue: str, generation: int) -> Body:
        await self._answer()
        deployment = self._expected(key, taskqueue, generation)
        self.writes.append(("drain_token", token))
        _annotate(deployment, {ANNOTATION_DRAIN: token or None})
        deployment["metadata"]["generation"] += 1  # of Deployments, annotations count too
        return self._store("deployments", _observed(deployment))

    def _expected(self, key: Key, taskqueue: str, generation: int) -> Body:
        """Return a Deployment that is as a write expects it."""
        deployment = copy.deepcopy(self.deployments.get(key))
        if deployment is None or deployment["metadata"]["generation"] != generation:
            raise Conflict(str(key))
        if deployment["metadata"]["labels"].get(LABEL_NAME) != taskqueue:
            raise Conflict(str(key))
        return deployment

    async def autoscalers(self, namespace: str) -> Mapping[str, str]:
        await self._answer()
        self.autoscaler_listings += 1
        return {key.name: name for key, name in self.autoscaled.items() if key.namespace == namespace}

    async def annotate_pod(self, key: Key, annotations: Mapping[str, str | None], *, uid: str) -> Body | None:
        await self._answer()
        pod = copy.deepcopy(self.pods.get(key))
        if pod is None or pod["metadata"]["uid"] != uid:
            return None
        self.writes.append(("pod", dict(annotations)))
        _annotate(pod, annotations)
        return self._store("pods", pod)

    async def set_finalizers(self, key: Key, finalizers: Sequence[str], *, resource_version: str) -> Body | None:
        await self._answer()
        body = copy.deepcopy(self.taskqueues.get(key))
        if body is None:
            return None
        if body["metadata"]["resourceVersion"] != resource_version:
            raise Conflict(str(key))
        self.writes.append(("finalizers", list(finalizers)))
        body["metadata"]["finalizers"] = list(finalizers)
        stored = self._store("taskqueues", body)
        self._collect(key)
        return stored

    async def set_status(self, key: Key, status: Body) -> Body | None:
        await self._answer()
        body = copy.deepcopy(self.taskqueues.get(key))
        if body is None:
            return None
        self.writes.append(("status", copy.deepcopy(status)))
        body["status"] = copy.deepcopy(status)
        return self._store("taskqueues", body)

    async def event(self, regarding: Body, *, reason: str, message: str, warning: bool) -> None:
        await self._answer()
        assert {"apiVersion", "kind", "namespace", "name", "uid"} == set(regarding)
        self.events.append((reason, message))
        self.writes.append(("event", (reason, message, warning)))

    def forbidden_namespaces(self) -> frozenset[str]:
        return frozenset()

    async def list_taskqueues(self) -> list[Body]:
        return await self._list(self.taskqueues)

    async def list_deployments(self) -> list[Body]:
        return await self._list(self.deployments)

    async def list_pods(self) -> list[Body]:
        return await self._list(self.pods)

    # For assertions.

    def status(self, key: Key = KEY) -> Body:
        found: Body = self.taskqueues[key].get("status", {})
        return found

    def condition(self, type_: str, key: Key = KEY) -> dict[str, str]:
        found: list[dict[str, str]] = self.status(key).get("conditions", [])
        return next((condition for condition in found if condition["type"] == type_), {})

    def written(self, what: str) -> list[Any]:
        return [value for kind, value in self.writes if kind == what]

    async def _list(self, objects: dict[Key, Body]) -> list[Body]:
        await self._answer()
        return [copy.deepcopy(body) for body in objects.values()]

    async def _answer(self) -> None:
        await asyncio.sleep(0)
        if self.fault is not None:
            raise self.fault

    def _objects(self, kind: str) -> dict[Key, Body]:
        objects: dict[Key, Body] = getattr(self, kind)
        return objects

    def _store(self, kind: str, body: Body) -> Body:
        self._version += 1
        body["metadata"]["resourceVersion"] = str(self._version)
        self._objects(kind)[_key(body)] = body
        self._show(kind, body, deleted=False)
        return copy.deepcopy(body)

    def _collect(self, key: Key) -> None:
        metadata = self.taskqueues[key]["metadata"]
        if "deletionTimestamp" in metadata and not metadata.get("finalizers"):
            self.remove("taskqueues", key)

    def _show(self, kind: str, body: Body, *, deleted: bool) -> None:
        for watch in () if self.silent else list(self.watches):
            watch(kind, copy.deepcopy(body), deleted)


class FakeTelemetry:
    """Records the events in order."""

    def __init__(self) -> None:
        self.events: list[tuple[object, ...]] = []

    def scaled(self, key: Key, before: int, after: int, why: str) -> None:
        self.events.append(("scaled", key, before, after, why))

    def wrote(self, what: str) -> None:
        self.events.append(("wrote", what))

    def commanded(self, verb: str) -> None:
        self.events.append(("commanded", verb))

    def removed(self, state: str) -> None:
        self.events.append(("removed", state))

    def reconciled(self, *, succeeded: bool) -> None:
        self.events.append(("reconciled", succeeded))

    def retained(self, key: Key, why: str) -> None:
        self.events.append(("retained", key, why))

    def queried(self, source: str, seconds: float, outcomes: Mapping[str, int]) -> None:
        self.events.append(("queried", source, seconds, dict(outcomes)))

    def delayed(self, seconds: float) -> None:
        self.events.append(("delayed", seconds))

    def decided(self, why: str) -> None:
        self.events.append(("decided", why))


def _template_digest(deployment: Body) -> object:
    return deployment["metadata"]["annotations"][ANNOTATION_DIGEST]


def _observed(deployment: Body) -> Body:
    """Return the Deployment as its controller has observed it."""
    deployment["status"] = deployment["status"] | {"observedGeneration": deployment["metadata"]["generation"]}
    return deployment


def _annotate(body: Body, annotations: Mapping[str, str | None]) -> None:
    merged = body["metadata"].get("annotations", {}) | annotations
    body["metadata"]["annotations"] = {name: value for name, value in merged.items() if value is not None}


def _key(body: Body) -> Key:
    return Key(body["metadata"]["namespace"], body["metadata"]["name"])
