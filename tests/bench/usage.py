"""CPU and memory of a container, as the kernel of this machine counts them."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

from kubernetes.aio.client import ApiClient, CoreV1Api, V1Pod

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class Usage(NamedTuple):
    """Usage of all processes of a container at one moment (monotonic)."""

    at: float
    cpu_seconds: dict[int, float]
    rss_mib: float

    def cores_since(self, before: "Usage") -> float:
        """Return the average number of cores that the container used between two moments."""
        spent = sum(seconds - before.cpu_seconds.get(pid, 0) for pid, seconds in self.cpu_seconds.items())
        return spent / (self.at - before.at)


@dataclass(frozen=True)
class Container:
    """One run of a container, on a node of this machine."""

    namespace: str
    pod: str
    id: str

    @classmethod
    async def find(cls, client: ApiClient, namespace: str, labels: str) -> Self:
        """Find the first container of the only pod with these labels that is not being deleted."""
        pods = (await CoreV1Api(client).list_namespaced_pod(namespace, label_selector=labels)).items
        (pod,) = (pod for pod in pods if pod.metadata and pod.metadata.deletion_timestamp is None)
        return cls._of(pod)

    @classmethod
    async def of(cls, client: ApiClient, namespace: str, pod: str) -> Self:
        """Find the first container of a pod."""
        return cls._of(await CoreV1Api(client).read_namespaced_pod(pod, namespace))

    @classmethod
    def _of(cls, pod: V1Pod) -> Self:
        assert pod.metadata is not None
        assert pod.metadata.name is not None
        statuses = (pod.status and pod.status.container_statuses) or []
        namespace = pod.metadata.namespace or ""
        return cls(namespace, pod.metadata.name, (statuses[0].container_id or "").partition("://")[2])

    def processes(self) -> list[int]:
        """List its process ids, the first process first.

        Raises:
            LookupError: No process of it runs on this machine.
        """
        pids = sorted(int(process.name) for process in Path("/proc").glob("[0-9]*") if self._owns(process))
        if not pids:
            raise LookupError(f"no process of pod {self.pod} on this machine: it was restarted, or its node is remote")
        return sorted(pids, key=_started_at)

    def usage(self) -> Usage:
        """Measure the usage so far.

        Raises:
            LookupError: No process of it runs on this machine.
        """
        pids = self.processes()
        return Usage(time.monotonic(), {pid: _cpu_seconds(pid) for pid in pids}, sum(map(_rss_mib, pids)))

    def age(self) -> float:
        """Return the seconds since the start of its first process."""
        return time.clock_gettime(time.CLOCK_BOOTTIME) - _started_at(self.processes()[0])

    def _owns(self, process: Path) -> bool:
        try:
            return self.id in (process / "cgroup").read_text()
        except OSError:  # it has ended
            return False


def _started_at(pid: int) -> float:
    """Return the start of a process, in seconds since the boot of this machine, to a hundredth."""
    return int(_stat(pid)[19]) / _TICKS_PER_SECOND


def _cpu_seconds(pid: int) -> float:
    user, system = _stat(pid)[11:13]
    return (int(user) + int(system)) / _TICKS_PER_SECOND


def _stat(pid: int) -> list[str]:
    # The second field is the name of the program, which may contain any character.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _rss_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
