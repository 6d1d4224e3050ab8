"""An application team: a namespace, a vhost, a TaskQueue whose tasks leave receipts."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from taskqueue_worker import Publisher
from tests.cluster.installation import create_namespace, create_secret
from tests.cluster.lane import Cluster
from tests.cluster.progress import until
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

    def __init__(self, cluster: Cluster, broker: Broker, address: Address, image: str, namespace: str) -> None:
        self._cluster = cluster
        self.broker = broker
        self._address = address
        self.image = image
        self.namespace = namespace
        self._receipts: list[tuple[str, str]] = []

    def move_in(self) -> None:
        """Make namespace, vhost, user, Secret, and the module of tasks."""
        self.broker.add_vhost(self.namespace)
        create_namespace(self._cluster, self.namespace)
        self.use_credentials(self.namespace, "first")
        module = {"audited.py": (Path(__file__).parent / "audited.py").read_text()}
        self.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "tasks"}, "data": module})

    def move_out(self) -> None:
        """Remove it all; the namespace goes in its own time."""
        self.kubectl("delete", "taskqueues", "--all", "--wait=false")
        self._cluster.kubectl("delete", "namespace", self.namespace, "--wait=false")
        self.broker.delete_vhost(self.namespace)

    def until_moved_out(self) -> None:
        """Wait until it is all gone, once it is removed."""
        gone = ("wait", f"namespace/{self.namespace}", "--for=delete", f"--timeout={2 * PATIENCE_SECONDS}s")
        self._cluster.kubectl(*gone)

    def use_credentials(self, user: str, password: str) -> None:
        """Make a user on the broker and put it into the Secret."""
        self.broker.add_user(user, password, self.namespace)
        uri = f"amqp://{user}:{password}@{self._address.inside}/{self.namespace}"
        create_secret(self._cluster, self.namespace, uri)

    def kubectl(self, *arguments: str) -> str:
        """Kubectl in the team's namespace."""
        return self._cluster.kubectl(f"--namespace={self.namespace}", *arguments)

    def apply(self, *, deletion: str = "Retain", worker: Body | None = None, **scaling: object) -> None:
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
            | (worker or {}),
            "scaling": {
                "maxReplicas": 4,
                "readyPerReplica": 10,
                "idleSeconds": 2,
                "behavior": {"scaleDown": {"stabilizationWindowSeconds": 5}},
            }
            | scaling,
        }
        kind = {"apiVersion": "taskqueue.dev/v1alpha1", "kind": "TaskQueue"}
        self.create(kind | {"metadata": {"name": NAME}, "spec": spec})

    def create(self, manifest: Body) -> None:
        """Apply an object in the team's namespace."""
        manifest["metadata"]["namespace"] = self.namespace
        self._cluster.kubectl("apply", "--filename=-", input=json.dumps(manifest))

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
            return runner.run(self._publish(count, {"seconds": seconds}))

    def receipts(self, what: str) -> Counter[str]:
        """Count, for each task, how often it has `started` or was `done`."""
        taken = self.broker.take(self.namespace, "receipts")
        self._receipts += [(receipt["what"], receipt["task"]) for receipt in taken]
        return Counter(task for each, task in self._receipts if each == what)

    def taskqueue(self) -> Body | None:
        """Read the TaskQueue."""
        return self._get("taskqueue", NAME)

    def deployment(self) -> Body | None:
        """Read the workers' Deployment."""
        return self._get("deployment", NAME)

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

    async def _publish(self, count: int, payload: Body) -> list[str]:
        async with Publisher(f"{self._address.outside}/{self.namespace}") as publisher:
            publishing = (publisher.publish(NAME, NAME, payload, type="audited") for _ in range(count))
            return await asyncio.gather(*publishing)

    def _get(self, kind: str, name: str) -> Body | None:
        found = self.kubectl("get", kind, name, "--ignore-not-found", "--output=json")
        return json.loads(found) if found else None
