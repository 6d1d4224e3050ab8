"""What a container takes of this machine, as its kernel counts."""

import json
import os
import time
from pathlib import Path
from typing import NamedTuple

from tests.cluster.lane import Cluster


class Usage(NamedTuple):
    """Of all processes of a container at one moment."""

    at: float
    cpu_seconds: dict[int, float]
    rss_mib: float

    def cores_since(self, before: "Usage") -> float:
        """Average, between two moments, of the cores that were busy for the container."""
        spent = sum(seconds - before.cpu_seconds.get(pid, 0) for pid, seconds in self.cpu_seconds.items())
        return spent / (self.at - before.at)


class Container:
    """The first container of the one pod with these labels, on a node of this machine."""

    def __init__(self, cluster: Cluster, namespace: str, labels: str) -> None:
        question = ("get", "pods", f"--namespace={namespace}", f"--selector={labels}", "--output=json")
        (pod,) = json.loads(cluster.kubectl(*question))["items"]
        self.pod: str = pod["metadata"]["name"]
        self._id: str = pod["status"]["containerStatuses"][0]["containerID"].partition("://")[2]

    def usage(self) -> Usage:
        """Measure now; LookupError when nothing of it runs here (any more)."""
        pids = [int(process.name) for process in Path("/proc").glob("[0-9]*") if self._owns(process)]
        if not pids:
            raise LookupError(f"no process of pod {self.pod} on this machine: it was restarted, or its node is remote")
        return Usage(time.monotonic(), {pid: _cpu_seconds(pid) for pid in pids}, sum(map(_rss_mib, pids)))

    def _owns(self, process: Path) -> bool:
        try:
            return self._id in (process / "cgroup").read_text()
        except OSError:  # it ended meanwhile
            return False


def _cpu_seconds(pid: int) -> float:
    # The second field is the name of the program, in which anything may stand.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _rss_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
