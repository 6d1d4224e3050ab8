"""Celery workers as real processes, with the adapter, of the newest and the oldest supported version."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Literal

import httpx

from tests.cluster import cache
from tests.integration.worker.eventually import eventually

HERE: Final = Path(__file__).parent
SOURCE: Final = Path(__file__).parents[3] / "worker-image/src"
CELERY: Final = (sys.executable, "-m", "celery", "-A", "celery_app")
Version = Literal["5.7", "5.4"]


def packages(version: Version) -> Path:
    """The directory with this version of Celery."""
    requirements = HERE / f"celery-{version}.txt"
    return cache.entry(
        f"celery-{version}-{cache.digest([requirements.read_bytes()])}",
        lambda place: _install(requirements, place),
    )


def _install(requirements: Path, place: Path) -> None:
    uv = Path(sys.executable).parent / "uv"
    command = [str(uv), "pip", "install", "--quiet", "--python", sys.executable, "--target", str(place)]
    subprocess.run([*command, "--require-hashes", "--requirement", str(requirements)], check=True)


class RunningCelery:
    """The process of a Celery worker, its log, and the ledger that its tasks write.

    Attributes:
        port: Its HTTP port.
    """

    def __init__(
        self, directory: Path, name: str, *options: str, variables: Mapping[str, str], version: Version = "5.7"
    ) -> None:
        self._output = directory / f"{name}.log"
        self._ledger = directory / "ledger"
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(map(str, (packages(version), SOURCE, HERE))),
            "PYTHONUNBUFFERED": "1",
            "LEDGER": str(self._ledger),
            "TASKQUEUE_HTTP_PORT": str(self.port),
        }
        self._environment = environment | dict(variables)
        command = [*CELERY, "worker", "--loglevel=INFO", *options]
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                env=self._environment,
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self._output.read_text()

    @property
    def ledger(self) -> list[str]:
        return self._ledger.read_text().splitlines() if self._ledger.exists() else []

    async def wait_for_ledger(self, *entries: str) -> None:
        await eventually(f"ledger: {entries}", lambda: set(entries) <= set(self.ledger))

    async def wait_for_log(self, text: str) -> None:
        await eventually(f"log: {text}", lambda: text in self.output)

    def probe(self, path: str, host: str = "127.0.0.1") -> int:
        """Return the status code of a request to the worker's HTTP port."""
        return httpx.get(f"http://{host}:{self.port}{path}", timeout=10).status_code

    def page(self, path: str) -> str:
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=10).raise_for_status().text

    @property
    def is_ready(self) -> bool:
        try:
            return self.probe("/readyz") == 200
        except httpx.TransportError:
            return False

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    async def command(self, *arguments: str) -> None:
        """Run a command of Celery for this worker."""
        process = await asyncio.create_subprocess_exec(*CELERY, *arguments, env=self._environment)
        assert await process.wait() == 0

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let the process, not those of its pool, read nothing meanwhile."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def terminate(self) -> None:
        self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the worker and the processes of its pool."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    async def exit_code(self) -> int:
        """Wait for the end of the process and return its exit code."""
        await eventually("the end of the worker", lambda: self.has_ended)
        return self._process.wait()
