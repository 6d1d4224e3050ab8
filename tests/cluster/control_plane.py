"""A Kubernetes without nodes: etcd, the API server and its controllers, as plain processes."""

import json
import ssl
import subprocess
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.cluster import build, cache, kubeconfig, ports
from tests.cluster.api_reader import ApiReader
from tests.cluster.api_writer import ApiWriter
from tests.cluster.certificates import Authority, key_pair
from tests.cluster.processes import Processes
from tests.cluster.progress import until

_CRD = Path(__file__).parents[2] / "crds/taskqueues.yaml"

SERVICES = "10.96.0.0/16"
_FIRST_SERVICE = "10.96.0.1"
_NAMES = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)
_CONTROLLERS_WITHOUT_NODES = (
    "deployment-controller",
    "replicaset-controller",
    "garbage-collector-controller",
    "horizontal-pod-autoscaler-controller",
    "namespace-controller",
    "resourcequota-controller",
    "serviceaccount-controller",
)
"""What tests without nodes need; all controllers together, with what they ask the API server, cost twice as much."""


@dataclass(frozen=True)
class Place:
    """The address and ports of a control plane, and the command that runs a program at that place."""

    port: int
    etcd_port: int
    etcd_peer_port: int
    controllers_port: int
    address: str = "127.0.0.1"  # where pods and nodes find the API server
    enter: tuple[str, ...] = ()  # put before each command

    @property
    def has_nodes(self) -> bool:
        """Whether clients outside the loopback must reach it."""
        return self.address != "127.0.0.1"


def _on_the_loopback() -> Place:
    port, etcd, peer, controllers = ports.free(4)
    return Place(port, etcd, peer, controllers)


class ControlPlane:
    """etcd, kube-apiserver and kube-controller-manager.

    With `KUBEBUILDER_ASSETS` its API server and etcd are used, and controllers only if it has them.
    """

    def __init__(self, directory: Path, place: Place | None = None) -> None:
        self.directory = directory
        self.place = place or _on_the_loopback()
        self.processes = Processes(directory)
        self.authority = Authority(directory / "certificates")
        self.url = f"https://127.0.0.1:{self.place.port}"
        self.kubeconfig = self.identity("admin", "system:masters")

    @classmethod
    def start(cls, directory: Path) -> "ControlPlane":
        """One on free ports of the loopback, ready to answer; it goes when this process goes."""
        plane = cls(directory)
        plane.processes.guard()
        with cache.locked("control-plane-start"):  # side by side, several take longer than one after the other
            plane.start_etcd()
            plane.start_apiserver()
            if build.available("kube-controller-manager"):
                plane.start_controllers()
        return plane

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End every process; etcd's data stays in the directory."""
        for client in vars(self).keys() & {"api", "writer"}:
            vars(self)[client].close()
        self.processes.stop_all(grace=0)

    @cached_property
    def api(self) -> ApiReader:
        """Reads as administrator, where a test asks again and again."""
        return ApiReader(self.kubeconfig, self.kubectl)

    @cached_property
    def writer(self) -> ApiWriter:
        """Writes as administrator."""
        return ApiWriter(self.kubeconfig)

    def identity(self, user: str, *groups: str) -> Path:
        """A kubeconfig for this user."""
        file = self.directory / f"{user.replace(':', '-')}.kubeconfig"
        return kubeconfig.write(file, server=self.url, authority=self.authority, user=user, groups=groups)

    def start_etcd(self) -> None:
        """The store. It does not wait for the disk: nothing here survives the machine."""
        client = f"http://127.0.0.1:{self.place.etcd_port}"
        peer = f"http://127.0.0.1:{self.place.etcd_peer_port}"
        self._spawn(
            "etcd",
            f"--data-dir={self.directory / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",
            "--log-level=warn",
        )

    def start_apiserver(self, *, wait: bool = True) -> None:
        """Start the API server, or start it again with all it knew."""
        self._spawn("kube-apiserver", *self._apiserver_flags())
        if wait:
            self.wait_ready()

    def stop_apiserver(self) -> None:
        """Kill the API server; clients see connections break, then refused."""
        self.processes.stop("kube-apiserver", grace=0)

    def start_controllers(self) -> None:
        """Deployments get ReplicaSets, these get pods; deleted namespaces and owners are cleaned up.

        They end when the API server is not ready within some seconds, so they are started after it.
        """
        self._spawn(
            "kube-controller-manager",
            f"--kubeconfig={self.kubeconfig}",
            f"--service-account-private-key-file={key_pair(self.directory / 'service-accounts.key')}",
            f"--root-ca-file={self.authority.certificate_file}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self.place.controllers_port}",
            f"--cert-dir={self.directory / 'controllers'}",
            f"--flex-volume-plugin-dir={self.directory / 'controllers'}",
            "--leader-elect=false",
            f"--controllers={'*' if self.place.has_nodes else ','.join(_CONTROLLERS_WITHOUT_NODES)}",
            "--use-service-account-credentials=true",
            "--kube-api-qps=200",
            "--kube-api-burst=400",
        )

    def start_scheduler(self) -> None:
        """Pods get nodes, where there are nodes."""
        config = self.identity("system:kube-scheduler")
        self._spawn(
            "kube-scheduler",
            f"--kubeconfig={config}",
            f"--authentication-kubeconfig={config}",
            f"--authorization-kubeconfig={config}",
            "--bind-address=127.0.0.1",
            "--leader-elect=false",
            "--kube-api-qps=200",
            "--kube-api-burst=400",
        )

    def wait_ready(self) -> None:
        """Until the API server says it is ready and RBAC's own roles are there."""
        try:
            until(self._ready, "the API server is ready", seconds=180)
        except TimeoutError as late:
            raise TimeoutError(f"{late}\n{self.processes.tails()}") from None

    def kubectl(self, *arguments: str, text: str | None = None) -> str:
        """The output of kubectl as administrator; RuntimeError with what it said when it fails."""
        command = [*self._program("kubectl"), f"--kubeconfig={self.kubeconfig}", *arguments]
        return kubectl(command, text=text)

    def install_crd(self) -> None:
        """Make the API server know TaskQueues; a warning about the CRD is a RuntimeError."""
        self.kubectl("apply", "--server-side", "--warnings-as-errors", f"--filename={_CRD}")
        until(self._established, "the CRD is established", seconds=180)

    def _established(self) -> bool:
        # `kubectl wait` fails where the status has no condition yet.
        status = json.loads(self.kubectl("get", f"--filename={_CRD}", "--output=json")).get("status") or {}
        conditions = {condition["type"]: condition["status"] for condition in status.get("conditions") or ()}
        return conditions.get("Established") == "True"

    def _spawn(self, name: str, *flags: str) -> None:
        if self.processes.pid(name) is None:
            self.processes.spawn(name, [*self.place.enter, *self._program(name), *flags])

    def _program(self, name: str) -> list[str]:
        return build.own_program(name) if self.place.has_nodes else build.program(name)

    def _apiserver_flags(self) -> list[str]:
        hosts = [*_NAMES, "127.0.0.1", _FIRST_SERVICE, self.place.address]
        certificate = self.authority.issue("kube-apiserver", "kube-apiserver", hosts=hosts)
        kubelet_client = self.authority.issue("kubelet-client", "kubelet-client", groups=["system:masters"])
        service_accounts = key_pair(self.directory / "service-accounts.key")
        flags = [
            f"--etcd-servers=http://127.0.0.1:{self.place.etcd_port}",
            f"--secure-port={self.place.port}",
            f"--advertise-address={self.place.address}",
            f"--tls-cert-file={certificate}",
            f"--tls-private-key-file={certificate.with_suffix('.key')}",
            f"--client-ca-file={self.authority.certificate_file}",
            f"--kubelet-certificate-authority={self.authority.certificate_file}",
            f"--kubelet-client-certificate={kubelet_client}",
            f"--kubelet-client-key={kubelet_client.with_suffix('.key')}",
            "--kubelet-preferred-address-types=InternalIP",
            f"--service-account-key-file={service_accounts.with_suffix('.pub')}",
            f"--service-account-signing-key-file={service_accounts}",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-cluster-ip-range={SERVICES}",
            "--authorization-mode=Node,RBAC",
            "--allow-privileged=true",
        ]
        if self.place.has_nodes:
            return [*flags, "--enable-admission-plugins=NodeRestriction"]
        flags += ["--bind-address=127.0.0.1", "--endpoint-reconciler-type=none"]
        if not build.available("kube-controller-manager"):
            flags.append(
                "--disable-admission-plugins=ServiceAccount"
            )  # no controller makes the accounts that it requires
        return flags

    def _ready(self) -> bool:
        context = ssl.create_default_context(cafile=self.authority.certificate_file)
        admin = self.authority.issue("admin", "admin", groups=["system:masters"])
        context.load_cert_chain(admin, admin.with_suffix(".key"))
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=5, context=context) as answer:  # noqa: S310 - our own URL
                return bool(answer.status == 200)
        except OSError:
            return False


def kubectl(command: Sequence[str], *, text: str | None = None, check: bool = True) -> str:
    """Return the output of a kubectl command; with `check`, a failure is a RuntimeError with the error output."""
    done = subprocess.run(command, input=text or "", capture_output=True, text=True, check=False, timeout=600)
    if check and done.returncode:
        shown = " ".join(part for part in command[1:] if not part.startswith("--kubeconfig"))
        raise RuntimeError(f"{shown}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout
