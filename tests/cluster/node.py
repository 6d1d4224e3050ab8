"""The programs on the node of the local provider, and their configuration files."""

import json
from collections.abc import Mapping
from pathlib import Path

from tests.cluster import build, cache
from tests.cluster.certificates import Authority
from tests.cluster.control_plane import ControlPlane
from tests.cluster.machine import ADDRESS, Machine

NAME = "node"
PODS = "10.244.0.0/16"
PAUSE = "localhost/pause:bench"
_NETWORK_PLUGINS = "/usr/lib/cni"


class Node:
    """containerd, kubelet, kube-proxy and CoreDNS in one `Machine`."""

    def __init__(self, machine: Machine, plane: ControlPlane) -> None:
        self._machine = machine
        self._plane = plane
        self._etc = machine.directory / "etc"
        self._runtime = build.container_runtime()

    def start_containerd(self) -> None:
        """The container runtime; its sockets are inside the machine's own /run."""
        network = {
            "cniVersion": "1.0.0",
            "name": "pods",
            "plugins": [
                # Each pod on a wire of its own: replies to a Service's clients pass the node, also between neighbours.
                {
                    "type": "ptp",
                    "ipam": {
                        "type": "host-local",
                        "dataDir": "/run/addresses",
                        "ranges": [[{"subnet": PODS}]],
                        "routes": [{"dst": "0.0.0.0/0"}],
                    },
                },
                {"type": "portmap", "capabilities": {"portMappings": True}},
            ],
        }
        self._write("cni/pods.conflist", json.dumps(network))
        config = self._write("containerd.toml", _containerd(self._machine.directory, self._etc / "cni"))
        path = f"{self._runtime}:/usr/sbin:/usr/bin:/sbin:/bin"
        self._spawn("containerd", str(self._runtime / "containerd"), f"--config={config}", env={"PATH": path})

    def start_agents(self) -> None:
        """The programs that need the API server."""
        kubelet = self._write("kubelet.json", json.dumps(self._kubelet()))
        self._spawn(
            "kubelet",
            *build.own_program("kubelet"),
            f"--config={kubelet}",
            f"--kubeconfig={self._plane.identity(f'system:node:{NAME}', 'system:nodes')}",
            f"--hostname-override={NAME}",
            f"--node-ip={ADDRESS}",
            f"--root-dir={self._machine.directory / 'kubelet'}",
            f"--cert-dir={self._machine.directory / 'kubelet/pki'}",
        )
        proxy = self._write("kube-proxy.json", json.dumps(self._kube_proxy()))
        self._spawn("kube-proxy", *build.own_program("kube-proxy"), f"--config={proxy}", f"--hostname-override={NAME}")
        dns = self._write("Corefile", _corefile(self._plane.kubeconfig))
        self._spawn("coredns", *build.own_program("coredns"), f"-conf={dns}")

    def ctr(self, *arguments: str) -> list[str]:
        """The command line of containerd's client, for the images that pods use."""
        return [*self._machine.enter, str(self._runtime / "ctr"), "--namespace=k8s.io", *arguments]

    def _spawn(self, name: str, *argv: str, env: Mapping[str, str] | None = None) -> None:
        if self._machine.processes.pid(name) is None:
            self._machine.processes.spawn(name, [*self._machine.enter, *argv], env)

    def _write(self, name: str, content: str) -> Path:
        return cache.put(self._etc / name, content)

    def _kubelet(self) -> dict[str, object]:
        authority: Authority = self._plane.authority
        certificate = authority.issue("kubelet", NAME, hosts=[NAME, ADDRESS])
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {
                "x509": {"clientCAFile": str(authority.certificate_file)},
                "anonymous": {"enabled": False},
            },
            "tlsCertFile": str(certificate),
            "tlsPrivateKeyFile": str(certificate.with_suffix(".key")),
            "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
            "cgroupRoot": self._machine.cgroup,
            "cgroupDriver": "cgroupfs",
            "failCgroupV1": False,
            "failSwapOn": False,
            "enforceNodeAllocatable": [],
            "serializeImagePulls": False,
            "maxPods": 250,
            "clusterDNS": [ADDRESS],
            "clusterDomain": "cluster.local",
            "resolvConf": "",
            "podLogsDir": str(self._machine.directory / "pod-logs"),
            # The machine's disk is not the test's business.
            "imageGCHighThresholdPercent": 100,
            "imageGCLowThresholdPercent": 99,
            "evictionHard": {"memory.available": "100Mi"},
        }

    def _kube_proxy(self) -> dict[str, object]:
        return {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "clientConnection": {"kubeconfig": str(self._plane.identity("system:kube-proxy"))},
            "mode": "nftables",
            "clusterCIDR": PODS,
            "bindAddress": ADDRESS,
            "nodeIPOverride": [ADDRESS],
            "conntrack": {"maxPerCore": 0, "min": 0},
        }


def _corefile(config: Path) -> str:
    return f"""cluster.local:53 {{
    bind {ADDRESS}
    errors
    ready {ADDRESS}:8181
    kubernetes cluster.local {{
        kubeconfig {config}
        ttl 5
    }}
}}
"""


def _containerd(directory: Path, network: Path) -> str:
    return f"""version = 3
root = "{directory / "containerd"}"
state = "/run/containerd"

[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "{PAUSE}"

[plugins."io.containerd.cri.v1.runtime"]
# Without CAP_SYS_RESOURCE a score below one's own is refused, and with it the sandbox.
restrict_oom_score_adj = true

[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["{_NETWORK_PLUGINS}"]
conf_dir = "{network}"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
SystemdCgroup = false
"""
