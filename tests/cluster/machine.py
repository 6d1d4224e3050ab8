"""The one node of the local provider: a machine inside this machine, made of namespaces."""

import contextlib
import os
import signal
from pathlib import Path

from tests.cluster import cache
from tests.cluster.processes import Processes, children
from tests.cluster.progress import until

ADDRESS = "192.0.2.10"

# What Kubernetes' programs leave behind goes with the namespaces: mounts, interfaces, containers, and what they write
# below /etc, /opt, /usr and /var, which ends in memory. Only the cache, wherever it is, stays the machine's own.
# The last command is the first process in there; with SIGCHLD ignored, the kernel buries the orphans it inherits.
_BOOT = f"""
set -eu
mount -t tmpfs run /run
mkdir /run/cache
mount --bind "$1" /run/cache
for folder in etc opt usr var; do
    mkdir -p /run/written/$folder /run/scratch/$folder
    mount -t overlay -o lowerdir=/$folder,upperdir=/run/written/$folder,workdir=/run/scratch/$folder overlay /$folder
done
case $1 in /etc/*|/opt/*|/usr/*|/var/*) mount --bind /run/cache "$1" ;; esac
umount /run/cache
mount --make-rshared /
ip link set lo up
ip link add node type bridge
ip address add {ADDRESS}/24 dev node
ip link set node up
ip route add default via 192.0.2.1
echo 1 > /proc/sys/net/ipv4/ip_forward
echo booted
trap '' CHLD
exec sleep infinity
"""


class Machine:
    """Network, mounts and processes of their own, and a place in the cgroup tree.

    Nothing of it is on disk but `directory`, and killing its first process ends everything in it.
    """

    def __init__(self, directory: Path, name: str) -> None:
        self.directory = directory
        self.cgroup = f"/{name}"
        self.processes = Processes(directory)

    @property
    def pid(self) -> int | None:
        """The first process in it, as this machine numbers it."""
        outer = self.processes.pid("machine")
        return next(iter(children(outer)), None) if outer else None

    @property
    def enter(self) -> tuple[str, ...]:
        """The prefix of a command that runs inside."""
        # Not `ip netns exec`: it mounts /sys anew, which hides the cgroups from the kubelet.
        return ("nsenter", f"--target={self.pid}", "--net", "--mount", "--pid", "--")

    def start(self) -> None:
        """Boot it, unless it runs."""
        if self.pid:
            return
        for hierarchy in _cgroup_hierarchies():
            (hierarchy / self.cgroup[1:]).mkdir(exist_ok=True)
        apart = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"]
        log = self.processes.log("machine")
        log.unlink(missing_ok=True)
        self.processes.spawn("machine", [*apart, "sh", "-c", _BOOT, "machine", str(cache.home())])
        until(lambda: "booted" in log.read_text() or not self.processes.pid("machine"), "the node boots", seconds=120)
        if not self.pid:
            raise RuntimeError(f"cannot make the namespaces of the node: {log.read_text()}")

    def stop(self) -> None:
        """End everything that runs in it and remove its cgroups."""
        if pid := self.pid:
            os.kill(pid, signal.SIGKILL)
        self.processes.stop_all(grace=0)
        until(self._cgroups_removed, "the cgroups of the node are empty", seconds=120)

    def _cgroups_removed(self) -> bool:
        roots = [hierarchy / self.cgroup[1:] for hierarchy in _cgroup_hierarchies()]
        for root in roots:
            for folder, _, _ in os.walk(root, topdown=False):
                with contextlib.suppress(OSError):  # not empty yet
                    os.rmdir(folder)  # noqa: PTH106 - os.walk gives strings
        return not any(root.exists() for root in roots)


def _cgroup_hierarchies() -> list[Path]:
    lines = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    mounts = {Path(fields[1]) for fields in lines if fields[2] in {"cgroup", "cgroup2"}}
    # /sys/fs/cgroup/unified and systemd's own carry no controllers that a kubelet needs, but it looks there too.
    return sorted(mount for mount in mounts if os.access(mount, os.W_OK))
