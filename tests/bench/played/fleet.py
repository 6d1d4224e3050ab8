"""TaskQueues of a played API server whose topology and Deployments exist already, and the workers of one of them."""

import asyncio
import base64
import json
from collections.abc import Mapping
from typing import Any, Final, Protocol
from uuid import uuid4

from taskqueue_operator.resource.names import LABEL_NAME, owner
from taskqueue_operator.resource.taskqueue import TaskQueue
from taskqueue_operator.topology.desired import desired
from taskqueue_operator.topology.retry_path import retry_path
from taskqueue_operator.workers.deployment import deployment
from tests.bench.played.broker import PlayedBroker, Vhost
from tests.bench.played.objects import Body, Objects

NAMESPACE: Final = "bench"
BROKER: Final = "rabbitmq"
ADDRESS: Final = "amq.rabbitmq.reply-to.played."
REPORT_PERIOD_SECONDS: Final = 5.0
WORKER: Final[Body] = {"image": "worker:1"}


class FleetBroker(Protocol):
    """A broker, and what its vhosts contain before the operator starts."""

    @property
    def amqp_port(self) -> int: ...
    @property
    def management_port(self) -> int: ...
    @property
    def vhosts(self) -> Mapping[str, Vhost]: ...


class PlayedFleet:
    """Adds TaskQueues and what belongs to them."""

    def __init__(self, objects: Objects) -> None:
        self.objects = objects

    def add_secret(self, name: str, **data: str) -> None:
        """Add a Secret; an underscore in a key stands for a hyphen, two for a dot."""
        keys = {key.replace("__", ".").replace("_", "-"): value for key, value in data.items()}
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in keys.items()}
        self.objects.secrets.put({"metadata": {"namespace": NAMESPACE, "name": name}, "data": encoded})

    def add_broker(
        self, secret: str, broker: FleetBroker, *, host: str = "127.0.0.1", vhost: str = "", **data: str
    ) -> None:
        """Add the Secret of a broker."""
        tls = "s" if "ca__crt" in data else ""
        self.add_secret(
            secret,
            uri=f"amqp{tls}://guest:guest@{host}:{broker.amqp_port}/{vhost}",
            management_uri=f"http{tls}://{host}:{broker.management_port}",
            **data,
        )

    def add_taskqueue(  # noqa: PLR0913  what a benchmark decides
        self,
        broker: FleetBroker,
        name: str,
        *,
        vhost: str = "/",
        secret: str = BROKER,
        replicas: int = 0,
        worker: Body = WORKER,
        queue_type: str = "Classic",
    ) -> TaskQueue:
        """Add a TaskQueue with its topology and its Deployment."""
        scaling = {"maxReplicas": 1000, "minReplicas": replicas, "idleSeconds": 0}
        spec = {
            "broker": {"secretRef": {"name": secret}},
            "queue": {"type": queue_type},
            "worker": worker,
            "scaling": scaling | {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}},
        }
        metadata = {"namespace": NAMESPACE, "name": name, "generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z"}
        body = self.objects.taskqueues.put({"metadata": metadata, "spec": spec})
        taskqueue = TaskQueue.parse(body)
        broker.vhosts[vhost].add(desired(taskqueue, "default"))
        broker.vhosts[vhost].add(retry_path(name, owner("default", taskqueue.key)))
        manifest = deployment(taskqueue, replicas=replicas)
        status = {"observedGeneration": 1, "replicas": replicas, "readyReplicas": replicas, "updatedReplicas": replicas}
        manifest["metadata"]["generation"] = 1
        self.objects.deployments.put({**manifest, "status": status})
        return taskqueue

    def set_replicas(self, name: str, replicas: int) -> None:
        """Set the number of workers, as if the Deployment had been scaled."""
        body = self.objects.deployments.items[NAMESPACE, name]
        status = {**body["status"], "replicas": replicas, "readyReplicas": replicas, "updatedReplicas": replicas}
        self.objects.deployments.put({**body, "spec": {**body["spec"], "replicas": replicas}, "status": status})

    def set_minimum(self, name: str, replicas: int) -> None:
        """Change `spec.scaling.minReplicas`."""
        body = self.objects.taskqueues.items[NAMESPACE, name]
        scaling = {**body["spec"]["scaling"], "minReplicas": replicas}
        metadata = {**body["metadata"], "generation": body["metadata"]["generation"] + 1}
        self.objects.taskqueues.put({**body, "metadata": metadata, "spec": {**body["spec"], "scaling": scaling}})


class PlayedWorkers:
    """The pods of one TaskQueue, whose workers run a task for ever and report as the protocol defines it."""

    def __init__(self, fleet: PlayedFleet, broker: PlayedBroker, taskqueue: str, size: int) -> None:
        self._broker = broker
        self._taskqueue = taskqueue
        self._numbers: dict[str, int] = {}
        self._incarnations: dict[str, str] = {}
        self._drains: dict[str, Body] = {}
        self.draining: set[str] = set()
        body = fleet.objects.deployments.items[NAMESPACE, taskqueue]
        for number in range(size):
            self._add_pod(fleet, body, f"{taskqueue}-{number:04}")
        broker.on_command = self._on_command

    async def run(self) -> None:
        """Report until cancelled, at equal intervals."""
        while True:
            for uid in list(self._numbers):
                self._report(uid)
                await asyncio.sleep(REPORT_PERIOD_SECONDS / len(self._numbers))

    def _add_pod(self, fleet: PlayedFleet, deployment: Body, name: str) -> None:
        replica_set = f"{self._taskqueue}-{deployment['metadata']['generation']}"
        owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": replica_set, "uid": "1", "controller": True}
        template = deployment["spec"]["template"]["metadata"]
        metadata = {
            "namespace": NAMESPACE,
            "name": name,
            "uid": str(uuid4()),
            "labels": {**template["labels"], LABEL_NAME: self._taskqueue},
            "annotations": template["annotations"],
            "ownerReferences": [owner],
        }
        container = {"name": "worker", "ready": True, "restartCount": 0, "state": {"running": {}}}
        status = {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [container],
        }
        fleet.objects.pods.put({"metadata": metadata, "spec": {"nodeName": "node"}, "status": status})
        self._numbers[metadata["uid"]] = 0
        self._incarnations[metadata["uid"]] = uuid4().hex

    def _on_command(self, address: str, command: bytes) -> None:
        uid, body = address.removeprefix(ADDRESS), json.loads(command)
        if body["command"] == "drain":
            self.draining.add(uid)
            self._drains[uid] = {name: body[name] for name in ("installation", "epoch", "seq")}
        if body["command"] == "undrain":
            self.draining.discard(uid)
            self._drains.pop(uid, None)
        self._report(uid, {"id": body["id"], "result": "done", "reason": None})

    def _report(self, uid: str, answer: Body | None = None) -> None:
        self._numbers[uid] += 1
        report: dict[str, Any] = {
            "version": 1,
            "taskqueue": f"{NAMESPACE}/{self._taskqueue}",
            "pod": uid,
            "incarnation": self._incarnations[uid],
            "number": self._numbers[uid],
            "state": "draining" if uid in self.draining else "consuming",
            "in_flight": 1,
            "prefetched": 0,
            "idle_seconds": 0,
            "oldest_seconds": 42.5,
            "completed": 41,
            "failed": 1,
            "busy_seconds": 812.4,
            "task_timeout_seconds": 1500,
            "drain": self._drains.get(uid),
            "answer": answer,
        }
        self._broker.deliver("/", str(report["taskqueue"]), json.dumps(report).encode(), ADDRESS + uid)
