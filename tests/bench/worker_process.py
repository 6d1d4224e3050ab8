"""A worker of a runtime as a process of this machine, and its cost."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from tests.bench.runtime import APPLICATIONS, SLOTS, Runtime, Setting
from tests.cluster.installation import ROOT
from tests.e2e.application import HERE, NAME

TASKQUEUE: Final = "bench/work"
EXIT_SECONDS: Final = 60
CPU_CLOCK: Final = 2
"""The clock of a process with which the scheduler counts nanoseconds, as `clock_getcpuclockid` builds its number."""


class WorkerProcess:
    """The first process of a worker, and those that it started.

    Attributes:
        pid: The number of the first process.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.pid = process.pid

    def terminate(self) -> None:
        """Send SIGTERM, as the kubelet does: to the first process."""
        self._process.send_signal(signal.SIGTERM)

    def cpu_seconds(self) -> float:
        """Return what all its processes have used that have not ended."""
        session = str(self._process.pid)
        processes = (folder for folder in Path("/proc").glob("[0-9]*") if _stat(folder)[3:4] == [session])
        return sum(_cpu_seconds(int(folder.name)) for folder in processes)

    def rss_bytes(self) -> int:
        """Return the resident memory of its first process."""
        return int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def sockets(self) -> int:
        """Return how many sockets its first process has open."""
        files = Path(f"/proc/{self._process.pid}/fd").iterdir()
        return sum(file.readlink().name.startswith("socket:") for file in files)


@contextmanager
def worker_process(
    runtime: Runtime, setting: Setting, broker_url: str, directory: Path, *, adapted: bool
) -> Iterator[WorkerProcess]:
    """Start a worker; it is killed at the end, with all that it started."""
    shutil.copy(APPLICATIONS / runtime.module, directory / "audited.py")
    shutil.copy(HERE / "receipt.py", directory)
    process = subprocess.Popen(
        [sys.executable, *runtime.command(adapted=adapted)],
        cwd=directory,
        env=_environment(runtime, setting, broker_url, directory),
        stdin=subprocess.DEVNULL,
        stdout=(log := (directory / "worker.log").open("wb")),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        yield WorkerProcess(process)
    finally:
        with suppress(ProcessLookupError):  # it has ended
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(EXIT_SECONDS)
        log.close()


def _environment(runtime: Runtime, setting: Setting, broker_url: str, directory: Path) -> dict[str, str]:
    paths = (directory, runtime.packages(), ROOT / "worker-image/src")
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "BROKER_URL": broker_url,
        "RABBITMQ_URL": broker_url,
        "TASKQUEUE_NAME": TASKQUEUE,
        "TASKQUEUE_QUEUES": NAME,
        "TASKQUEUE_CONCURRENCY": str(SLOTS),
        "TASKQUEUE_PREFETCH": str(setting.prefetch),
        "TASKQUEUE_HTTP_PORT": "0",
        **setting.variables,
    }


def _stat(process: Path) -> list[str]:
    """Return the fields of a process after its name; none if it has ended."""
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _cpu_seconds(process: int) -> float:
    try:
        return time.clock_gettime(~process << 3 | CPU_CLOCK)
    except OSError:  # it has ended
        return 0.0
