"""The installed operator, and the hardest way to stop it."""

import json
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.cluster import images
from tests.cluster.installation import RELEASE, SYSTEM
from tests.cluster.lane import Cluster
from tests.cluster.progress import until

KILL = """
import os, pathlib, signal
for process in pathlib.Path("/proc").glob("[0-9]*"):
    try:
        groups, command = (process / "cgroup").read_text(), (process / "cmdline").read_text()
    except OSError:
        continue
    if "%s" in groups.replace("_", "-") and "taskqueue_operator" in command:
        os.kill(int(process.name), signal.SIGKILL)
        print("killed", flush=True)
"""


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
        """End the process by SIGKILL from the node, as the kernel would, and wait until the kubelet has noticed.

        A container cannot do that to itself: the kernel spares the first process of a PID namespace.
        """
        pod, before = self.pod(), self.restarts()
        killer = _pod_on_the_node(pod["spec"]["nodeName"], KILL % pod["metadata"]["uid"])
        self._cluster.kubectl("create", "--filename=-", input=json.dumps(killer))
        name = killer["metadata"]["name"]
        said = ("wait", f"pod/{name}", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s")
        self._cluster.kubectl(*said, "--namespace=kube-system")
        assert "killed" in self._cluster.kubectl("logs", name, "--namespace=kube-system")
        self._cluster.kubectl("delete", "pod", name, "--namespace=kube-system", "--wait=true")
        until(lambda: self.restarts() > before, "the kubelet starts the operator again", seconds=120, every=0.5)


def _pod_on_the_node(node: str, script: str) -> dict[str, Any]:
    container = {
        "name": "killer",
        "image": images.tag("operator"),
        "command": ["/opt/taskqueue/bin/python", "-c", script],
        "securityContext": {"privileged": True, "runAsUser": 0},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "taskqueue-killer", "namespace": "kube-system"},
        "spec": {"hostPID": True, "nodeName": node, "restartPolicy": "Never", "containers": [container]},
    }
