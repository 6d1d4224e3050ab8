"""What a container takes of this machine, as its kernel counts."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

from kubernetes.aio.client import ApiClient, CoreV1Api, V1Pod

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class Usage(NamedTuple):
    """Of all processes of a container at one moment."""

    at: float
    cpu_seconds: dict[int, float]
    rss_mib: float

    def cores_since(self, before: "Usage") -> float:
        """Average, between two moments, of the cores that were busy for the container."""
        spent = sum(seconds - before.cpu_seconds.get(pid, 0) for pid, seconds in self.cpu_seconds.items())
        return spent / (self.at - before.at)


@dataclass(frozen=True)
class Container:
    """A container from one start to its end, on a node of this machine."""

    namespace: str
    pod: str
    id: str

    @classmethod
    async def find(cls, client: ApiClient, namespace: str, labels: str) -> Self:
        """Find the first container of the one pod with these labels."""
        (pod,) = (await CoreV1Api(client).list_namespaced_pod(namespace, label_selector=labels)).items
        return cls._of(pod)

    @classmethod
    async def of(cls, client: ApiClient, namespace: str, pod: str) -> Self:
        """Find the first container of the pod with this name."""
        return cls._of(await CoreV1Api(client).read_namespaced_pod(pod, namespace))

    @classmethod
    def _of(cls, pod: V1Pod) -> Self:
        assert pod.metadata is not None
        assert pod.metadata.name is not None
        statuses = (pod.status and pod.status.container_statuses) or []
        namespace = pod.metadata.namespace or ""
        return cls(namespace, pod.metadata.name, (statuses[0].container_id or "").partition("://")[2])

    def processes(self) -> list[int]:
        """List what runs in it, the first process first; LookupError when nothing of it runs here (any more)."""
        pids = sorted(int(process.name) for process in Path("/proc").glob("[0-9]*") if self._owns(process))
        if not pids:
            raise LookupError(f"no process of pod {self.pod} on this machine: it was restarted, or its node is remote")
        return sorted(pids, key=_born)

    def usage(self) -> Usage:
        """Measure now; LookupError as `processes`."""
        pids = self.processes()
        return Usage(time.monotonic(), {pid: _cpu_seconds(pid) for pid in pids}, sum(map(_rss_mib, pids)))

    def age(self) -> float:
        """Seconds since its first process was started."""
        return time.clock_gettime(time.CLOCK_BOOTTIME) - _born(self.processes()[0])

    def _owns(self, process: Path) -> bool:
        try:
            return self.id in (process / "cgroup").read_text()
        except OSError:  # it ended meanwhile
            return False


def _born(pid: int) -> float:
    """Tell the moment, in seconds since this machine was started, to a hundredth."""
    return int(_stat(pid)[19]) / _TICKS_PER_SECOND


def _cpu_seconds(pid: int) -> float:
    user, system = _stat(pid)[11:13]
    return (int(user) + int(system)) / _TICKS_PER_SECOND


def _stat(pid: int) -> list[str]:
    # The second field is the name of the program, in which anything may stand.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _rss_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
