"""Takes the place of the kubelets of a control plane without nodes: for each pod of a Deployment, a worker process."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Generic, Protocol

from typing_extensions import TypeVar

from tests.integration.harness.eventually import eventually
from tests.integration.harness.tenant import BrokerAddress, Tenant
from tests.integration.worker.running_worker import RunningWorker

CONTAINER: Final = "worker"
CONTRACT: Final = (
    "TASKQUEUE_QUEUES",
    "TASKQUEUE_DEAD_LETTER_ROUTING_KEY",
    "TASKQUEUE_CONCURRENCY",
    "TASKQUEUE_PREFETCH",
)
"""What the worker of a pod gets from its template."""
STARTED_AT: Final = "2026-01-01T00:00:00Z"


class PodProcess(Protocol):
    """What runs in a pod."""

    @property
    def is_ready(self) -> bool: ...
    def terminate(self) -> None: ...
    def kill(self) -> None: ...


P = TypeVar("P", bound=PodProcess, default=RunningWorker)


class FakeKubelet(Generic[P]):
    """Brings pods and processes in step, whenever `sync` is called.

    Pods have no node, so the API server removes them as soon as they are deleted. Their processes get SIGTERM, and run
    as long as they need.

    Attributes:
        broker: What new workers connect to.
        running: The workers of existing pods, by the UID of the pod.
        terminated: The workers of removed pods.
    """

    def __init__(
        self, tenant: Tenant[Any], queue: str, broker: BrokerAddress, directory: Path, **variables: str
    ) -> None:
        """`queue` is the name of the TaskQueue; `variables` replace those of its pods."""
        self.running: dict[str, P] = {}
        self.terminated: list[P] = []
        self._ready: dict[str, bool] = {}
        self._tenant = tenant
        self._queue = queue
        self.broker = broker
        self._directory = directory
        self._variables = variables

    def close(self) -> None:
        """Kill all processes."""
        for worker in (*self.running.values(), *self.terminated):
            worker.kill()

    def until(self, question: Callable[[], Any], *expected: object, seconds: float = 90) -> Any:  # noqa: ANN401  JSON
        """Sync until the answer is one of those expected (or true, if none is given), and return it."""

        def answer() -> Any:  # noqa: ANN401  likewise
            self.sync()
            return question()

        return eventually(answer, *expected, seconds=seconds)

    def sync(self) -> None:
        """Start a process for each new pod, terminate those of removed pods, and write the readiness of all."""
        pods = self._tenant.plane.api.list("pod", self._tenant.namespace, f"taskqueue.dev/name={self._queue}")
        pods_by_uid = {pod["metadata"]["uid"]: pod for pod in pods}
        for uid in self.running.keys() - pods_by_uid.keys():
            self.terminated.append(self.running.pop(uid))
            self.terminated[-1].terminate()
        for uid, pod in pods_by_uid.items():
            if uid not in self.running:
                self.running[uid] = self._start(uid, pod)
            self._report(pod, self.running[uid])

    def _start(self, uid: str, pod: dict[str, Any]) -> P:
        (container,) = (found for found in pod["spec"]["containers"] if found["name"] == CONTAINER)
        contract = {variable["name"]: variable.get("value", "") for variable in container["env"]}
        variables = {
            **{name: contract[name] for name in CONTRACT if name in contract},
            "RABBITMQ_URL": self.broker.url,
            "TASKQUEUE_VHOST": self._tenant.vhost,
            "TASKQUEUE_NAME": f"{self._tenant.namespace}/{self._queue}",
            "TASKQUEUE_POD_UID": uid,
            **self._variables,
        }
        return self._process(self._directory, uid, variables)

    def _process(self, directory: Path, uid: str, variables: dict[str, str]) -> P:
        return RunningWorker(directory, uid, **variables)  # type: ignore[return-value]  # the default of P

    def _report(self, pod: dict[str, Any], worker: P) -> None:
        ready = worker.is_ready
        if self._ready.get(pod["metadata"]["uid"]) is ready:
            return
        self._ready[pod["metadata"]["uid"]] = ready
        container = {"name": CONTAINER, "ready": ready, "restartCount": 0, "image": "worker", "imageID": ""}
        running = {"state": {"running": {"startedAt": STARTED_AT}}}
        conditions = [{"type": "Ready", "status": str(ready)}]
        status = {"phase": "Running", "conditions": conditions, "containerStatuses": [container | running]}
        # It may be removed meanwhile.
        plane, namespace = self._tenant.plane, self._tenant.namespace
        plane.writer.merge("pod/status", namespace, pod["metadata"]["name"], {"status": status})
