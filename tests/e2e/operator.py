"""The installed operator."""

import json
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.cluster.installation import RELEASE, SYSTEM
from tests.cluster.lane import Cluster
from tests.cluster.progress import until
from tests.e2e.killing import kill


class Operator:
    """The operator that Helm has installed."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def pod(self) -> dict[str, Any]:
        """Read the operator's pod."""
        selector = f"--selector=app.kubernetes.io/instance={RELEASE}"
        listed = self._cluster.kubectl("get", "pods", f"--namespace={SYSTEM}", selector, "--output=json")
        (pod,) = json.loads(listed)["items"]
        found: dict[str, Any] = pod
        return found

    def restarts(self) -> int:
        """How often its container was started again."""
        status = self.pod()["status"]["containerStatuses"][0]
        return int(status["restartCount"])

    def sample(self, name: str, **labels: str) -> float:
        """Read one of its metrics; 0 when it tells none."""
        path = f"/api/v1/namespaces/{SYSTEM}/pods/{self.pod()['metadata']['name']}:8080/proxy/metrics"
        families = text_string_to_metric_families(self._cluster.kubectl("get", f"--raw={path}"))
        samples = (sample for family in families for sample in family.samples)
        return next((each.value for each in samples if each.name == name and each.labels == labels), 0)

    def kill(self) -> None:
        """End the process by SIGKILL, and wait until the kubelet has noticed."""
        before = self.restarts()
        kill(self._cluster, self.pod(), "taskqueue_operator")
        until(lambda: self.restarts() > before, "the kubelet starts the operator again", seconds=120, every=0.5)
