"""The hardest way to end a process in a pod: by SIGKILL from its node, as the kernel would.

A container cannot do that to itself: the kernel spares the first process of a PID namespace.
"""

import json
from typing import Any, Final

from tests.cluster import images
from tests.cluster.lane import Cluster

NAMESPACE: Final = "kube-system"
NAME: Final = "taskqueue-killer"
KILL: Final = """
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


def kill(cluster: Cluster, pod: dict[str, Any], command: str) -> None:
    """End the processes of a pod that have this in their command line."""
    killer = _pod_on_the_node(pod["spec"]["nodeName"], KILL % (pod["metadata"]["uid"], command))
    cluster.kubectl("create", "--filename=-", input=json.dumps(killer))
    succeeded = ("--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s")
    cluster.kubectl("wait", f"pod/{NAME}", f"--namespace={NAMESPACE}", *succeeded)
    assert "killed" in cluster.kubectl("logs", NAME, f"--namespace={NAMESPACE}")
    cluster.kubectl("delete", "pod", NAME, f"--namespace={NAMESPACE}", "--wait=true")


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
        "metadata": {"name": NAME, "namespace": NAMESPACE},
        "spec": {"hostPID": True, "nodeName": node, "restartPolicy": "Never", "containers": [container]},
    }
