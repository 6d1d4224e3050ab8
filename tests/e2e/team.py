"""An application team: a namespace, a vhost, a TaskQueue whose tasks leave receipts."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple
from uuid import uuid4

from taskqueue_worker import Publisher
from tests.cluster import images
from tests.cluster.installation import create_namespace, create_secret
from tests.cluster.lane import Cluster
from tests.cluster.progress import until
from tests.e2e.application import OURS, Application
from tests.e2e.broker import Broker

Body = dict[str, Any]
NAME = "work"
PATIENCE_SECONDS = 180


class Address(NamedTuple):
    """Where the broker is: for pods, and for tests on this machine."""

    inside: str
    outside: str


class Team:
    """Everything a test does in a namespace of its own, named like the vhost and the user of the broker."""

    def __init__(
        self, cluster: Cluster, broker: Broker, address: Address, namespace: str, application: Application = OURS
    ) -> None:
        self._cluster = cluster
        self.broker = broker
        self._address = address
        self.image = images.tag(application.image)
        self.namespace = namespace
        self.application = application
        self._receipts: list[Body] = []

    def move_in(self) -> None:
        """Make image, namespace, vhost, user, Secret, and the module of tasks."""
        self._cluster.load(images.build(self.application.image))
        self.broker.add_vhost(self.namespace)
        create_namespace(self._cluster, self.namespace)
        self.use_credentials(self.namespace, "first")
        module = {"audited.py": self.application.source}
        self.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "tasks"}, "data": module})

    def move_out(self) -> None:
        """Remove it all; the namespace goes in its own time."""
        self.kubectl("delete", "taskqueues", "--all", "--wait=false")
        self._cluster.kubectl("delete", "namespace", self.namespace, "--wait=false")
        self.broker.delete_vhost(self.namespace)

    def until_moved_out(self) -> None:
        """Wait until nothing of it runs, once it is removed; the empty namespace may stay for minutes."""
        until(lambda: not self.pods(), "the workers have gone", seconds=2 * PATIENCE_SECONDS, every=0.5)

    def use_credentials(self, user: str, password: str, secret: str = "rabbitmq") -> None:  # noqa: S107  its name
        """Make a user on the broker and put it into a Secret; `rabbitmq` is that of the operator."""
        self.broker.add_user(user, password, self.namespace)
        uri = f"amqp://{user}:{password}@{self._address.inside}/{self.namespace}"
        create_secret(self._cluster, self.namespace, uri, secret)

    def kubectl(self, *arguments: str) -> str:
        """Kubectl in the team's namespace."""
        return self._cluster.kubectl(f"--namespace={self.namespace}", *arguments)

    def apply(
        self, *, deletion: str = "Retain", worker: Body | None = None, queue: Body | None = None, **scaling: object
    ) -> None:
        """Apply the TaskQueue `work`, quick to go back to zero."""
        mount = {"name": "tasks", "mountPath": "/app/audited.py", "subPath": "audited.py"}
        template = {
            "spec": {
                "containers": [{"name": "worker", "volumeMounts": [mount]}],
                "volumes": [{"name": "tasks", "configMap": {"name": "tasks"}}],
            }
        }
        spec = {
            "broker": {"secretRef": {"name": "rabbitmq"}},
            "deletionPolicy": deletion,
            "worker": {
                "image": self.image,
                "env": [{"name": "TASKQUEUE_MODULES", "value": "audited"}],
                "taskTimeoutSeconds": 120,
                "podTemplate": template,
            }
            | self.application.worker
            | (worker or {}),
            "scaling": {
                "maxReplicas": 4,
                "readyPerReplica": 10,
                "idleSeconds": 2,
                "behavior": {"scaleDown": {"stabilizationWindowSeconds": 5}},
            }
            | scaling,
        } | ({"queue": queue} if queue else {})
        kind = {"apiVersion": "taskqueue.dev/v1alpha1", "kind": "TaskQueue"}
        self.create(kind | {"metadata": {"name": NAME}, "spec": spec})

    def create(self, manifest: Body) -> None:
        """Apply an object in the team's namespace."""
        manifest["metadata"]["namespace"] = self.namespace
        self._cluster.kubectl("apply", "--filename=-", input=json.dumps(manifest))

    def evict(self, pod: Body) -> None:
        """Do to a pod what `kubectl drain` does."""
        metadata = {"name": pod["metadata"]["name"], "namespace": self.namespace}
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}
        path = f"/api/v1/namespaces/{self.namespace}/pods/{metadata['name']}/eviction"
        self._cluster.kubectl("create", f"--raw={path}", "--filename=-", input=json.dumps(eviction))

    def patch(self, spec: Body) -> None:
        """Change the TaskQueue."""
        self.kubectl("patch", "taskqueue", NAME, "--type=merge", f"--patch={json.dumps({'spec': spec})}")

    def delete(self) -> None:
        """Ask for the end of the TaskQueue, and wait for nothing."""
        self.kubectl("delete", "taskqueue", NAME, "--wait=false")

    def publish(self, count: int, *, seconds: float) -> list[str]:
        """Publish that many tasks, each confirmed, and return their ids."""
        # Not asyncio.run: it forgets the main thread's loop, and pytest-asyncio then makes one that nobody closes.
        with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
            return runner.run(self._publish(count, seconds))

    def receipts(self, what: str) -> Counter[str]:
        """Count, for each task, how often it has `started` or was `done`."""
        self._receipts += self.broker.take(self.namespace, "receipts")
        return Counter(receipt["task"] for receipt in self._receipts if receipt["what"] == what)

    def cut(self) -> set[tuple[str, str]]:
        """Name each task that began in a pod and did not end there, and the pod."""
        self.receipts("done")
        began, ended = (
            {(receipt["task"], receipt["pod"]) for receipt in self._receipts if receipt["what"] == what}
            for what in ("started", "done")
        )
        return began - ended

    def taskqueue(self) -> Body | None:
        """Read the TaskQueue."""
        return self._get("taskqueue", NAME)

    def deployment(self) -> Body | None:
        """Read the workers' Deployment."""
        return self._get("deployment", NAME)

    def consuming(self) -> int:
        """How many workers are ready, as Kubernetes counts them."""
        return int(((self.deployment() or {}).get("status") or {}).get("readyReplicas", 0))

    def drain_mark(self) -> str:
        """Read what stands on the Deployment while workers are drained; empty when it does not."""
        annotations = (self.deployment() or {})["metadata"].get("annotations", {})
        return str(annotations.get("taskqueue.dev/drain", ""))

    def busy(self, count: int, *, seconds: float, worker: Body | None = None) -> Counter[str]:
        """Have so many workers, each with a task that takes a while; their ids."""
        self.apply(worker=worker, minReplicas=count, maxReplicas=count, readyPerReplica=1)
        self.until_ready()
        self.until(lambda: self.consuming() == count, f"{count} workers consume")
        tasks = Counter(self.publish(count, seconds=seconds))
        self.until(lambda: self.receipts("started") == tasks, f"{count} tasks run")
        return tasks

    def pods(self) -> list[Body]:
        """List the workers' pods."""
        items: list[Body] = json.loads(self.kubectl("get", "pods", "--output=json"))["items"]
        return items

    def queues(self) -> dict[str, Body]:
        """List the team's queues."""
        return self.broker.queues(self.namespace)

    def condition(self, kind: str) -> Body:
        """Read one condition of the TaskQueue; {} if it is not there."""
        conditions = ((self.taskqueue() or {}).get("status") or {}).get("conditions", [])
        return next((condition for condition in conditions if condition["type"] == kind), {})

    def until(self, condition: Callable[[], object], what: str, *, seconds: float = PATIENCE_SECONDS) -> None:
        """Poll until something is true; on failure tell how the TaskQueue stands."""
        try:
            until(lambda: bool(condition()), what, seconds=seconds, every=0.3)
        except TimeoutError as late:
            state = json.dumps((self.taskqueue() or {}).get("status"), indent=1)
            raise TimeoutError(f"{late}\n{state}\n{self.queues()}") from None

    def until_ready(self) -> None:
        """Until the operator says that all is as the spec asks."""
        self.until(lambda: self.condition("Ready").get("status") == "True", "the TaskQueue is ready")

    def until_replicas(self, fits: Callable[[int], bool], what: str) -> None:
        """Until as many workers are asked for."""
        self.until(lambda: fits(((self.deployment() or {}).get("spec") or {}).get("replicas", 0)), what)

    def until_asleep(self) -> None:
        """Until no worker is asked for and none is there."""
        self.until_replicas(lambda replicas: replicas == 0, "the workers are scaled to zero")
        self.until(lambda: not self.pods(), "the last worker has gone")

    def until_gone(self) -> None:
        """Until the TaskQueue is no more."""
        self.until(lambda: self.taskqueue() is None, "the TaskQueue is gone")

    async def _publish(self, count: int, seconds: float) -> list[str]:
        async with Publisher(f"{self._address.outside}/{self.namespace}") as publisher:
            return await asyncio.gather(*(self._publish_one(publisher, seconds) for _ in range(count)))

    async def _publish_one(self, publisher: Publisher, seconds: float) -> str:
        identity = str(uuid4())
        written = self.application.write(identity, seconds)
        return await publisher.publish(
            NAME, NAME, written.payload, type="audited", message_id=identity, headers=written.headers
        )

    def _get(self, kind: str, name: str) -> Body | None:
        found = self.kubectl("get", kind, name, "--ignore-not-found", "--output=json")
        return json.loads(found) if found else None
