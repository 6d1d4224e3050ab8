"""A cluster built from source, for a machine without Docker and without a registry."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from typing_extensions import override

from tests.cluster import build, cache, forwarding, images, ports
from tests.cluster.control_plane import ControlPlane, Place
from tests.cluster.machine import ADDRESS, Machine
from tests.cluster.node import NAME, Node
from tests.cluster.prerequisites import need_packages, need_root, run
from tests.cluster.progress import step, until
from tests.cluster.provider import Cluster


class Local(Cluster):
    """One node in namespaces of this machine, and a small forwarder that makes its API server reachable."""

    provider = "local"

    def __init__(self) -> None:
        self._state = cache.home() / "local"
        self._machine = Machine(self._state, f"taskqueue-{cache.digest([str(self._state)])}")
        self._processes = self._machine.processes

    @property
    @override
    def kubeconfig(self) -> Path:
        return self._state / "admin.kubeconfig"

    @property
    @override
    def kubectl_command(self) -> list[str]:
        return build.own_program("kubectl")

    @property
    @override
    def helm_command(self) -> list[str]:
        return [str(build.kubernetes() / "helm")]

    @override
    def check_prerequisites(self) -> None:
        need_root()
        build.need_compiler()

    @override
    def up(self) -> None:
        self.check_prerequisites()
        need_packages()
        build.kubernetes()
        build.container_runtime()
        pause = images.archive("pause")
        with cache.locked("local"):
            if self._processes.names() and not self._machine.pid:
                step("clearing away what a crash left")
                self._clear()
            self._start(pause)

    @override
    def down(self) -> None:
        need_root()
        with cache.locked("local"):
            if self._state.exists():
                self._clear()
                step("the cluster is gone")

    @override
    def load(self, tag: str) -> None:
        archive = images.archive_of(tag)
        loaded = self._state / "loaded" / cache.digest([tag])
        with cache.locked(f"load-{loaded.name}"):
            if loaded.exists() and loaded.read_text() == str(archive):
                return
            run(*self._node().ctr("images", "import", str(archive)))
            loaded.parent.mkdir(exist_ok=True)
            loaded.write_text(str(archive))
        step(f"{tag} loaded")

    @override
    def logs(self) -> str:
        return self._processes.tails()

    def _start(self, pause: Path) -> None:
        complete = self._machine.pid is not None
        self._machine.start()
        plane = ControlPlane(self._state, self._place())
        node = Node(self._machine, plane)
        plane.start_etcd()
        plane.start_apiserver(wait=False)
        node.start_containerd()
        if self._processes.pid("forwarder") is None and self._machine.pid:
            self._processes.spawn("forwarder", forwarding.command(plane.place.port, self._machine.pid))
        plane.wait_ready()
        plane.start_controllers()
        step("the API server is ready")
        until(lambda: _succeeds(node.ctr("version")), "containerd answers", seconds=180)
        if not complete:
            run(*node.ctr("images", "import", str(pause)))
        plane.start_scheduler()
        node.start_agents()
        until(self._node_ready, "the node is ready", seconds=180, every=0.2)
        until(self._names_resolve, "CoreDNS is ready", seconds=180, every=0.2)
        step("the node is ready, Services and their names work")

    def _clear(self) -> None:
        self._machine.stop()
        shutil.rmtree(self._state)

    def _place(self) -> Place:
        record = self._state / "port"
        if not record.exists():
            record.write_text(str(ports.free(1)[0]))
        # The same number inside and outside, so that one kubeconfig serves both.
        return Place(int(record.read_text()), 2379, 2380, 10257, ADDRESS, self._machine.enter)

    def _node(self) -> Node:
        return Node(self._machine, ControlPlane(self._state, self._place()))

    def _node_ready(self) -> bool:
        answer = self.kubectl("get", "node", NAME, "--ignore-not-found", "--output=json")
        conditions = json.loads(answer)["status"].get("conditions", []) if answer else []
        return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)

    def _names_resolve(self) -> bool:
        question = f"import urllib.request; urllib.request.urlopen('http://{ADDRESS}:8181/ready', timeout=2)"
        return _succeeds([*self._machine.enter, sys.executable, "-c", question])


def _succeeds(argv: list[str]) -> bool:
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=30)
    return done.returncode == 0
