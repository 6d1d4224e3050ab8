"""SIGKILL for a process in a pod, sent from the node of the pod.

A container cannot send it to its own first process: the kernel protects the first process of a PID namespace.
"""

import json
from typing import Any, Final
from uuid import uuid4

from tests.cluster import images
from tests.cluster.provider import Cluster

NAMESPACE: Final = "kube-system"
SCRIPT: Final = """
import os, pathlib, signal
for process in pathlib.Path("/proc").glob("[0-9]*"):
    try:
        groups, command = (process / "cgroup").read_text(), (process / "cmdline").read_text()
    except OSError:
        continue
    if "%s" in groups.replace("_", "-") and "%s" in command:
        os.kill(int(process.name), signal.SIGKILL)
        print("killed", flush=True)
"""


def kill_process(cluster: Cluster, pod: dict[str, Any], command: str) -> None:
    """Kill the processes of a pod whose command line contains `command`."""
    name = f"taskqueue-kill-{uuid4().hex[:6]}"
    job = _privileged_pod(name, pod["spec"]["nodeName"], SCRIPT % (pod["metadata"]["uid"], command))
    cluster.kubectl("create", "--filename=-", input=json.dumps(job))
    succeeded = ("--for=jsonpath={.status.phase}=Succeeded", "--timeout=120s")
    cluster.kubectl("wait", f"pod/{name}", f"--namespace={NAMESPACE}", *succeeded)
    assert "killed" in cluster.kubectl("logs", name, f"--namespace={NAMESPACE}")
    cluster.kubectl("delete", "pod", name, f"--namespace={NAMESPACE}", "--wait=false")


def _privileged_pod(name: str, node: str, script: str) -> dict[str, Any]:
    container = {
        "name": "kill",
        "image": images.tag("operator"),
        "command": ["/opt/taskqueue/bin/python", "-c", script],
        "securityContext": {"privileged": True, "runAsUser": 0},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"hostPID": True, "nodeName": node, "restartPolicy": "Never", "containers": [container]},
    }
