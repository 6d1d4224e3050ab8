"""A cluster in containers of Docker or podman: it needs neither root nor a compiler."""

import os
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from typing_extensions import override

from tests.cluster import cache, choice
from tests.cluster.prerequisites import MissingError, run
from tests.cluster.progress import step, working
from tests.cluster.provider import Cluster

_NAME = "taskqueue"
_WAYS = {
    "kind": "https://kind.sigs.k8s.io/docs/user/quick-start/#installation",
    "kubectl": "https://kubernetes.io/docs/tasks/tools/",
    "helm": "https://helm.sh/docs/intro/install/",
}


def need_programs(*names: str) -> None:
    """Refuse in one sentence that says where to get what is missing."""
    missing = [f"{name} ({_WAYS[name]})" for name in names if not shutil.which(name)]
    if missing:
        raise MissingError(f"please install {', '.join(missing)}")


class Kind(Cluster):
    """One kind cluster of a fixed name."""

    provider = "kind"

    @property
    @override
    def kubeconfig(self) -> Path:
        return cache.home() / "kind.kubeconfig"

    @override
    def check_prerequisites(self) -> None:
        choice.need_engine()
        need_programs("kind", "kubectl", "helm")

    @override
    def up(self) -> None:
        self.check_prerequisites()
        if _NAME not in self._kind("get", "clusters").split():
            with working("making a cluster with kind"):
                self._kind("create", "cluster", "--wait=180s", f"--kubeconfig={self.kubeconfig}")
        else:
            self._kind("export", "kubeconfig", f"--kubeconfig={self.kubeconfig}")
        step("the cluster is ready")

    @override
    def down(self) -> None:
        self.check_prerequisites()
        self._kind("delete", "cluster", f"--kubeconfig={self.kubeconfig}")
        step("the cluster is gone")

    @override
    def load(self, tag: str) -> None:
        # Not `kind load docker-image`, which asks Docker also where podman built the image.
        with cache.locked("kind-load"), TemporaryDirectory() as folder:
            archive = Path(folder) / "image.tar"
            run(choice.need_engine(), "save", "-o", str(archive), tag)
            self._kind("load", "image-archive", str(archive))
        step(f"{tag} loaded")

    @override
    def logs(self) -> str:
        return self.kubectl(
            "logs", "--namespace=kube-system", "--selector=tier=control-plane", "--tail=25", check=False
        )

    def _kind(self, *arguments: str) -> str:
        env = {**os.environ, "KIND_CLUSTER_NAME": _NAME, "KIND_EXPERIMENTAL_PROVIDER": choice.need_engine()}
        return run("kind", *arguments, env=env)
