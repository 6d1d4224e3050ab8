"""Celery workers as real processes, with the adapter, of the newest and the oldest supported version."""

import asyncio
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

from tests.cluster.packages import installed
from tests.integration.harness.worker_process import WorkerProcess

HERE: Final = Path(__file__).parent
SOURCE: Final = Path(__file__).parents[3] / "worker-image/src"
CELERY: Final = (sys.executable, "-m", "celery", "-A", "celery_app")
Version = Literal["5.7", "5.4"]


def packages(version: Version) -> Path:
    """The directory with this version of Celery."""
    return installed(HERE / f"celery-{version}.txt")


class RunningCelery(WorkerProcess):
    """The process of a Celery worker."""

    def __init__(
        self, directory: Path, name: str, *options: str, variables: Mapping[str, str], version: Version = "5.7"
    ) -> None:
        path = {"PYTHONPATH": os.pathsep.join(map(str, (packages(version), SOURCE, HERE)))}
        command = (*CELERY, "worker", "--loglevel=INFO", *options)
        super().__init__(directory, name, command, path | dict(variables), folder=directory)

    async def command(self, *arguments: str) -> None:
        """Run a command of Celery for this worker."""
        process = await asyncio.create_subprocess_exec(*CELERY, *arguments, env=self.environment)
        assert await process.wait() == 0

    @contextmanager
    def pool_paused(self) -> Iterator[None]:
        """Let the processes of the pool do nothing meanwhile."""
        pid = self._process.pid
        processes = list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
        for process in processes:
            os.kill(process, signal.SIGSTOP)
        try:
            yield
        finally:
            for process in processes:
                os.kill(process, signal.SIGCONT)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let the process, not those of its pool, read nothing meanwhile."""
        self.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.signal(signal.SIGCONT)
