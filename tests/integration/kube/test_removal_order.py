"""The ReplicaSet controller removes pods in the order that `drain/replicaset_order.py` simulates."""

import json
import random
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest

from taskqueue_operator.drain.replicaset_order import CANDIDATE_COST, guaranteed_removals, rank
from taskqueue_operator.resource.names import DELETION_COST
from taskqueue_operator.workers.api_objects import Pod
from tests.cluster.control_plane import ControlPlane
from tests.integration.harness.eventually import eventually

Body = dict[str, Any]
LABEL = "order"
NODE = "somewhere"
COSTS = (None, CANDIDATE_COST, -5, 0, 7, -(2**31), 2**31 - 1)
READINESS = ((True, "Running"), (False, "Running"), (False, "Pending"))


class Workers:
    """A Deployment whose pods get the status that a test sets; no container runs."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        self._plane = plane
        self._namespace = namespace

    def begin(self, count: int) -> None:
        labels = {LABEL: "yes"}
        container = {"name": "worker", "image": "example.org/app:1"}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
        spec = {"replicas": count, "selector": {"matchLabels": labels}, "template": template}
        self._create({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "order"}, "spec": spec})
        eventually(lambda: len(self.pods()), count)

    def scale(self, count: int) -> None:
        self._kubectl("scale", "deployment/order", f"--replicas={count}")
        eventually(lambda: len(self.pods()), count)

    def pods(self) -> list[Pod]:
        """Return the pods that count as replicas."""
        listed = self._plane.api.list("pod", self._namespace, f"{LABEL}=yes")
        return [pod for pod in map(Pod.parse, listed) if pod.is_active]

    def shape(self, pod: Pod, *, assigned: bool, ready: bool, phase: str, cost: int | None) -> None:
        if assigned:
            target = {"apiVersion": "v1", "kind": "Node", "name": NODE}
            body = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod.key.name}, "target": target}
            path = f"/api/v1/namespaces/{self._namespace}/pods/{pod.key.name}/binding"
            self._plane.kubectl("create", f"--raw={path}", "-f", "-", text=json.dumps(body))
        container = {"name": "worker", "image": "app", "imageID": "", "ready": ready, "restartCount": 0}
        running = {"state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}
        conditions = [{"type": "Ready", "status": str(ready)}]
        status = {"phase": phase, "conditions": conditions, "containerStatuses": [container | running]}
        self._kubectl(
            "patch", "pod", pod.key.name, "--subresource=status", "--type=merge", f"-p={json.dumps({'status': status})}"
        )
        if cost is not None:
            self._kubectl("annotate", "pod", pod.key.name, f"{DELETION_COST}={cost}")

    def _create(self, body: Body) -> None:
        self._plane.kubectl("create", f"--namespace={self._namespace}", "-f", "-", text=json.dumps(body))

    def _kubectl(self, *arguments: str) -> str:
        return self._plane.kubectl(f"--namespace={self._namespace}", *arguments)


@pytest.fixture
def workers(control_plane: ControlPlane, namespace: str) -> Iterator[Workers]:
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}}
    control_plane.kubectl("create", "-f", "-", text=json.dumps(node))
    yield Workers(control_plane, namespace)
    control_plane.kubectl("delete", "node", NODE)


def test_the_replicaset_removes_pods_in_the_simulated_order(workers: Workers) -> None:
    """Twelve pods that differ in every criterion are removed two at a time."""
    every = list(product((True, False), READINESS, COSTS))
    chosen = random.Random(5).sample(every, 12)
    workers.begin(len(chosen))
    for pod, (assigned, (ready, phase), cost) in zip(workers.pods(), chosen, strict=True):
        workers.shape(pod, assigned=assigned, ready=ready, phase=phase, cost=cost)
    before = workers.pods()
    assert len({rank(pod) for pod in before}) > 8, "the pods differ"
    while before:
        workers.scale(len(before) - 2)
        after = workers.pods()
        removed = {pod.uid for pod in before} - {pod.uid for pod in after}
        going = [rank(pod) for pod in before if pod.uid in removed]
        kept = [rank(pod) for pod in before if pod.uid not in removed]
        assert max(going) <= min(kept, default=max(going))
        ties = max(going) in kept
        assert ties or guaranteed_removals(before, removed) == len(removed)
        before = after
