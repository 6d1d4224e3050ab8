"""Programs compiled from source, once per version, where nothing can be downloaded ready-made."""

import os
import re
from pathlib import Path

from tests.cluster import cache
from tests.cluster.prerequisites import need_go, need_packages, run
from tests.cluster.progress import working

_SOURCE = Path(__file__).parent / "kubernetes"
_CONTAINERD = "v2.2.1"
_RUNC = "v1.3.4"
_RUNTIME_NAME = f"containerd-{_CONTAINERD}-runc-{_RUNC}"
_CONTAINERD_PROGRAMS = ("containerd", "containerd-shim-runc-v2", "ctr")


def kubernetes() -> Path:
    """The directory with `kubernetes`, which is every program of Kubernetes, etcd and CoreDNS, and with `helm`."""
    return cache.entry(_kubernetes_name(), _build_kubernetes)


def container_runtime() -> Path:
    """The directory with containerd, its shim, ctr and runc."""
    return cache.entry(_RUNTIME_NAME, _build_container_runtime)


def need_compiler() -> None:
    """Refuse in one sentence when something is still to be built and cannot be."""
    if not all((cache.home() / name).exists() for name in (_kubernetes_name(), _RUNTIME_NAME)):
        need_go()


def program(name: str) -> list[str]:
    """Return the command of a Kubernetes program: the one in `KUBEBUILDER_ASSETS` if it exists, else the own build."""
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if assets and (found := Path(assets) / name).exists():
        return [str(found)]
    return own_program(name)


def own_program(name: str) -> list[str]:
    """Return the command of a program of Kubernetes, etcd or CoreDNS that was built here."""
    return [str(kubernetes() / "kubernetes"), name]


def available(name: str) -> bool:
    """Return whether the program is available without a compilation of Kubernetes."""
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    return not assets or (Path(assets) / name).exists()


def _kubernetes_name() -> str:
    content = cache.digest(path.read_bytes() for path in sorted(_SOURCE.iterdir()))
    return f"kubernetes-{_version()}-{content}"


def _version() -> str:
    found = re.search(r"k8s\.io/kubernetes v(\S+)", (_SOURCE / "go.mod").read_text())
    if not found:
        raise ValueError("go.mod does not require k8s.io/kubernetes")
    return found[1]


def _build_kubernetes(directory: Path) -> None:
    need_go()
    version = _version()
    major, minor = version.split(".")[:2]
    variables = {"gitVersion": f"v{version}", "gitMajor": major, "gitMinor": minor}
    # Without these, clients cannot parse what the server says it is.
    stamps = " ".join(f"-X k8s.io/component-base/version.{name}={value}" for name, value in variables.items())
    with working(f"building Kubernetes {version}, etcd and CoreDNS (about 5 minutes on 2 cores, once)"):
        _go("build", "-ldflags", f"-s -w {stamps}", "-o", str(directory / "kubernetes"), ".")
    with working("building helm"):
        _go("build", "-ldflags", "-s -w", "-o", str(directory / "helm"), "helm.sh/helm/v4/cmd/helm")


def _build_container_runtime(directory: Path) -> None:
    need_go()
    need_packages("gcc", "pkg-config", "/usr/include/seccomp.h")
    # In modules of their own: their CRI types are older than those of Kubernetes.
    commands = [f"github.com/containerd/containerd/v2/cmd/{name}@{_CONTAINERD}" for name in _CONTAINERD_PROGRAMS]
    runc = f"github.com/opencontainers/runc@{_RUNC}"
    with working(f"building containerd {_CONTAINERD} and runc {_RUNC} (about a minute, once)"):
        _go("install", "-ldflags", "-s -w", *commands, GOBIN=str(directory))
        _go("install", "-ldflags", "-s -w", "-tags", "seccomp", runc, GOBIN=str(directory), CGO_ENABLED="1")


def _go(command: str, *arguments: str, **variables: str) -> None:
    env = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": f"{os.environ.get('GOFLAGS', '')} -buildvcs=false", **variables}
    run("go", command, *arguments, cwd=_SOURCE, env=env)
