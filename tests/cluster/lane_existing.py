"""The cluster that the current kubeconfig names; only when asked for by name."""

import os
import shlex
from pathlib import Path

from tests.cluster.lane import Cluster
from tests.cluster.lane_kind import need_programs
from tests.cluster.prerequisites import MissingError, run
from tests.cluster.progress import step


class Existing(Cluster):
    """Neither made nor removed here. `CLUSTER_LOAD` says how an image gets in, say `minikube image load`."""

    lane = "existing"
    kubectl_command = ["kubectl"]  # noqa: RUF012 - never changed
    helm_command = ["helm"]  # noqa: RUF012 - never changed

    @property
    def kubeconfig(self) -> Path:
        chosen = os.environ.get("KUBECONFIG", "").split(os.pathsep)[0]
        return Path(chosen) if chosen else Path.home() / ".kube/config"

    def up(self) -> None:
        need_programs("kubectl", "helm")
        step(f"using the cluster of context {self.kubectl('config', 'current-context').strip()}")
        self.kubectl("get", "--raw=/readyz")

    def down(self) -> None:
        step("the cluster is not ours, so it stays")

    def load(self, tag: str) -> None:
        command = os.environ.get("CLUSTER_LOAD")
        if not command:
            raise MissingError("set CLUSTER_LOAD to the command that brings an image into this cluster, say 'k3d image import'")
        run(*shlex.split(command), tag)

    def logs(self) -> str:
        return ""
