"""Stands for the kubelets of a control plane without nodes: in each pod of the workers, a worker runs as a process."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tests.integration.control.stage import Reached, Stage, eventually
from tests.integration.worker.running_worker import RunningWorker

CONTAINER: Final = "worker"
BEGAN: Final = "2026-01-01T00:00:00Z"


class Kubelet:
    """Brings pods and processes together whenever it is asked to look.

    Pods stay without a node, so they go as soon as they are deleted; their processes have the time that they need.

    Attributes:
        broker: What workers that begin connect to.
        workers: Those whose pods are there, by the UID of the pod.
        left: Those whose pods have gone.
    """

    def __init__(self, stage: Stage[Any], queue: str, broker: Reached, directory: Path) -> None:
        self.workers: dict[str, RunningWorker] = {}
        self.left: list[RunningWorker] = []
        self._shown: dict[str, bool] = {}
        self._stage = stage
        self._queue = queue
        self.broker = broker
        self._directory = directory

    def close(self) -> None:
        """Leave no process behind."""
        for worker in (*self.workers.values(), *self.left):
            worker.kill()

    def until(self, question: Callable[[], Any], *expected: object, seconds: float = 90) -> Any:  # noqa: ANN401  JSON
        """Look until the answer is one of those expected (or true, if none is given), and return it."""

        def look() -> Any:  # noqa: ANN401  likewise
            self.look()
            return question()

        return eventually(look, *expected, seconds=seconds)

    def look(self) -> None:
        """Start a process in each new pod, end those whose pods have gone, and say of all how they are."""
        pods = self._stage.plane.api.list("pod", self._stage.namespace, f"taskqueue.dev/name={self._queue}")
        there = {pod["metadata"]["uid"]: pod for pod in pods}
        for uid in self.workers.keys() - there.keys():
            self.left.append(self.workers.pop(uid))
            self.left[-1].terminate()
        for uid, pod in there.items():
            if uid not in self.workers:
                self.workers[uid] = self._start(uid)
            self._show(pod, self.workers[uid])

    def _start(self, uid: str) -> RunningWorker:
        variables = {
            "RABBITMQ_URL": self.broker.url,
            "TASKQUEUE_VHOST": self._stage.vhost,
            "TASKQUEUE_QUEUES": self._queue,
            "TASKQUEUE_NAME": f"{self._stage.namespace}/{self._queue}",
            "TASKQUEUE_POD_UID": uid,
        }
        return RunningWorker(self._directory, uid, **variables)

    def _show(self, pod: dict[str, Any], worker: RunningWorker) -> None:
        ready = bool(worker.lines(event="listening")) and worker.get("/readyz")[0] == 200
        if self._shown.get(pod["metadata"]["uid"]) is ready:
            return
        self._shown[pod["metadata"]["uid"]] = ready
        container = {"name": CONTAINER, "ready": ready, "restartCount": 0, "image": "worker", "imageID": ""}
        running = {"state": {"running": {"startedAt": BEGAN}}}
        conditions = [{"type": "Ready", "status": str(ready)}]
        status = {"phase": "Running", "conditions": conditions, "containerStatuses": [container | running]}
        name = pod["metadata"]["name"]
        patch = json.dumps({"status": status})
        try:
            self._stage.kubectl("patch", "pod", name, "--subresource=status", "--type=merge", f"--patch={patch}")
        except RuntimeError as error:
            if "(NotFound)" not in str(error):  # it may have gone meanwhile
                raise
