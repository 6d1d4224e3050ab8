"""A tenant of the cluster: a namespace, a vhost, and a TaskQueue whose tasks publish receipts."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from uuid import uuid4

from taskqueue_worker import Publisher
from tests.cluster import images
from tests.cluster.installation import create_namespace, create_secret
from tests.cluster.progress import until
from tests.cluster.provider import Cluster
from tests.e2e.application import (
    MODULE_MOUNTS,
    MODULES_CONFIGMAP,
    MODULES_VOLUME,
    NAME,
    OPERATOR_SECRET,
    TASKQUEUE_WORKER,
    Application,
)
from tests.e2e.management_api import GATE, ManagementApi
from tests.permissions import ALL, Grant, documented

Body = dict[str, Any]
TIMEOUT_SECONDS = 180
TASK_TIMEOUT_SECONDS = 300
"""Longer than any test keeps its gate closed, also on a busy machine."""


class BrokerAddress(NamedTuple):
    """How to connect to the broker: `in_cluster` (host and port) from pods, `on_host` (a URL) from the tests."""

    in_cluster: str
    on_host: str


class Tenant:
    """A namespace of a test, and the vhost and the user of the same name."""

    def __init__(
        self,
        cluster: Cluster,
        broker: ManagementApi,
        address: BrokerAddress,
        namespace: str,
        application: Application = TASKQUEUE_WORKER,
    ) -> None:
        self._cluster = cluster
        self.broker = broker
        self._address = address
        self.image = images.tag(application.image)
        self.namespace = namespace
        self.taskqueue_key = f"{namespace}/{NAME}"
        self.application = application
        self.deployment_name = NAME
        self._receipts: list[Body] = []

    def set_up(self) -> None:
        """Create vhost, namespace, user and Secret, and load the image and the modules of the tasks."""
        self._cluster.load(images.build(self.application.image))
        self.broker.create_vhost(self.namespace)
        create_namespace(self._cluster, self.namespace)
        self.use_credentials(self.namespace, "first")
        metadata = {"name": MODULES_CONFIGMAP}
        modules = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": self.application.modules}
        self.apply_manifest(modules)

    def tear_down(self) -> None:
        """Delete everything, without a wait for the namespace and for running tasks."""
        self.kubectl("delete", "taskqueues", "--all", "--wait=false")
        self._cluster.kubectl("delete", "namespace", self.namespace, "--wait=false")
        # A task behind a closed gate would keep its pod for the whole grace period.
        self.kubectl("delete", "pods", "--all", "--grace-period=1", "--wait=false")
        self.broker.delete_vhost(self.namespace)

    def wait_for_pods_deleted(self) -> None:
        """Wait after `tear_down` until no pod is left; the empty namespace may remain for minutes."""
        until(lambda: not self.pods(), "all worker pods are deleted", seconds=2 * TIMEOUT_SECONDS, every=0.5)

    def use_credentials(self, user: str, password: str, secret: str = OPERATOR_SECRET) -> None:
        """Create a user on the broker, with the rights that the documentation asks for, and write it to a Secret."""
        self.broker.put_user(user, password, self.namespace, self._grants(secret))
        uri = f"amqp://{user}:{password}@{self._address.in_cluster}/{self.namespace}"
        create_secret(self._cluster, self.namespace, uri, secret)

    def _grants(self, secret: str) -> frozenset[Grant]:
        """Return the rights of the user in a Secret. Celery declares objects of its own."""
        application, grants = self.application, frozenset[Grant]()
        for queue in application.queues:
            if secret == OPERATOR_SECRET:
                grants |= documented("operator", queue, NAME)
            if secret == application.secret:
                grants |= ALL if application.declares else documented("worker", queue, NAME)
        return grants

    def kubectl(self, *arguments: str) -> str:
        """Run kubectl in the tenant's namespace; return its output."""
        return self._cluster.kubectl(f"--namespace={self.namespace}", *arguments)

    def apply(
        self,
        *,
        deletion: str = "Retain",
        worker: Body | None = None,
        queue: Body | None = None,
        external_queues: Sequence[str] = (),
        **scaling: object,
    ) -> None:
        """Apply the TaskQueue `work`, with short windows for scale-in."""
        template = {
            "spec": {
                "containers": [{"name": "worker", "volumeMounts": MODULE_MOUNTS}],
                "volumes": [MODULES_VOLUME],
            }
        }
        spec = {
            "broker": {"secretRef": {"name": OPERATOR_SECRET}},
            "deletionPolicy": deletion,
            "worker": {
                "image": self.image,
                "env": [{"name": "TASKQUEUE_MODULES", "value": "audited"}],
                "taskTimeoutSeconds": TASK_TIMEOUT_SECONDS,
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
        }
        spec |= ({"queue": queue} if queue else {}) | (
            {"externalQueues": list(external_queues)} if external_queues else {}
        )
        kind = {"apiVersion": "taskqueue.dev/v1alpha1", "kind": "TaskQueue"}
        self.apply_manifest(kind | {"metadata": {"name": NAME}, "spec": spec})

    def apply_manifest(self, manifest: Body) -> None:
        """Apply an object in the tenant's namespace."""
        manifest["metadata"]["namespace"] = self.namespace
        self._cluster.kubectl("apply", "--filename=-", input=json.dumps(manifest))

    def evict(self, pod: Body) -> None:
        """Evict a pod, as `kubectl drain` does."""
        metadata = {"name": pod["metadata"]["name"], "namespace": self.namespace}
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}
        path = f"/api/v1/namespaces/{self.namespace}/pods/{metadata['name']}/eviction"
        self._cluster.kubectl("create", f"--raw={path}", "--filename=-", input=json.dumps(eviction))

    def patch(self, spec: Body) -> None:
        """Change fields of the TaskQueue's spec."""
        self.kubectl("patch", "taskqueue", NAME, "--type=merge", f"--patch={json.dumps({'spec': spec})}")

    def delete(self) -> None:
        """Delete the TaskQueue, without a wait."""
        self.kubectl("delete", "taskqueue", NAME, "--wait=false")

    @property
    def gate(self) -> str:
        """The URL, as pods reach it, of the gate at which gated tasks wait."""
        host = self._address.in_cluster.partition(":")[0]
        return f"http://guest:guest@{host}:15672/api/exchanges/{self.namespace}/{GATE}"

    def open_gate(self) -> None:
        """Let all gated tasks finish, running and later ones."""
        self.broker.open_gate(self.namespace)

    def publish(self, count: int, *, seconds: float, queue: str | None = None) -> list[str]:
        """Publish tasks that run for `seconds`, each confirmed by the broker; return their ids.

        They go to the exchange of the TaskQueue, or right to a queue.
        """
        return self._publish(count, seconds, gate=None, queue=queue)

    def publish_gated(self, count: int) -> list[str]:
        """Publish tasks that run until `open_gate`, each confirmed by the broker; return their ids."""
        return self._publish(count, 0, gate=self.gate)

    def receipts(self, what: str) -> Counter[str]:
        """Count, for each task, how often it has `started` or was `done`."""
        self._receipts += self.broker.consume_all(self.namespace, "receipts")
        return Counter(receipt["task"] for receipt in self._receipts if receipt["what"] == what)

    def interrupted(self) -> set[tuple[str, str]]:
        """Return (task, pod) for each task that started in a pod and did not finish in it."""
        self.receipts("done")
        started, done = (
            {(receipt["task"], receipt["pod"]) for receipt in self._receipts if receipt["what"] == what}
            for what in ("started", "done")
        )
        return started - done

    def taskqueue(self) -> Body | None:
        """Read the TaskQueue."""
        return self._get("taskqueue", NAME)

    def deployment(self) -> Body | None:
        """Read the workers' Deployment."""
        return self._get("deployment", self.deployment_name)

    def replicas(self) -> int:
        """Return `spec.replicas` of the Deployment; 0 without one."""
        return int(((self.deployment() or {}).get("spec") or {}).get("replicas", 0))

    def ready_replicas(self) -> int:
        """Return `status.readyReplicas` of the Deployment; 0 without one."""
        return int(((self.deployment() or {}).get("status") or {}).get("readyReplicas", 0))

    def drain_token(self) -> str:
        """Return the fencing token on the Deployment; empty unless workers are drained."""
        annotations = (self.deployment() or {})["metadata"].get("annotations", {})
        return str(annotations.get("taskqueue.dev/drain", ""))

    def draining(self) -> list[Body]:
        """List the workers that have logged a drain command, with its fencing token."""
        return [pod for pod in self.pods() if '"epoch":' in self.logs(pod)]

    def logs(self, pod: Body) -> str:
        """Return what a worker has logged."""
        return self._cluster.api.logs(self.namespace, pod["metadata"]["name"])

    def start_gated_tasks(self, workers: int, worker: Body | None = None) -> Counter[str]:
        """Start a fixed number of workers, each with one running gated task; return the ids of the tasks."""
        self.start_workers(workers, worker)
        tasks = Counter(self.publish_gated(workers))
        self.until(lambda: self.receipts("started") == tasks, f"{workers} gated tasks run")
        return tasks

    def start_workers(self, count: int, worker: Body | None = None) -> None:
        """Apply the TaskQueue with a fixed number of workers, and wait until all are ready."""
        self.apply(worker=worker, minReplicas=count, maxReplicas=count, readyPerReplica=1)
        self.until_ready()
        self.until(lambda: self.ready_replicas() == count, f"{count} workers are ready")

    def pods(self) -> list[Body]:
        """List the workers' pods."""
        return self._cluster.api.list("pod", self.namespace)

    def queues(self) -> dict[str, Body]:
        """List the queues that the operator or Celery has declared, by name."""
        return self.broker.queues(self.namespace)

    def condition(self, kind: str) -> Body:
        """Read one condition of the TaskQueue; {} without it."""
        conditions = ((self.taskqueue() or {}).get("status") or {}).get("conditions", [])
        return next((condition for condition in conditions if condition["type"] == kind), {})

    def until(self, condition: Callable[[], object], what: str, *, seconds: float = TIMEOUT_SECONDS) -> None:
        """Poll until `condition` holds.

        Raises:
            TimeoutError: It does not hold in time; the text contains the TaskQueue's status and the queues.
        """
        try:
            until(lambda: bool(condition()), what, seconds=seconds, every=0.3)
        except TimeoutError as late:
            state = json.dumps((self.taskqueue() or {}).get("status"), indent=1)
            raise TimeoutError(f"{late}\n{state}\n{self.queues()}") from None

    def until_ready(self) -> None:
        """Wait for the condition Ready."""
        self.until(lambda: self.condition("Ready").get("status") == "True", "the TaskQueue is ready")

    def until_reason(self, kind: str, reason: str) -> Body:
        """Wait until a condition has this reason; return the condition."""
        self.until(lambda: self.condition(kind).get("reason") == reason, f"{kind} has the reason {reason}")
        return self.condition(kind)

    def until_replicas(self, fits: Callable[[int], bool], what: str) -> None:
        """Wait until `spec.replicas` of the Deployment fits."""
        self.until(lambda: fits(self.replicas()), what)

    def until_scaled_to_zero(self) -> None:
        """Wait until the Deployment has no replicas and no pod is left."""
        self.until_replicas(lambda replicas: replicas == 0, "the Deployment has 0 replicas")
        self.until(lambda: not self.pods(), "the last worker pod is deleted")

    def until_deleted(self) -> None:
        """Wait until the TaskQueue is deleted."""
        self.until(lambda: self.taskqueue() is None, "the TaskQueue is deleted")

    def _publish(self, count: int, seconds: float, gate: str | None, queue: str | None = None) -> list[str]:
        async def publish() -> list[str]:
            async with Publisher(f"{self._address.on_host}/{self.namespace}") as publisher:
                return await asyncio.gather(*(self._publish_one(publisher, seconds, gate, queue) for _ in range(count)))

        # Not asyncio.run: it unsets the main thread's loop, and pytest-asyncio then creates one that it does not close.
        with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
            return runner.run(publish())

    async def _publish_one(self, publisher: Publisher, seconds: float, gate: str | None, queue: str | None) -> str:
        identity = str(uuid4())
        message = self.application.message(identity, seconds, gate)
        return await publisher.publish(
            NAME if queue is None else "",
            queue or NAME,
            message.payload,
            type="audited",
            message_id=identity,
            headers=message.headers,
        )

    def _get(self, kind: str, name: str) -> Body | None:
        return self._cluster.api.get(kind, self.namespace, name)
