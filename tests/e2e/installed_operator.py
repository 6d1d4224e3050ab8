"""The operator that Helm has installed."""

import json
from collections import Counter
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.cluster.installation import RELEASE, SYSTEM
from tests.cluster.progress import until
from tests.cluster.provider import Cluster
from tests.e2e.node_kill import kill_process

REMOVED_PODS = "taskqueue_scale_in_removed_pods_total"


class InstalledOperator:
    """The one operator pod that all tests share."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def pod(self) -> dict[str, Any]:
        """Read the operator's pod."""
        (pod,) = self._cluster.api.list("pod", SYSTEM, f"app.kubernetes.io/instance={RELEASE}")
        return pod

    def restarts(self) -> int:
        """Return how often the kubelet has restarted its container."""
        status = self.pod()["status"]["containerStatuses"][0]
        return int(status["restartCount"])

    def metric(self, name: str, /, **labels: str) -> float:
        """Return the value of one of its metrics; 0 for a missing one. It counts the TaskQueues of all tests."""
        path = f"/api/v1/namespaces/{SYSTEM}/pods/{self.pod()['metadata']['name']}:8080/proxy/metrics"
        families = text_string_to_metric_families(self._cluster.api.raw(path))
        samples = (sample for family in families for sample in family.samples)
        return next((sample.value for sample in samples if sample.name == name and sample.labels == labels), 0)

    def unacked(self, taskqueue: str) -> float:
        """Return the unacked messages of one TaskQueue (namespace/name) as the operator has read them."""
        namespace, name = taskqueue.split("/")
        return self.metric("taskqueue_queue_messages_unacked", namespace=namespace, name=name)

    def removed_pods(self, taskqueue: str) -> Counter[str]:
        """Count the pods removed by scale-ins of one TaskQueue (namespace/name), by state, since the last restart."""
        lines = self._cluster.api.logs(SYSTEM, self.pod()["metadata"]["name"]).splitlines()
        entries = (json.loads(line) for line in lines if f'"{taskqueue}"' in line)
        return Counter(entry["state"] for entry in entries if {"pod", "state"} <= entry.keys())

    def replace_pod(self) -> None:
        """Delete the pod, and wait until another one is ready."""
        self._cluster.kubectl("delete", "pod", self.pod()["metadata"]["name"], f"--namespace={SYSTEM}", "--wait=true")
        ready = ("rollout", "status", f"deployment/{RELEASE}", f"--namespace={SYSTEM}", "--timeout=120s")
        self._cluster.kubectl(*ready)

    def kill(self) -> None:
        """Send SIGKILL to the process, and wait until the kubelet has restarted the container."""
        before = self.restarts()
        kill_process(self._cluster, self.pod(), "taskqueue_operator")
        until(lambda: self.restarts() > before, "the kubelet restarts the operator", seconds=120, every=0.5)
