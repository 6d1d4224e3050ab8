"""The cluster of the current kubeconfig; used only if `CLUSTER` is `existing`."""

import os
import shlex
from pathlib import Path

from typing_extensions import override

from tests.cluster.prerequisites import MissingError, run
from tests.cluster.progress import step
from tests.cluster.provider import Cluster
from tests.cluster.provider_kind import need_programs


class Existing(Cluster):
    """A cluster that is neither created nor removed.

    `CLUSTER_LOAD` is the command that loads an image into it, such as `minikube image load`.
    """

    provider = "existing"

    @property
    @override
    def kubeconfig(self) -> Path:
        chosen = os.environ.get("KUBECONFIG", "").split(os.pathsep)[0]
        return Path(chosen) if chosen else Path.home() / ".kube/config"

    @override
    def check_prerequisites(self) -> None:
        need_programs("kubectl", "helm")

    @override
    def up(self) -> None:
        self.check_prerequisites()
        step(f"using the cluster of context {self.kubectl('config', 'current-context').strip()}")
        self.kubectl("get", "--raw=/readyz")

    @override
    def down(self) -> None:
        step("the cluster is not ours, so it stays")

    @override
    def load(self, tag: str) -> None:
        command = os.environ.get("CLUSTER_LOAD")
        if not command:
            raise MissingError(
                "set CLUSTER_LOAD to the command that brings an image into this cluster, say 'k3d image import'"
            )
        run(*shlex.split(command), tag)

    @override
    def logs(self) -> str:
        return ""
